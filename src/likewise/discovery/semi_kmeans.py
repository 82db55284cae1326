"""k-means that never moves a labelled image out of its class (GCD, arXiv 2201.02609, section 3.2).

Shapes: L labelled and U unlabelled images, D dimensions, K clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from likewise.errors import InputError


class SemiKMeans(NamedTuple):
    """The tightest of the runs."""

    assignment: Tensor
    """(L + U,) int64, labelled images first; clusters of labelled classes come first, in the order of their labels."""
    centres: Tensor
    """(K, D)."""
    inertia: float
    """Sum over all images of the squared distance to their centre."""


@torch.no_grad()
def semi_kmeans(
    unlabelled_UD: Tensor,
    labelled_LD: Tensor,
    labels_L: Tensor,
    clusters: int,
    *,
    runs: int = 10,
    iterations: int = 10,
    tolerance: float = 1e-4,
    candidates: int = 1,
    unit_centres: bool = False,
    seed: int = 0,
) -> SemiKMeans:
    """Cluster all images, each labelled class being a cluster whose labelled members stay in it.

    Centres of labelled classes begin at their means; each further one is an unlabelled image drawn with probability
    proportional to its squared distance from the nearest centre. A centre is the mean of its labelled and unlabelled
    members, and stays where it is without any. Each run keeps its tightest iteration and stops when the squared sum of
    the centres' shifts is below `tolerance`; the tightest run is returned.

    With more than one of `candidates` that many images are drawn for each further centre, and the one that leaves the
    smallest sum of squared distances is taken, the greedy form of k-means++. Published is 1.

    With `unit_centres`, for unit features, centres are the means at unit length. The mean of a wide cluster is short,
    and so nearer to what lies apart from everything than the long means of narrow ones. Published is without.

    Raises InputError for no cluster, fewer than labelled classes, or more than there are images for.
    """
    classes, own_L = torch.unique(labels_L, return_inverse=True)
    least = max(1, len(classes))
    if not least <= clusters <= len(classes) + len(unlabelled_UD):
        raise InputError(
            f"{clusters} clusters of {len(classes)} labelled classes and {len(unlabelled_UD)} unlabelled images: "
            f"allowed are {least} to {len(classes) + len(unlabelled_UD)}"
        )
    random = np.random.RandomState(seed)  # one uniform number a centre, as in the published code
    points = _Points(unlabelled_UD, labelled_LD, own_L, torch.cat([labelled_LD, unlabelled_UD]), unit_centres)
    found = [
        _run(points, _begun(points, clusters, candidates, random), iterations=iterations, tolerance=tolerance)
        for _ in range(runs)
    ]
    return min(found, key=lambda run: run.inertia)


class _Points(NamedTuple):
    """What is clustered."""

    unlabelled_UD: Tensor
    labelled_LD: Tensor
    own_L: Tensor
    """(L,) the cluster that each labelled image stays in."""
    everything: Tensor
    """(L + U, D)."""
    unit_centres: bool

    def centres(self, means_KD: Tensor) -> Tensor:
        """(K, D) the centres that clusters with these means have."""
        return normalize(means_KD, dim=1) if self.unit_centres else means_KD

    @property
    def known(self) -> int:
        """Number of labelled classes."""
        return int(self.own_L.max()) + 1 if len(self.own_L) else 0


def _run(points: _Points, centres_KD: Tensor, *, iterations: int, tolerance: float) -> SemiKMeans:
    """One run from given centres."""
    best: SemiKMeans | None = None
    for _ in range(iterations):
        nearest = _squared(points.unlabelled_UD, centres_KD).min(1)
        labelled_L = (points.labelled_LD - centres_KD[points.own_L]).square().sum()
        assignment = torch.cat([points.own_L, nearest.indices])
        inertia = float(nearest.values.sum() + labelled_L)
        if best is None or inertia < best.inertia:
            best = SemiKMeans(assignment, centres_KD.clone(), inertia)
        sums = torch.zeros_like(centres_KD).index_add_(0, assignment, points.everything)
        counts = assignment.bincount(minlength=len(centres_KD)).unsqueeze(1)
        moved = points.centres(torch.where(counts > 0, sums / counts.clamp_min(1), centres_KD))
        shift = float((moved - centres_KD).square().sum(1).sqrt().sum() ** 2)
        centres_KD = moved
        if shift < tolerance:
            break
    assert best is not None
    return best


def _squared(x_ND: Tensor, centres_KD: Tensor) -> Tensor:
    """(N, K) squared distances, by products."""
    norms_NK = x_ND.square().sum(1, keepdim=True) + centres_KD.square().sum(1)
    return torch.addmm(norms_NK, x_ND, centres_KD.T, alpha=-2).clamp_(min=0)


def _begun(points: _Points, clusters: int, candidates: int, random: np.random.RandomState) -> Tensor:
    """(K, D) means of the labelled classes, then centres drawn from the unlabelled images by k-means++.

    Without any labelled class the first centre is drawn uniformly. Where every unlabelled image lies on a centre, the
    further centres repeat images and stay empty.
    """
    unlabelled_UD, known = points.unlabelled_UD, points.known
    centres_KD = points.labelled_LD.new_zeros(clusters, unlabelled_UD.shape[1])
    centres_KD.index_add_(0, points.own_L, points.labelled_LD)
    centres_KD[:known] /= points.own_L.bincount(minlength=known).unsqueeze(1)
    centres_KD[:known] = points.centres(centres_KD[:known])
    nearest_U = unlabelled_UD.new_full((len(unlabelled_UD),), torch.inf)
    if 0 < known < clusters:
        nearest_U = _squared(unlabelled_UD, centres_KD[:known]).amin(1)
    for number in range(known, clusters):
        drawn = [_drawn(nearest_U, random) for _ in range(candidates)]
        nearer_UT = torch.minimum(nearest_U.unsqueeze(1), _squared(unlabelled_UD, unlabelled_UD[drawn]))
        best = int(nearer_UT.sum(0).argmin()) if candidates > 1 else 0
        centres_KD[number] = unlabelled_UD[drawn[best]]
        nearest_U = nearer_UT[:, best].contiguous()
    return centres_KD


def _drawn(weights_U: Tensor, random: np.random.RandomState) -> int:
    """One position, drawn in proportion to its weight; uniformly where these are all 0 or all infinite."""
    total = weights_U.sum()
    usable = bool(total > 0) and bool(total < torch.inf)
    share_U = weights_U / total if usable else torch.full_like(weights_U, 1 / len(weights_U))
    reached = (share_U.cumsum(0) >= random.rand()).nonzero()
    return int(reached[0]) if len(reached) else len(share_U) - 1  # running sums may end short of 1 by rounding
