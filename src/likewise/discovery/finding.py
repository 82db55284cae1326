"""Classes of labelled and unlabelled images, the certainty of each image's class, and a description of each class.

How sure: by how much nearer an image lies to its own centre than to the next one. What that is worth the labelled
images say: in turn a fifth of their labels is hidden, all is clustered again, and they come back into their class or
not. So a confidence is the share of labelled images with such a margin that came back. Whether repeated clusterings
agree on an image was tried instead: it hardly told right from wrong, which the margin does.

Shapes: N images, D dimensions, K clusters, H labelled images with hidden labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.discovery.scaling import scaled
from likewise.discovery.semi_kmeans import SemiKMeans, semi_kmeans
from likewise.errors import unknown
from likewise.similarity import unit

Ids = NDArray[np.int64]
RUNS = 10
"""Clusterings of which the tightest is taken, as published."""
FOLDS = 5
"""Parts of the labels, of which one is hidden in each repetition."""
Seeding = Literal["greedy", "published"]
GREEDY = 6
"""Images from which each new centre is chosen by the greedy form."""


class Classes(NamedTuple):
    """The class of every image."""

    clusters: Ids
    """(N,) cluster of each image, 0 to K - 1; the labelled classes first, in the order of their numbers."""
    old: Ids
    """(O,) the class that each of the first O clusters is."""
    confidence: NDArray[np.float64]
    """(N,) how likely the class is right, by its margin; 1 for labelled images."""
    centres: Tensor
    """(K, D) the mean of each; 0 where a cluster stayed empty."""
    similarity: NDArray[np.float64]
    """(N,) cosine of each image and its centre."""
    recovered: tuple[int, int]
    """How many labelled images, while their label was hidden, came back into their class; and of how many."""


class Class(NamedTuple):
    """One class that was found."""

    cluster: int
    """Its number."""
    name: str
    """Of a labelled class its own, else `new 1`, `new 2`, ... by size."""
    is_new: bool
    """Whether no label names it."""
    images: int
    """Unlabelled images in it."""
    unsure: int
    """Those of them that are not sure."""
    labelled: int
    """Labelled images in it."""
    coherence: float
    """Mean cosine of two of its images."""
    nearest: str | None
    """The labelled class that is most like it, itself aside; None where there is no other."""
    nearness: float
    """Cosine of the two centres; 0 without such a class."""
    typical: Ids
    """Positions of the images nearest to its centre."""
    doubtful: Ids
    """Positions of its least sure unlabelled images, the least sure first."""


def find(
    features_ND: Tensor,
    labels_N: Ids,
    clusters: int,
    *,
    seeding: Seeding = "greedy",
    runs: int = RUNS,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> Classes:
    """Semi-supervised k-means of unit features into `clusters`, of which some are labelled (-1 elsewhere).

    `published` seeding draws each new centre, `greedy` chooses it among several images and keeps all centres at unit
    length (`semi_kmeans`), in features scaled by the spread within labelled classes (`scaling`). A pure function of its
    arguments. Raises InputError as `semi_kmeans` does, and for another
    seeding.
    """
    if seeding not in get_args(Seeding):
        raise unknown("seeding", seeding, get_args(Seeding))
    old = np.unique(labels_N[labels_N >= 0])
    best = _clustered(features_ND, labels_N, old, clusters, runs=runs, seeding=seeding, seed=seed)
    folds_N = _folds(labels_N, np.random.default_rng([0x666F6C64, seed]))
    margins: list[NDArray[np.float64]] = []
    back: list[NDArray[np.bool_]] = []
    for number in range(FOLDS):
        out_H = np.flatnonzero(folds_N == number)
        if len(out_H):
            shown_N = labels_N.copy()
            shown_N[out_H] = -1
            other = _clustered(
                features_ND, shown_N, old, clusters, runs=1, seeding=seeding, seed=1000 * (seed + 1) + number
            )
            margins.append(_margin(other.space_ND[torch.from_numpy(out_H)], other.centres))
            back.append(other.clusters[out_H] == np.searchsorted(old, labels_N[out_H]))
        if tell is not None:
            tell(number + 1, FOLDS)
    back_H, margin_H = np.concatenate([*back, np.zeros(0, bool)]), np.concatenate([*margins, np.zeros(0)])
    confidence_N = np.where(labels_N >= 0, 1.0, _calibrated(margin_H, back_H, _margin(best.space_ND, best.centres)))
    centres_KD = _means(features_ND, torch.from_numpy(best.clusters), clusters)
    own_ND = unit(centres_KD)[torch.from_numpy(best.clusters)]
    similarity_N = (unit(features_ND) * own_ND).sum(1).double().numpy()
    return Classes(best.clusters, old, confidence_N, centres_KD, similarity_N, (int(back_H.sum()), len(back_H)))


def _means(features_ND: Tensor, clusters_N: Tensor, clusters: int) -> Tensor:
    """(K, D) the mean of each cluster's images; 0 without any."""
    sums_KD = features_ND.new_zeros(clusters, features_ND.shape[1]).index_add_(0, clusters_N, features_ND)
    return sums_KD / clusters_N.bincount(minlength=clusters).clamp_min(1).unsqueeze(1)


def _margin(features_ND: Tensor, centres_KD: Tensor) -> NDArray[np.float64]:
    """(N,) 1 - distance to the nearest centre / distance to the next one, 0 to 1; 1 where there is one centre."""
    if len(centres_KD) == 1:
        return np.ones(len(features_ND))
    near_N2 = torch.cdist(features_ND, centres_KD).topk(2, dim=1, largest=False).values.double()
    return (1 - near_N2[:, 0] / near_N2[:, 1].clamp_min(1e-12)).numpy()


def _calibrated(
    margin_H: NDArray[np.float64], back_H: NDArray[np.bool_], margin_N: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) the share that came back of the labelled images with such a margin, rising with it (isotonic regression).

    A right one with the margin 1 and a wrong one with 0 are added: without hidden labels it is the margin itself.
    """
    from sklearn.isotonic import IsotonicRegression

    rising = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    rising.fit(np.concatenate([margin_H, [0.0, 1.0]]), np.concatenate([back_H, [False, True]]).astype(np.float64))
    found: NDArray[np.float64] = rising.predict(margin_N)
    return found


class _Clustered(NamedTuple):
    clusters: Ids
    centres: Tensor
    """In the space that was clustered in."""
    space_ND: Tensor
    """All images in that space."""


def _clustered(
    features_ND: Tensor, labels_N: Ids, old: Ids, clusters: int, *, runs: int, seeding: Seeding, seed: int
) -> _Clustered:
    """Semi-supervised k-means, with the images in their own order."""
    known_N = labels_N >= 0
    space_ND = scaled(features_ND, labels_N) if seeding == "greedy" else features_ND
    shown, hidden = torch.from_numpy(np.flatnonzero(known_N)), torch.from_numpy(np.flatnonzero(~known_N))
    own_L = torch.from_numpy(np.searchsorted(old, labels_N[known_N]))
    found: SemiKMeans = semi_kmeans(
        space_ND[hidden],
        space_ND[shown],
        own_L,
        clusters,
        runs=runs,
        candidates=GREEDY if seeding == "greedy" else 1,
        unit_centres=seeding == "greedy",
        seed=seed,
    )
    everywhere_N = torch.empty(len(labels_N), dtype=torch.int64)
    everywhere_N[torch.cat([shown, hidden])] = found.assignment
    return _Clustered(everywhere_N.numpy(), found.centres, space_ND)


def _folds(labels_N: Ids, random: np.random.Generator) -> Ids:
    """(N,) in which repetition the label of an image is hidden; -1: has none, or is the one that its class keeps."""
    folds_N = np.full(len(labels_N), -1, np.int64)
    for value in np.unique(labels_N[labels_N >= 0]):
        rows = random.permutation(np.flatnonzero(labels_N == value))[1:]
        folds_N[rows] = (np.arange(len(rows)) + random.integers(FOLDS)) % FOLDS
    return folds_N


def describe(
    found: Classes, features_ND: Tensor, labels_N: Ids, names: tuple[str, ...], sure: float, shown: int = 8
) -> list[Class]:
    """The description of each class: the labelled ones in their order, then the new ones, the largest first.

    Clusters without images are left out. Images with a confidence below `sure` are not sure. `shown` is the number of
    typical and of doubtful images.
    """
    sizes_K = np.bincount(found.clusters, minlength=len(found.centres))
    fresh = [one for one in range(len(found.old), len(found.centres)) if sizes_K[one]]
    fresh.sort(key=lambda one: (-sizes_K[one], one))
    fresh_names = _new_names(len(fresh), names)
    name_of = {at: names[int(value)] for at, value in enumerate(found.old)} | dict(zip(fresh, fresh_names, strict=True))
    means_OD = torch.stack([features_ND[torch.from_numpy(labels_N == value)].mean(0) for value in found.old])
    near_KO = (unit(found.centres) @ unit(means_OD).T).numpy()
    classes = []
    for cluster, name in name_of.items():
        members = np.flatnonzero(found.clusters == cluster)
        others_O = near_KO[cluster].copy()
        is_new = cluster >= len(found.old)
        if not is_new:
            others_O[cluster] = -np.inf
        best = int(others_O.argmax())
        has_other = bool(others_O[best] > -np.inf)
        free = members[labels_N[members] < 0]
        doubt = free[np.lexsort((found.similarity[free], found.confidence[free]))]
        classes.append(
            Class(
                cluster=cluster,
                name=name,
                is_new=is_new,
                images=len(free),
                unsure=int((found.confidence[free] < sure).sum()),
                labelled=len(members) - len(free),
                coherence=_coherence(features_ND[torch.from_numpy(members)]),
                nearest=names[found.old[best]] if has_other else None,
                nearness=float(others_O[best]) if has_other else 0.0,
                typical=members[np.argsort(-found.similarity[members], kind="stable")][:shown],
                doubtful=doubt[:shown],
            )
        )
    return classes


def _coherence(members_MD: Tensor) -> float:
    """Mean cosine of two different images of a class; 1 for a single one."""
    count = len(members_MD)
    if count < 2:
        return 1.0
    total = float(unit(members_MD).double().sum(0).square().sum())
    return (total - count) / (count * (count - 1))


def _new_names(count: int, taken: tuple[str, ...]) -> list[str]:
    """`new 1`, `new 2`, ..., without those that a class has already."""
    found: list[str] = []
    number = 1
    while len(found) < count:
        if (name := f"new {number}") not in taken:
            found.append(name)
        number += 1
    return found
