"""Held-out logits of labelled images, to calibrate and judge a classifier by.

Shapes: N labelled images, F features, C classes, H held-out images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.prediction.classifiers import Logits

Fit = Callable[[Tensor, Tensor], Logits]
"""Features (N, F) and labels (N,) to a classifier of classes 0 to the largest label."""
FOLDS = 5
_IMPOSSIBLE = -1e4
"""Logit of a class that a classifier has not met."""


class Held(NamedTuple):
    """Logits of images whose label the classifier was not fitted on."""

    logits_HC: Tensor
    """(H, C)."""
    labels_H: Tensor
    """(H,) their classes, -1 for one that the classifier does not know."""

    def known(self) -> Held:
        """Those of classes that the classifier knows."""
        rows = self.labels_H >= 0
        return Held(self.logits_HC[rows], self.labels_H[rows])


class HeldOut(NamedTuple):
    """A classifier, and what it says of images whose label it was not fitted on."""

    logits: Logits
    """The classifier that predicts."""
    scaling: Held
    """What the temperature is fitted on."""
    judging: Held
    """What accuracy and risk are judged by: the same images, or others, which is what promises need."""
    how: str
    """Where the latter come from, in words."""

    @property
    def is_shared(self) -> bool:
        """Whether both are the same images."""
        return self.scaling is self.judging


def folded(
    fit: Fit, features_NF: Tensor, labels_N: Tensor, content_N: NDArray[np.int64], classes: int, seed: int
) -> HeldOut:
    """Fitted on all labels; judged by five fits that each leave a fifth of them out.

    Exact copies are in one fold. Images whose class is in no other fold are left out of the judgement.
    """
    held = _out_of_fold(fit, features_NF, labels_N, content_N, classes, seed)
    words = f"{len(held.labels_H)} labels, each held out of one of {FOLDS} fits; predictions are by a fit on all"
    return HeldOut(_whole(fit, features_NF, labels_N, classes), held, held, words)


def _out_of_fold(
    fit: Fit, features_NF: Tensor, labels_N: Tensor, content_N: NDArray[np.int64], classes: int, seed: int
) -> Held:
    """What five fits say of the fifth that each leaves out."""
    fold_N = torch.from_numpy(_folds(labels_N.numpy(), content_N, seed))
    parts, truths = [], []
    for fold in range(FOLDS):
        held, rest = fold_N == fold, fold_N != fold
        known = torch.unique(labels_N[rest])
        held &= torch.isin(labels_N, known)
        if len(known) < 2 or not held.any():
            continue
        parts.append(padded(fit(features_NF[rest], labels_N[rest])(features_NF[held]), known, classes))
        truths.append(labels_N[held])
    if not parts:
        return Held(features_NF.new_zeros(0, classes), labels_N.new_zeros(0))
    return Held(torch.cat(parts), torch.cat(truths))


def split(
    fit: Fit,
    features_NF: Tensor,
    labels_N: Tensor,
    content_N: NDArray[np.int64],
    classes: int,
    *,
    share: float,
    seed: int,
) -> HeldOut:
    """Fitted on a part of the labels, and judged by a random `share` of them: those of promises about new images.

    The temperature is fitted on the first part (by folds), so that nothing follows from the held-out labels but the
    judgement. Exact copies are in one part, and one of them judges: copies are no further draws, and would make the
    promise sure of too little. Not stratified, so that the held-out images are a plain draw.
    """
    held = _drawn(content_N, share, seed)
    judging = held & _first_of_copies(content_N)
    fitted = features_NF[~held], labels_N[~held]
    scaling = _out_of_fold(fit, *fitted, content_N[~held.numpy()], classes, seed)
    logits = _whole(fit, *fitted, classes)
    words = f"{int(judging.sum())} labels drawn at random and held out; the fit is on the other {int((~held).sum())}"
    return HeldOut(logits, scaling, Held(logits(features_NF[judging]), labels_N[judging]), words)


def given(
    logits: Logits, features_NF: Tensor, labels_N: Tensor, content_N: NDArray[np.int64], *, apart: bool, seed: int
) -> HeldOut:
    """A classifier that was fitted elsewhere; with `apart` the temperature is fitted on one half, the other judges.

    Of exact copies one judges, as in `split`.
    """
    every = Held(logits(features_NF), labels_N)
    words = f"{len(labels_N)} labels that the classifier is taken not to have been trained on"
    if not apart:
        return HeldOut(logits, every, every, words)
    half = _drawn(content_N, 0.5, seed)
    parts = (~half, half & _first_of_copies(content_N))
    scaling, judging = (Held(every.logits_HC[rows], labels_N[rows]) for rows in parts)
    return HeldOut(logits, scaling, judging, f"{len(judging.labels_H)} of {words}")


def _drawn(content_N: NDArray[np.int64], share: float, seed: int) -> Tensor:
    """(N,) bool: a random share of the different images, with their copies."""
    _, group_N = np.unique(content_N, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(group_N.max()) + 1)
    return torch.from_numpy(np.isin(group_N, order[: round(share * len(order))]))


def _first_of_copies(content_N: NDArray[np.int64]) -> Tensor:
    """(N,) bool: the first of the rows of each image."""
    first = np.unique(content_N, return_index=True)[1]
    return torch.from_numpy(np.isin(np.arange(len(content_N)), first))


def padded(logits_QC: Tensor, known: Tensor, classes: int) -> Tensor:
    """Logits of all classes, those that are not `known` impossible."""
    full_QC = logits_QC.new_full((len(logits_QC), classes), _IMPOSSIBLE)
    full_QC[:, known] = logits_QC[:, known]
    return full_QC


def _whole(fit: Fit, features_NF: Tensor, labels_N: Tensor, classes: int) -> Logits:
    """A fit, over all classes."""
    inner, known = fit(features_NF, labels_N), torch.unique(labels_N)
    return lambda features_QF: padded(inner(features_QF), known, classes)


def _folds(labels: NDArray[np.int64], content: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(N,) a fold for each row: the classes spread over the folds, copies together."""
    generator = np.random.default_rng(seed)
    _, first, group = np.unique(content, return_index=True, return_inverse=True)
    order = generator.permutation(len(first))
    order = order[np.argsort(labels[first[order]], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % FOLDS
    return fold[group]
