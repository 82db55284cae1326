"""Retrieval scores of one encoder's queries among the vectors of another, query by query.

Shapes: Q queries, N images of the gallery, D dimensions, k neighbours, R resamples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import unit

_TILE_VALUES = 2**24
"""Similarities that exist at once."""
NEIGHBOURS = 10
RESAMPLES = 1000
LEVEL = 0.95


class Truth(NamedTuple):
    """The relevant images of a query: those of its class, or given neighbours. One of the two is there."""

    labels_N: Tensor | None = None
    """Class of each image, -1 where unknown."""
    near_Qk: Tensor | None = None
    """Positions of the images that each query should find."""

    @property
    def words(self) -> str:
        """The measure, for people."""
        if self.labels_N is not None:
            return "recall@1: the nearest other labelled image is of the same class"
        return f"recall@{NEIGHBOURS} of the neighbours that re-embedding all images would give"


def nearest(query_QD: Tensor, gallery_ND: Tensor, own_Q: Tensor, k: int = 1) -> Tensor:
    """(Q, k) positions of the most similar images by cosine, without each query's own image at `own_Q`.

    Raises InputError where the two sides differ in dimensions.
    """
    if query_QD.shape[1] != gallery_ND.shape[1]:
        raise InputError(
            f"queries of {query_QD.shape[1]} dimensions and vectors of {gallery_ND.shape[1]}: not comparable"
        )
    gallery_ND, found = unit(gallery_ND.float()), []
    for rows_B in torch.split(torch.arange(len(query_QD)), max(1, _TILE_VALUES // len(gallery_ND))):
        similarity_BN = unit(query_QD[rows_B].float()) @ gallery_ND.T
        similarity_BN.scatter_(1, own_Q[rows_B].unsqueeze(1), -torch.inf)
        found.append(similarity_BN.topk(min(k, len(gallery_ND) - 1), dim=1).indices)
    return torch.cat(found)


def neighbours_of(query_QD: Tensor, gallery_ND: Tensor, own_Q: Tensor) -> Truth:
    """The exact nearest as the truth, for images without labels."""
    return Truth(near_Qk=nearest(query_QD, gallery_ND, own_Q, NEIGHBOURS))


def found_of(query_QD: Tensor, gallery_ND: Tensor, own_Q: Tensor, truth: Truth) -> Tensor:
    """(Q,) what each query finds of what it should, 0 to 1: with labels 0 or 1, among the images that have one.

    With labels the queries have to be `answerable`.
    """
    if truth.labels_N is not None:
        known_N = truth.labels_N >= 0  # of the others nobody knows whether they are right
        place_N = known_N.cumsum(0) - 1
        first_Q = nearest(query_QD, gallery_ND[known_N], place_N[own_Q])[:, 0]
        return (truth.labels_N[known_N][first_Q] == truth.labels_N[own_Q]).double()
    assert truth.near_Qk is not None
    near_Qk = nearest(query_QD, gallery_ND, own_Q, truth.near_Qk.shape[1])
    return (near_Qk.unsqueeze(2) == truth.near_Qk.unsqueeze(1)).any(2).double().mean(1)


def answerable(own_Q: Tensor, labels_N: Tensor) -> Tensor:
    """The queries that have another image of their class to find. Raises InputError where none has."""
    known_N = labels_N >= 0
    count_C = torch.bincount(labels_N[known_N], minlength=1)
    kept_Q = own_Q[known_N[own_Q]]
    kept_Q = kept_Q[count_C[labels_N[kept_Q]] > 1]
    if not len(kept_Q):
        raise InputError("no image has another of its class to find: leave the labels out to compare neighbours")
    return kept_Q


class MeanInterval(NamedTuple):
    """A mean over queries with its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap(values_Q: NDArray[np.float64], *, seed: int = 0) -> MeanInterval:
    """Percentile bootstrap over the queries (Efron, Annals of Statistics 1979), the same draw for the same number.

    Differences of two measures on the same queries are given as the differences of single queries.
    """
    count = len(values_Q)
    draw = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        means[at] = values_Q[draw.integers(0, count, count)].mean()
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return MeanInterval(float(values_Q.mean()), float(low), float(high))


def or_none(value: float) -> float | None:
    """A number that JSON knows."""
    return value if math.isfinite(value) else None
