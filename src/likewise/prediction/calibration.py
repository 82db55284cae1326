"""Calibration of confidences: temperature scaling, and the calibration error.

Shapes: N images, C classes.
"""

from __future__ import annotations

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from likewise.errors import InputError

BINS = 15
_RANGE = (-5.0, 5.0)
"""Of log T that is searched."""


def expected_calibration_error(confidence_N: Tensor, right_N: Tensor, bins: int = BINS) -> float:
    """Mean over images of |accuracy - confidence| of the bin of equal width that their confidence is in, 0 to 1.

    Guo et al., ICML 2017, equation 3. Raises InputError for no images.
    """
    if not len(confidence_N):
        raise InputError("the calibration error of no images is not known")
    bin_N = (confidence_N.double() * bins).ceil().long().clamp(1, bins) - 1
    excess_N = right_N.double() - confidence_N.double()
    return float(torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_N, excess_N).abs().sum() / len(confidence_N))


def temperature(logits_NC: Tensor, labels_N: Tensor) -> float:
    """T that makes softmax(logits / T) most likely for the labels (Guo et al., ICML 2017, section 4.2), e^-5 to e^5.

    A label counts as its class with the share (N + 1) / (N + 2), and as another with the rest (the targets of Platt,
    1999), so that a few labels that are all predicted rightly do not make every confidence 1. Raises InputError for no
    images.
    """
    if not len(logits_NC):
        raise InputError("a temperature needs held-out images with labels")
    logits_NC = logits_NC.double()
    own = torch.nn.functional.one_hot(labels_N, logits_NC.shape[1]).bool()
    target = (len(logits_NC) + 1) / (len(logits_NC) + 2)

    def loss(log_t: float) -> float:
        log_p_NC = (logits_NC / torch.tensor(log_t).double().exp()).log_softmax(1)
        right, wrong = log_p_NC[own].mean(), log_p_NC.masked_fill(own, -torch.inf).logsumexp(1).mean()
        return float(-target * right - (1.0 - target) * wrong)

    return float(torch.tensor(minimize_scalar(loss, bounds=_RANGE, method="bounded").x).exp())


def calibration_errors(logits_NC: Tensor, labels_N: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """Calibration error before scaling and after it, the latter of images that the temperature has not seen.

    Each half of the images is judged with the temperature of the other. Labels of -1, of classes that the classifier
    does not know, are mistakes, and no temperature is fitted on them. Raises InputError for fewer than two others.
    """
    known, strange = (labels_N >= 0).nonzero().flatten(), (labels_N < 0).nonzero().flatten()
    if len(known) < 2:
        raise InputError("calibration is judged on two or more held-out images")
    draw = torch.Generator().manual_seed(seed)
    parts = [rows[torch.randperm(len(rows), generator=draw)] for rows in (known, strange)]
    halves = [torch.cat([part[half::2] for part in parts]) for half in (0, 1)]
    after_N = torch.empty(len(logits_NC), dtype=torch.float64)
    for fitted, judged in (halves, halves[::-1]):
        own = fitted[labels_N[fitted] >= 0]
        t = temperature(logits_NC[own], labels_N[own])
        after_N[judged] = (logits_NC[judged].double() / t).softmax(1).amax(1)
    right_N = logits_NC.argmax(1) == labels_N
    before_N = logits_NC.double().softmax(1).amax(1)
    return expected_calibration_error(before_N, right_N), expected_calibration_error(after_N, right_N)
