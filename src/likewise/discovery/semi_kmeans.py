"""k-means that never moves a labelled image out of its class (GCD, arXiv 2201.02609, section 3.2).

Shapes: L labelled and U unlabelled images, D dimensions, K clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

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
    seed: int = 0,
) -> SemiKMeans:
    """Cluster all images, each labelled class being a cluster whose labelled members stay in it.

    Centres of labelled classes begin at their means; each further one is an unlabelled image drawn with probability
    proportional to its squared distance from the nearest centre. A centre is the mean of its labelled and unlabelled
    members, and stays where it is without any. Each run keeps its tightest iteration and stops when the squared sum of
    the centres' shifts is below `tolerance`; the tightest run is returned.

    Raises InputError for fewer clusters than labelled classes, or more than there are images for.
    """
    classes, own_L = torch.unique(labels_L, return_inverse=True)
    if not len(classes) <= clusters <= len(classes) + len(unlabelled_UD):
        raise InputError(
            f"{clusters} clusters of {len(classes)} labelled classes and {len(unlabelled_UD)} unlabelled images: "
            f"allowed are {len(classes)} to {len(classes) + len(unlabelled_UD)}"
        )
    random = np.random.RandomState(seed)  # one uniform number a centre, as in the published code
    found = [
        _run(unlabelled_UD, labelled_LD, own_L, clusters, random, iterations=iterations, tolerance=tolerance)
        for _ in range(runs)
    ]
    return min(found, key=lambda run: run.inertia)


def _run(
    unlabelled_UD: Tensor,
    labelled_LD: Tensor,
    own_L: Tensor,
    clusters: int,
    random: np.random.RandomState,
    *,
    iterations: int,
    tolerance: float,
) -> SemiKMeans:
    """One run from freshly drawn centres."""
    centres_KD = _begun(unlabelled_UD, labelled_LD, own_L, clusters, random)
    everything = torch.cat([labelled_LD, unlabelled_UD])
    best: SemiKMeans | None = None
    for _ in range(iterations):
        squared_UK = torch.cdist(unlabelled_UD, centres_KD).square()
        nearest = squared_UK.min(1)
        labelled_L = (labelled_LD - centres_KD[own_L]).square().sum()
        assignment = torch.cat([own_L, nearest.indices])
        inertia = float(nearest.values.sum() + labelled_L)
        if best is None or inertia < best.inertia:
            best = SemiKMeans(assignment, centres_KD.clone(), inertia)
        sums = torch.zeros_like(centres_KD).index_add_(0, assignment, everything)
        counts = assignment.bincount(minlength=clusters).unsqueeze(1)
        moved = torch.where(counts > 0, sums / counts.clamp_min(1), centres_KD)
        shift = float((moved - centres_KD).square().sum(1).sqrt().sum() ** 2)
        centres_KD = moved
        if shift < tolerance:
            break
    assert best is not None
    return best


def _begun(
    unlabelled_UD: Tensor, labelled_LD: Tensor, own_L: Tensor, clusters: int, random: np.random.RandomState
) -> Tensor:
    """(K, D) means of the labelled classes, then centres drawn from the unlabelled images by k-means++."""
    known = int(own_L.max()) + 1
    centres = labelled_LD.new_zeros(clusters, labelled_LD.shape[1])
    centres[:known].index_add_(0, own_L, labelled_LD)
    centres[:known] /= own_L.bincount(minlength=known).unsqueeze(1)
    for number in range(known, clusters):
        nearest_U = torch.cdist(unlabelled_UD, centres[:number]).square().amin(1)
        running_U = (nearest_U / nearest_U.sum()).cumsum(0)
        chosen = int((running_U >= random.rand()).nonzero()[0])
        centres[number] = unlabelled_UD[chosen]
    return centres
