"""kNN classification: majority and weighted votes of neighbours.

Shapes: Q queries and k neighbours of each; labels (N,) of the bank. Plain majority (Wu et al. 2018 without weights; the
protocol of ISD, arXiv 2012.09259, and MSF), and votes weighted by exp(similarity / T) (Wu et al. 2018,
arXiv 1805.01978, section 3.4; the monitor of MoCo).
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import Neighbours
from likewise.similarity.nearest import neighbours


def majority(found: Neighbours, labels_N: Tensor, k: int) -> Tensor:
    """(Q,) the class most of the `k` nearest have; of classes with equally many, that of the nearest member.

    Raises InputError where `found` has fewer than `k` neighbours.
    """
    votes_Qk = _labels_of(found, labels_N, k)
    counts_QC = _tally(votes_Qk, torch.ones_like(votes_Qk), classes=int(labels_N.max()) + 1)
    has_most_Qk = counts_QC.gather(1, votes_Qk) == counts_QC.amax(1, keepdim=True)
    nearest_Q1 = has_most_Qk.int().argmax(1, keepdim=True)  # argmax finds the first: neighbours come nearest first
    return votes_Qk.gather(1, nearest_Q1).squeeze(1)


def weighted(found: Neighbours, labels_N: Tensor, k: int, temperature: float) -> Tensor:
    """(Q,) the class with the largest sum of exp(similarity / `temperature`) among the `k` nearest.

    Raises InputError where `found` has fewer than `k` neighbours, or the temperature is not above 0.
    """
    _check_temperature(temperature)
    votes_Qk = _labels_of(found, labels_N, k)
    similarity_Qk = found.similarity[:, :k]
    # The largest exponent becomes 0: same order of classes, and no overflow at low temperatures.
    weights_Qk = ((similarity_Qk - similarity_Qk[:, :1]) / temperature).exp()
    return _tally(votes_Qk, weights_Qk, classes=int(labels_N.max()) + 1).argmax(1)


def weighted_scores(
    query_QD: Tensor, bank_ND: Tensor, labels_N: Tensor, k: int, temperature: float, classes: int
) -> Tensor:
    """(Q, classes): sum of exp(similarity / `temperature`) over the neighbours of each class among the `k` nearest.

    Raises InputError as `neighbours` does, for labels outside 0..classes-1, and for a temperature not above 0.
    """
    _check_temperature(temperature)
    if len(labels_N) and not 0 <= int(labels_N.min()) <= int(labels_N.max()) < classes:
        span = f"{int(labels_N.min())} to {int(labels_N.max())}"
        raise InputError(f"labels of the bank go from {span}: allowed are 0 to {classes - 1}")
    found = neighbours(query_QD, bank_ND, k)
    return _tally(_labels_of(found, labels_N, k), (found.similarity / temperature).exp(), classes)


def accuracy(predicted_Q: Tensor, labels_Q: Tensor) -> float:
    """Share of predictions that are right, 0 to 1."""
    return float((predicted_Q == labels_Q).double().mean())


def _labels_of(found: Neighbours, labels_N: Tensor, k: int) -> Tensor:
    """(Q, k) labels of the k nearest."""
    if not 1 <= k <= found.rows.shape[1]:
        raise InputError(f"k={k} votes asked of {found.rows.shape[1]} neighbours: allowed are 1 to that many")
    return labels_N.long()[found.rows[:, :k]]


def _tally(votes_Qk: Tensor, weights_Qk: Tensor, classes: int) -> Tensor:
    """(Q, classes) sum of the weights of each class's votes."""
    sums_QC = weights_Qk.new_zeros(len(votes_Qk), classes)
    return sums_QC.scatter_add_(1, votes_Qk, weights_Qk)


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise InputError(f"temperature {temperature} of the votes must be above 0; usual is 0.1")
