"""Accuracies with intervals, by class and by groups of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.evaluation.scores import ClassScore, GroupScore

NORMAL_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
MANY, FEW = 100, 20
"""A class with more than MANY images is frequent, one with fewer than FEW rare (Liu et al., CVPR 2019)."""
SKEWED = 2.0
"""From this ratio of the largest class to the smallest on, figures by class are given without being asked for."""

Counts = NDArray[np.int64]


class Interval(NamedTuple):
    """The range that holds the true value in 95 of 100 such measurements."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""
    how: str
    """How it was got."""


def wilson(right: int, n: int) -> Interval:
    """Interval of a share of which `right` of `n` were seen (Wilson 1927); also right where all or none are."""
    if not n:
        return Interval(0.0, 1.0, "95 %, no images")
    share, z2 = right / n, NORMAL_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the formula gives exactly 0 and 1, which rounding would miss.
    low = 0.0 if right == 0 else max(0.0, middle - half)
    high = 1.0 if right == n else min(1.0, middle + half)
    return Interval(low, high, "95 %, Wilson")


def of_mean(values: NDArray[np.float64]) -> Interval:
    """Interval of the mean of independent values, such as accuracies of episodes: 1.96 standard errors to each side."""
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, mean, "none: one value only")
    half = NORMAL_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(mean - half, mean + half, f"95 %, {len(values):,} values, 1.96 standard errors")


def of_class_mean(right_C: Counts, asked_C: Counts) -> Interval:
    """Interval of the mean over classes of the share that is right, each class being a sample of its own."""
    present = asked_C > 0
    share = right_C[present] / asked_C[present]
    # Agresti-Coull's two of each keep classes that are all right or all wrong from counting as certain.
    padded = (right_C[present] + 2) / (asked_C[present] + 4)
    deviation = math.sqrt(float((padded * (1 - padded) / asked_C[present]).sum())) / max(1, int(present.sum()))
    mean = float(share.mean()) if len(share) else 0.0
    return Interval(
        max(0.0, mean - NORMAL_95 * deviation), min(1.0, mean + NORMAL_95 * deviation), "95 %, by class, normal"
    )


def by_class(
    predicted: Counts, truth: Counts, frequency: Counts, names: Sequence[str] | None
) -> tuple[tuple[ClassScore, ...], tuple[Counts, Counts]]:
    """Figures of every class with queries, the most frequent first; and numbers of correct and all queries by class."""
    classes = max(int(truth.max(initial=-1)), int(predicted.max(initial=-1))) + 1
    asked_C = np.bincount(truth, minlength=classes)
    right_C = np.bincount(truth[predicted == truth], minlength=classes)
    seen_C = np.zeros(classes, np.int64)
    seen_C[: len(frequency)] = frequency[:classes]
    order = [int(number) for number in np.argsort(-seen_C, kind="stable") if asked_C[number]]
    found = tuple(
        ClassScore(
            names[number] if names is not None and number < len(names) else str(number),
            float(right_C[number] / asked_C[number]),
            int(asked_C[number]),
            int(seen_C[number]),
        )
        for number in order
    )
    return found, (right_C, asked_C)


def by_group(right_C: Counts, asked_C: Counts, groups: Mapping[str, Sequence[int]]) -> dict[str, GroupScore]:
    """Accuracy of each group: the mean over its classes; groups without queries are left out."""
    found = {}
    for name, members in groups.items():
        asked = [number for number in members if number < len(asked_C) and asked_C[number]]
        if asked:
            shares = right_C[asked] / asked_C[asked]
            found[name] = GroupScore(float(shares.mean()), len(asked), int(asked_C[asked].sum()))
    return found


def usual_groups(frequency: Counts) -> dict[str, list[int]]:
    """Many-, medium- and few-shot classes by their number of images; classes without any are in none."""
    many = [int(number) for number in np.flatnonzero(frequency > MANY)]
    medium = [int(number) for number in np.flatnonzero((frequency >= FEW) & (frequency <= MANY))]
    few = [int(number) for number in np.flatnonzero((frequency > 0) & (frequency < FEW))]
    return {"many": many, "medium": medium, "few": few}


def is_skewed(frequency: Counts) -> bool:
    """Whether the largest class has so many more images than the smallest that one number would mislead."""
    present = frequency[frequency > 0]
    return len(present) > 1 and float(present.max() / present.min()) >= SKEWED
