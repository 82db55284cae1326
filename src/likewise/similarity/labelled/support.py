"""Soft nearest neighbours among labelled support images: predictions without a classifier (PAWS, SuNCEt, NNCSL).

Shapes: Q views, S support images, C classes, D dimensions, U unlabelled images of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity.read import similarities, unit

NEGLIGIBLE = 1e-4
"""Entries of a target below this are set to 0, so that log p of a class that nothing speaks for has no weight."""


def smoothed(labels_S: Tensor, classes: int, smoothing: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """(S, C) rows of 1 - s + s / C at the label and s / C elsewhere."""
    rows_SC = torch.full((len(labels_S), classes), smoothing / classes, dtype=dtype, device=labels_S.device)
    return rows_SC.scatter_(1, labels_S.unsqueeze(1), 1.0 - smoothing + smoothing / classes)


def soft_neighbours(query_QD: Tensor, support_SD: Tensor, labels_SC: Tensor, temperature: float) -> Tensor:
    """(Q, C) p(x) = softmax_j(cos(x, s_j) / T) Y (PAWS, arXiv 2104.13963, eq. 2); gradient goes to both sides."""
    weights_QS = similarities(unit(query_QD), unit(support_SD), temperature).softmax(1)
    with torch.autocast(query_QD.device.type, enabled=False):  # its logarithm is taken
        return weights_QS @ labels_SC.to(weights_QS.dtype)


def sharpened(probability_QC: Tensor, temperature: float) -> Tensor:
    """Each row to the power 1 / T, normalised again."""
    powered_QC = probability_QC ** (1.0 / temperature)
    return powered_QC / powered_QC.sum(1, keepdim=True)


@torch.no_grad()
def swapped_targets(large_2UC: Tensor, sharpen: float, small_views: int) -> Tensor:
    """((2 + M) U, C) targets of all views from predictions of the two large ones, view-major.

    A large view's target is the sharpened prediction of the other one, a small view's the mean of both. Entries below
    `NEGLIGIBLE` are 0 and the rest is not normalised again, as in the published code.
    """
    first_UC, second_UC = sharpened(large_2UC, sharpen).chunk(2)
    target = torch.cat([second_UC, first_UC, *[(first_UC + second_UC) / 2] * small_views])
    return target.where(target >= NEGLIGIBLE, 0.0)


def consistency(probability_VC: Tensor, target_VC: Tensor) -> Tensor:
    """Mean over views of -sum_c t_c log p_c; a class with t_c = 0 counts with 0 whatever its p_c."""
    each_VC: Tensor = torch.special.xlogy(target_VC, _above_zero(probability_VC))
    return -each_VC.sum(1).mean()


def mean_entropy(probability_VC: Tensor, sharpen: float) -> Tensor:
    """sum_c m_c log m_c of the mean m of the sharpened predictions: the NEGATIVE entropy, to be added to a loss."""
    mean_C = sharpened(probability_VC, sharpen).mean(0)
    each_C: Tensor = torch.special.xlogy(mean_C, _above_zero(mean_C))
    return each_C.sum()


def _above_zero(probability: Tensor) -> Tensor:
    """So that the gradient of 0 log 0 is finite: at 0 it would be 0 / 0."""
    return probability.clamp_min(torch.finfo(probability.dtype).tiny)


def suncet(embedding_SD: Tensor, labels_SC: Tensor, temperature: float) -> Tensor:
    """SuNCEt (arXiv 2006.10803): each labelled image is classified by the others; mean -log p of its own class.

    `labels_SC` are one-hot rows; those of other images are taken as they are. Raises InputError for one image.
    """
    if len(embedding_SD) < 2:
        raise InputError("SuNCEt compares labelled images: it needs at least 2")
    z_SD = unit(embedding_SD)
    logits_SS = similarities(z_SD, z_SD, temperature)
    own_SS = torch.eye(len(z_SD), dtype=torch.bool, device=z_SD.device)
    weights_SS = logits_SS.masked_fill(own_SS, -torch.inf).softmax(1)
    probability_SC = weights_SS @ labels_SC.to(z_SD.dtype)
    own_S = (probability_SC * labels_SC).sum(1)
    return -own_S.log().mean()


def distilled_neighbours(now_VC: Tensor, before_VC: Tensor) -> Tensor:
    """NND of NNCSL (arXiv 2212.05102, eq. 5): mean cross-entropy of today's soft neighbours with yesterday's."""
    return consistency(now_VC, before_VC.detach())
