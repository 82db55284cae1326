"""Estimates of the number of classes: GCD's search, the agreement of two samples, and how many images are of new ones.

GCD (arXiv 2201.02609, section 3.3): k-means of labelled and unlabelled images together for each K, and the K at which
the labelled ones are found best. That asks about named classes alone; stability asks about all: two samples are
clustered apart, and K is where they agree best on the images they share. Both see too few classes where features hardly
tell them apart; the count by size (`sizes`) does not cluster. Shapes: N images, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.discovery.accuracy import matched
from likewise.discovery.scaling import components
from likewise.discovery.sizes import HALVES, by_size
from likewise.errors import InputError
from likewise.similarity.kmeans import kmeans

Ids = NDArray[np.int64]
SAMPLE = 4000
"""Images that the number of classes is searched on at most."""
RESAMPLES = 5
"""Samples that are clustered for stability."""
SHARE = 0.8
"""Of the images that each of them holds."""
GRID = 12
"""Numbers of classes that are tried for stability."""
COMPONENTS = 64
"""Principal components that the samples are clustered in: the same k-means in a tenth of the time."""
ITERATIONS = 30
EVERY = 30
"""So many numbers of classes are all tried, where Brent's search would try some."""
_LEAST_AGREEMENT = 0.3
_LEAST_FOUND = 0.5
_TIE = 1e-6
"""Weight of the agreement of samples where labelled images are found equally well."""


class Estimate(NamedTuple):
    """A number of classes with its interval."""

    classes: int
    """The estimate."""
    low: int
    """Smallest of the estimates from single samples (their 5 % quantile)."""
    high: int
    """Largest of them (their 95 % quantile)."""
    tried: Mapping[int, float]
    """K -> what was maximised there: labelled accuracy, or adjusted Rand index; nothing for the count by size."""


class Counted(NamedTuple):
    """Estimates of the number of classes."""

    published: Estimate | None
    """By the accuracy of the labelled images; None for a single labelled class, of which K = 1 is always best."""
    stability: Estimate
    """By the agreement of samples."""
    size: Estimate | None
    """By how many images are of unnamed classes; None for a single labelled class, which says no usual size."""
    protocol: str
    """How both were got."""
    notes: tuple[str, ...]
    """What a reader should know."""

    @property
    def chosen(self) -> Estimate:
        """The published estimate, or the one by size where even its low end is above that; else that of stability.

        The interval then holds those of both.
        """
        if self.published is None or self.size is None:
            return self.published or self.stability
        taken = self.size if self.size.low > self.published.classes else self.published
        low, high = min(self.size.low, self.published.low), max(self.size.high, self.published.high)
        return Estimate(taken.classes, low, high, taken.tried)

    def estimates(self) -> list[tuple[str, Estimate]]:
        """Every estimate that there is, by the name that people read."""
        named = (("published search", self.published), ("stability", self.stability), ("size", self.size))
        return [(name, one) for name, one in named if one is not None]


Tell = Callable[[int, int], None]


def usual_most(old: int, images: int) -> int:
    """Where the search ends unless somebody says otherwise: four times the named classes, 100 at least."""
    return max(old + 1, min(max(100, 4 * old), images // 5))


def count_classes(
    features_ND: Tensor, labels_N: Ids, *, most: int | None = None, seed: int = 0, tell: Tell | None = None
) -> Counted:
    """Estimate the number of classes in unit features, of which some are labelled (-1 elsewhere).

    `most` is the largest number that is tried. At most `SAMPLE` images are looked at, drawn from `seed`. Raises
    InputError where `most` is below the number of labelled classes, or above that of the images.
    """
    old = len(np.unique(labels_N[labels_N >= 0]))
    random = np.random.default_rng([0x636F756E, seed])
    kept_N = _sample(labels_N, random)
    features_ND, labels_N = features_ND[torch.from_numpy(kept_N)], _renumbered(labels_N[kept_N])
    limit = usual_most(old, len(labels_N)) if most is None else most
    if not max(2, old) <= limit <= len(labels_N):
        raise InputError(f"most={limit} classes: allowed are {max(2, old)} to {len(labels_N)} (labelled; looked at)")
    grid = np.unique(np.geomspace(max(2, old), limit, GRID).round().astype(int)).tolist()
    table = _resampled(components(features_ND, COMPONENTS), labels_N, grid, random, seed, tell)
    published = size = None
    if old > 1:
        tried = search(features_ND, labels_N, old, limit, seed)
        best = _best(tried, grid, table.agreement_RG.mean(0))
        low, high = _interval(table.accuracy_RG + _TIE * table.agreement_RG, grid)
        published = Estimate(best, min(low, best), max(high, best), tried)
        size = _by_size(features_ND, labels_N, old, limit, random)
    stability = _stable(table.agreement_RG, grid)
    found = Counted(published, stability, size, _protocol(len(labels_N), old, limit), ())
    return found._replace(notes=_notes(found, limit))


def _by_size(features_ND: Tensor, labels_N: Ids, old: int, limit: int, random: np.random.Generator) -> Estimate:
    """The count by size, in whole classes up to the limit."""
    number, low, high = by_size(features_ND, labels_N >= 0, old, random)
    classes, least, most = (min(limit, value) for value in (round(number), int(np.floor(low)), int(np.ceil(high))))
    return Estimate(classes, least, most, {})


def search(features_ND: Tensor, labels_N: Ids, least: int, most: int, seed: int) -> dict[int, float]:
    """K -> accuracy of the labelled images, at each K that Brent's bounded search looks at (GCD, section 3.3).

    Of few numbers all are looked at.
    """
    from scipy.optimize import minimize_scalar

    tried: dict[int, float] = {}

    def wrong(k: float) -> float:
        number = round(float(k))
        if number not in tried:
            clusters = kmeans(features_ND, number, metric="euclidean", seed=seed, iterations=ITERATIONS).assignment
            tried[number] = _found(labels_N, clusters.numpy())
        return -tried[number]

    if most - least <= EVERY:
        for number in range(least, most + 1):
            wrong(number)
        return tried
    wrong(least)  # the ends are never reached by the search itself
    wrong(most)
    minimize_scalar(wrong, bounds=(least, most), method="bounded", options={"xatol": 0.5})
    return dict(sorted(tried.items()))


def _found(labels_N: Ids, clusters_N: Ids) -> float:
    """Share of the labelled images in the cluster of their class, by the best matching."""
    known_N = labels_N >= 0
    return float(matched(labels_N[known_N], clusters_N[known_N].astype(np.int64)).mean())


class _Table(NamedTuple):
    """What R samples say of G numbers of classes."""

    accuracy_RG: NDArray[np.float64]
    """Of the labelled images in each sample."""
    agreement_RG: NDArray[np.float64]
    """Mean adjusted Rand index of each sample with the others."""


def _resampled(
    features_ND: Tensor, labels_N: Ids, grid: list[int], random: np.random.Generator, seed: int, tell: Tell | None
) -> _Table:
    """Cluster every sample at every number of classes."""
    from sklearn.metrics import adjusted_rand_score

    size = max(*grid, round(SHARE * len(labels_N)))
    samples = [np.sort(random.permutation(len(labels_N))[:size]) for _ in range(RESAMPLES)]
    accuracy_RG = np.zeros((RESAMPLES, len(grid)))
    agreement_RG = np.zeros((RESAMPLES, len(grid)))
    for column, number in enumerate(grid):
        clusters_RN = np.full((RESAMPLES, len(labels_N)), -1, np.int64)
        for row, ids in enumerate(samples):
            part = features_ND[torch.from_numpy(ids)]
            own = kmeans(part, number, metric="euclidean", seed=seed + row, iterations=ITERATIONS)
            clusters_RN[row, ids] = own.assignment.numpy()
            held = np.flatnonzero((clusters_RN[row] >= 0) & (labels_N >= 0))
            accuracy_RG[row, column] = _found(labels_N[held], clusters_RN[row, held]) if len(held) else 0.0
            if tell is not None:
                tell(column * RESAMPLES + row + 1, len(grid) * RESAMPLES)
        for one, other in combinations(range(RESAMPLES), 2):
            both = (clusters_RN[one] >= 0) & (clusters_RN[other] >= 0)
            value = float(adjusted_rand_score(clusters_RN[one, both], clusters_RN[other, both]))
            agreement_RG[[one, other], column] += value / (RESAMPLES - 1)
    return _Table(accuracy_RG, agreement_RG)


def _interval(values_RG: NDArray[np.float64], grid: list[int]) -> tuple[int, int]:
    """5 % and 95 % quantiles of the best number of classes of each sample."""
    best_R = _best_of_each(values_RG, grid)
    return int(np.floor(np.quantile(best_R, 0.05))), int(np.ceil(np.quantile(best_R, 0.95)))


def _best_of_each(values_RG: NDArray[np.float64], grid: list[int]) -> Ids:
    """(R,) the best number of each sample; of equally good ones the largest, as more clusters agree less by chance."""
    best_R: Ids = np.array(grid, np.int64)[len(grid) - 1 - values_RG[:, ::-1].argmax(1)]
    return best_R


def _best(tried: Mapping[int, float], grid: list[int], agreement_G: NDArray[np.float64]) -> int:
    """The number at which labelled images are found best; of equals that at which samples agree best, then the largest.

    Where the named classes lie apart from all others, many numbers find them equally well.
    """
    agreed = {number: float(np.interp(number, grid, agreement_G)) for number in tried}
    return max(tried, key=lambda number: (round(tried[number], 9), round(agreed[number], 6), number))


def _stable(agreement_RG: NDArray[np.float64], grid: list[int]) -> Estimate:
    """The median of the samples' best numbers, with their interval."""
    best_R = _best_of_each(agreement_RG, grid)
    means = {number: float(value) for number, value in zip(grid, agreement_RG.mean(0), strict=True)}
    return Estimate(round(float(np.median(best_R))), *_interval(agreement_RG, grid), means)


def _sample(labels_N: Ids, random: np.random.Generator) -> Ids:
    """At most `SAMPLE` positions in order, with one labelled image of each class at least."""
    if len(labels_N) <= SAMPLE:
        return np.arange(len(labels_N))
    order = random.permutation(len(labels_N))
    known = order[labels_N[order] >= 0]
    _, first = np.unique(labels_N[known], return_index=True)
    always = known[first]
    rest = order[~np.isin(order, always)][: max(0, SAMPLE - len(always))]
    return np.sort(np.concatenate([always, rest]))


def _renumbered(labels_N: Ids) -> Ids:
    classes = np.unique(labels_N[labels_N >= 0])
    return np.where(labels_N >= 0, np.searchsorted(classes, labels_N), -1)


def _protocol(images: int, old: int, most: int) -> str:
    return (
        f"{images:,} images, K from {old} to {most}; published: K with the most labelled images in the cluster of "
        "their class (k-means of all, Hungarian matching, Brent's search, ties by stability); stability: K at which "
        f"{RESAMPLES} samples of {SHARE:.0%} agree best, adjusted Rand index, in {COMPONENTS} principal components; "
        "size: as many times the named classes as there are images beside theirs, if labelled images are a random part "
        "of their classes and new classes as large; intervals: 5 % to 95 % of the estimates from each sample, for size "
        f"from each of {HALVES} halves"
    )


def _notes(found: Counted, most: int) -> tuple[str, ...]:
    published, stability = found.published, found.stability
    notes = []
    if published is None:
        notes.append(
            "one class is labelled, of which one cluster is always best: the number of classes is by stability"
        )
    best = max(stability.tried.values())
    if best < _LEAST_AGREEMENT:
        notes.append(
            f"samples hardly agree on any number of classes (adjusted Rand index {best:.2f}): there may be no classes "
            "to find, or the encoder does not see them"
        )
    if published is not None and (published.high < 0.9 * stability.low or published.low > 1.1 * stability.high):
        notes.append("the published search and stability name different numbers of classes")
    if published is not None and found.chosen.classes > published.classes:
        notes.append(
            f"the number of classes is by size, since at the published search's {published.classes} more images would "
            "be of named classes than look like them; it is too large where new classes are larger than named ones, or "
            "labels were not given at random"
        )
    if published is not None and (share := max(published.tried.values())) < _LEAST_FOUND:
        notes.append(
            f"at the published search's number only {share:.0%} of the labelled images are in the cluster of their "
            "class: these features hardly tell the named classes apart, and the number may be far off"
        )
    if found.chosen.high >= most:
        notes.append(f"the estimate reaches the largest number that was tried, {most}: try more with --most")
    return tuple(notes)
