"""USL: the densest image of each cluster, kept apart from the picks of other clusters (arXiv 2110.03006).

Shapes: N images, D dimensions, m picks, k neighbours. All distances are SQUARED Euclidean ones of unit vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import neighbours, unit
from likewise.similarity.kmeans import kmeans

_TILE = 1 << 24
"""Distances held at a time."""


@dataclass(frozen=True, kw_only=True)
class Apart:
    """Settings that separate picks of different clusters (section 3.3); the defaults are CIFAR-10's."""

    rounds: int = 10
    """T: selections, each with the repulsion of the one before."""
    weight: float = 0.5
    """lambda: of the repulsion beside the density."""
    momentum: float = 0.9
    """beta: share of the earlier repulsion that is kept."""
    horizon: float = 4.0
    """Squared distance from which on a pick repels nobody; 4 is everything on the unit sphere."""
    alpha: float = 0.5
    """A pick at squared distance d repels with d^-alpha."""
    nearest: int | None = None
    """ImageNet's form: instead of the horizon only this many nearest picks repel."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"rounds={self.rounds} of the selection: allowed is 1 or more")
        if not 0.0 <= self.momentum < 1.0:
            raise InputError(f"momentum={self.momentum} of the repulsion: allowed is 0 up to below 1")
        if self.nearest is not None and self.nearest < 1:
            raise InputError(f"nearest={self.nearest} picks that repel: allowed is 1 or more")


@torch.no_grad()
def mean_squared_distance(features_ND: Tensor, k: int) -> Tensor:
    """(N,) mean squared distance to the `k` nearest images, the image itself (0) being one of them.

    Raises InputError for fewer than 2 or more than N neighbours.
    """
    if not 2 <= k <= len(features_ND):
        raise InputError(f"k={k} neighbours of {len(features_ND)} images, themselves among them: allowed are 2 to N")
    x_ND = unit(features_ND)
    found = neighbours(x_ND, x_ND, k)
    return (2.0 - 2.0 * found.similarity).clamp_min(0.0).mean(1)


def density(features_ND: Tensor, k: int) -> Tensor:
    """(N,) 1 / mean squared distance to the `k` nearest; images that lie on k - 1 copies are infinitely dense."""
    return 1.0 / mean_squared_distance(features_ND, k)


@torch.no_grad()
def lloyd(features_ND: Tensor, clusters: int, *, iterations: int, start: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) clusters and (m, D) centres by plain Lloyd iterations from the images `start`; empty clusters stay empty."""
    x_ND = unit(features_ND)
    found = kmeans(
        x_ND, clusters, metric="euclidean", iterations=iterations, tolerance=0.0, start=x_ND[start], restart=False
    )
    return found.assignment, found.centroids


@torch.no_grad()
def densest_apart(
    features_ND: Tensor, cluster_N: Tensor, density_N: Tensor, how: Apart, *, taken: Tensor | None = None
) -> Tensor:
    """(m',) one image of each cluster that has any, in the order of the clusters: argmax of density - lambda r.

    The repulsion r of an image is a moving average over the rounds of sum_c d(x, z_c)^-alpha over the picks z_c of
    OTHER clusters within the horizon (or the nearest ones). Each round selects anew. In a cluster with rows that are
    `taken` (G,), as those labelled in an earlier round, the first of these is the pick in every round (not published).
    """
    x_ND = unit(features_ND)
    present, own_N = torch.unique(cluster_N, return_inverse=True)
    repulsion_N = torch.zeros_like(density_N)

    def best() -> Tensor:
        score_N = density_N - how.weight * repulsion_N
        return _best(own_N, score_N if taken is None else score_N.index_fill(0, taken, torch.inf), len(present))

    picked = best()
    for _ in range(how.rounds - 1):
        new_N = _repulsion(x_ND, picked, own_N, how)
        repulsion_N = how.momentum * repulsion_N + (1.0 - how.momentum) * new_N
        picked = best()
    return picked


def _best(own_N: Tensor, score_N: Tensor, clusters: int) -> Tensor:
    """(clusters,) the first image with the largest score of each cluster."""
    largest = score_N.new_full((clusters,), -torch.inf).scatter_reduce_(0, own_N, score_N, "amax")
    is_best = (score_N == largest[own_N]).nonzero().flatten()
    return own_N.new_full((clusters,), len(own_N)).scatter_reduce_(0, own_N[is_best], is_best, "amin")


def _repulsion(x_ND: Tensor, picked: Tensor, own_N: Tensor, how: Apart) -> Tensor:
    """(N,) how strongly each image is repelled by the picks of other clusters."""
    columns = torch.arange(len(picked), device=x_ND.device)
    tiles = []
    for rows in torch.split(torch.arange(len(x_ND), device=x_ND.device), max(1, _TILE // len(picked))):
        squared = (2.0 - 2.0 * x_ND[rows] @ x_ND[picked].T).clamp_min(0.0)
        squared = squared.masked_fill(own_N[rows].unsqueeze(1) == columns, torch.inf)
        if how.nearest is None:
            squared = squared.masked_fill(squared >= how.horizon, torch.inf)
        else:
            squared = squared.topk(min(how.nearest, len(picked)), dim=1, largest=False).values
        tiles.append((squared**-how.alpha).sum(1))
    return torch.cat(tiles)
