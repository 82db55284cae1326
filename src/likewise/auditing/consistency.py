"""Error consistency of two observers, and shape bias (arXiv 2006.16736, 1811.12231, 2106.07411).

Shapes: N trials; answers are category numbers, `NONE` where there was no answer, which counts as wrong.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError

Answers = NDArray[np.int64]
NONE = -1
"""No answer."""


def accuracy(answers_N: Answers, truth_N: Answers) -> float:
    """Share of right answers."""
    return float((answers_N == truth_N).mean())


def accuracy_difference(first: float, second: float) -> float:
    """SQUARED difference of two accuracies."""
    return (first - second) ** 2


class Consistency(NamedTuple):
    """Error consistency of two observers: how often both are right or both wrong."""

    observed: float
    expected: float
    """By two independent observers of these accuracies."""
    error: float
    """Cohen's kappa of the two: 0 is chance, 1 the same errors."""


def consistency(first_right_N: NDArray[np.bool_], second_right_N: NDArray[np.bool_]) -> Consistency:
    """Of the same images under the same condition. Raises InputError where their numbers differ or are 0."""
    if len(first_right_N) != len(second_right_N) or not len(first_right_N):
        raise InputError(
            f"{len(first_right_N)} trials of one observer and {len(second_right_N)} of the other: "
            "consistency compares the same images, at least one"
        )
    observed = float((first_right_N == second_right_N).mean())
    first, second = float(first_right_N.mean()), float(second_right_N.mean())
    expected = first * second + (1 - first) * (1 - second)
    return Consistency(observed, expected, 1.0 if observed == 1.0 else (observed - expected) / (1 - expected))


class ShapeBias(NamedTuple):
    """Decisions by shape and by texture where the two disagree."""

    bias: float
    """Shape answers among shape and texture answers; NaN where there are none of either."""
    shape: float
    """Share of shape answers in ALL trials."""
    texture: float
    """Share of texture answers in ALL trials."""


def shape_bias(answers_N: Answers, shape_N: Answers, texture_N: Answers) -> ShapeBias:
    """Of cue-conflict images; those whose shape and texture are one category do not count as either."""
    conflict_N = shape_N != texture_N
    shape = int((conflict_N & (answers_N == shape_N)).sum())
    texture = int((conflict_N & (answers_N == texture_N)).sum())
    decided = shape + texture
    return ShapeBias(shape / decided if decided else math.nan, shape / len(answers_N), texture / len(answers_N))


def answer_entropy(answers_N: Answers, categories: int) -> float:
    """Entropy in bits of how often each category is answered; missing answers are left out of the sum."""
    share = np.bincount(answers_N[answers_N >= 0], minlength=categories) / len(answers_N)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def confusion(answers_N: Answers, truth_N: Answers, categories: int) -> NDArray[np.float64]:
    """(categories + 1, categories) per cent of each true category's trials, by answer; the last row is no answer."""
    table = np.zeros((categories + 1, categories))
    np.add.at(table, (np.where(answers_N >= 0, answers_N, categories), truth_N), 1.0)
    found: NDArray[np.float64] = 100.0 * table / np.maximum(table.sum(0), 1.0)
    return found
