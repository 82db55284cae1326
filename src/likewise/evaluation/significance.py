"""Tests of differences between scores: over the same images, and over seeds.

The two answer different questions. Over images: would these encoders differ on other images of the kind? Over
seeds: would the settings differ if everything were trained again? A difference between two single runs can only be
tested by the first, and says nothing about the second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
_ROUNDING = 1e-12
"""A deviation of shares that is none."""
_ENOUGH = 3
"""Differences without any spread, from which on that says something."""


class Test(NamedTuple):
    """A difference and how sure one may be of it."""

    difference: float
    """Second less first."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    p: float
    """Probability of a difference as large or larger if there were none, two-sided."""
    how: str
    """What was tested, in words."""


def mcnemar(first_Q: NDArray[np.bool_], second_Q: NDArray[np.bool_]) -> Test:
    """Two classifiers on the same images: the exact McNemar test (McNemar 1947) of those that only one gets right.

    The interval is that of Bonett and Price (J. Educ. Behav. Stat. 2012) for paired proportions, which adds an image
    to either side: Wald's is too narrow where few images tell the two apart, and would exclude 0 where the test does
    not. Answers that are the same for every image differ by exactly 0.
    """
    count = len(first_Q)
    lost, won = int((first_Q & ~second_Q).sum()), int((second_Q & ~first_Q).sum())
    difference = (won - lost) / count
    how = f"McNemar, exact: of {count:,} images {won:,} against {lost:,} only one gets right"
    if not won + lost:
        return Test(0.0, 0.0, 0.0, 1.0, how)
    low, high = _bonett_price(won, lost, count)
    return Test(difference, low, high, float(stats.binomtest(won, won + lost).pvalue), how)


def over_classes(first_Q: NDArray[np.bool_], second_Q: NDArray[np.bool_], truth_Q: NDArray[np.int64]) -> Test:
    """Two classifiers on the same images by their mean over classes, each class a sample of its own.

    `truth_Q` is the class of each image. Pairs within a class as in `mcnemar`, with half an image added to either
    side of each; p is that of the normal distribution.
    """
    asked_C = np.bincount(truth_Q)
    present = asked_C > 0
    n_C = asked_C[present]
    won_C = np.bincount(truth_Q[second_Q & ~first_Q], minlength=len(asked_C))[present]
    lost_C = np.bincount(truth_Q[first_Q & ~second_Q], minlength=len(asked_C))[present]
    classes = len(n_C)
    difference = float(((won_C - lost_C) / n_C).mean())
    how = f"paired by class: of {len(truth_Q):,} images {won_C.sum():,} against {lost_C.sum():,} only one gets right"
    if not (won_C.sum() or lost_C.sum()):
        return Test(0.0, 0.0, 0.0, 1.0, how)
    win_C, lose_C = (won_C + 0.5) / (n_C + 1), (lost_C + 0.5) / (n_C + 1)
    error = math.sqrt(float(((win_C + lose_C - (win_C - lose_C) ** 2) / (n_C + 1)).sum())) / classes
    reach = float(stats.norm.ppf(0.5 + LEVEL / 2)) * error
    p = float(2 * stats.norm.sf(abs(difference) / error))
    return Test(difference, max(-1.0, difference - reach), min(1.0, difference + reach), p, how)


def _bonett_price(won: int, lost: int, count: int) -> tuple[float, float]:
    """Ends of the interval of (won - lost) / count."""
    win, lose = (won + 1) / (count + 2), (lost + 1) / (count + 2)
    reach = float(stats.norm.ppf(0.5 + LEVEL / 2)) * math.sqrt((win + lose - (win - lose) ** 2) / (count + 2))
    return max(-1.0, win - lose - reach), min(1.0, win - lose + reach)


def over_images(first_RQ: NDArray[np.bool_], second_RQ: NDArray[np.bool_]) -> Test:
    """Two groups of classifiers on the same images, by the share of each group that gets an image right.

    One classifier each is McNemar's test; more are a paired t test over images.
    """
    if len(first_RQ) == len(second_RQ) == 1:
        return mcnemar(first_RQ[0], second_RQ[0])
    d_Q = second_RQ.mean(0) - first_RQ.mean(0)
    runs = f"{len(first_RQ)} and {len(second_RQ)} runs"
    return _t(d_Q, f"paired t over {d_Q.size:,} images, means of {runs}")


def over_seeds(first: Sequence[float], second: Sequence[float], *, paired: bool) -> Test | None:
    """Two groups of runs by their scores: a paired t test where both have the same seeds in order, else Welch's.

    None where either has a single run: then nothing is known of how much runs differ by chance.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(x) < 2 or len(y) < 2:
        return None
    if paired and len(x) == len(y):
        return _t(y - x, f"paired t over {len(x)} seeds")
    difference = float(y.mean() - x.mean())
    shares = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if math.sqrt(sum(shares)) <= _ROUNDING:
        return _alike(difference, min(len(x), len(y)), f"{len(x)} and {len(y)} runs without any spread")
    degrees = sum(shares) ** 2 / sum(share**2 / (len(z) - 1) for share, z in zip(shares, (x, y), strict=True))
    return _from_t(difference, math.sqrt(sum(shares)), degrees, f"Welch's t over {len(x)} and {len(y)} runs")


def holm(p: Sequence[float], *, of: int | None = None) -> list[float]:
    """The same probabilities, raised for how many there are (Holm 1979), or for the `of` that they were chosen from."""
    count = len(p) if of is None else of
    order = sorted(range(len(p)), key=lambda place: p[place])
    raised, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (count - rank) * p[place]))
        raised[place] = largest
    return raised


def _t(d_N: NDArray[np.float64], how: str) -> Test:
    """Whether the mean of differences is 0."""
    difference = float(d_N.mean())
    error = float(d_N.std(ddof=1)) / math.sqrt(len(d_N)) if len(d_N) > 1 else 0.0
    if error <= _ROUNDING:
        return _alike(difference, len(d_N), f"{how}, all the same")
    return _from_t(difference, error, len(d_N) - 1, how)


def _alike(difference: float, count: int, how: str) -> Test:
    """Of `count` differences of shares without any spread, of which Student's t is certain.

    Two are the same by chance in a few of a hundred cases where a share is one of some hundred images, so they and a
    single one tell nothing: p is that of their signs, and the interval all that there can be.
    """
    if abs(difference) <= _ROUNDING:
        return Test(difference, difference, difference, 1.0, how)
    if count < _ENOUGH:
        return Test(difference, -1.0, 1.0, 2.0 ** (1 - count), f"{how}, too few to tell")
    return Test(difference, difference, difference, 0.0, how)


def _from_t(difference: float, error: float, degrees: float, how: str) -> Test:
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, degrees)) * error
    p = float(2 * stats.t.sf(abs(difference) / error, degrees))
    return Test(difference, difference - reach, difference + reach, p, how)
