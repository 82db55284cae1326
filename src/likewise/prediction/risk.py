"""The confidence threshold that bounds the error rate of the predictions above it.

The promise is that of selective classification (Geifman and El-Yaniv, NeurIPS 2017): with probability `trust` over the
draw of the held-out images, at most the share `risk` of the predictions given is wrong in the long run. It holds for
images drawn as the held-out ones are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from likewise.errors import InputError

STEPS = 10
"""Thresholds that are tried: those that keep 10 %, 20 %, ... of the images to be predicted."""


@dataclass(frozen=True)
class Threshold:
    """The confidence above which predictions are given."""

    value: float
    """The confidence; infinite where no threshold keeps the risk, so that nothing is given."""
    bound: float | None
    """Upper bound of the share of wrong predictions; None where nothing is given."""
    held_out: int
    """Held-out images at or above it."""
    wrong: int
    """Those of them that are wrong."""


def upper_bound(wrong: int, count: int, doubt: float) -> float:
    """Share of wrong ones that is exceeded with probability `doubt` at most (Clopper and Pearson, 1934)."""
    return 1.0 if wrong >= count else float(beta.ppf(1.0 - doubt, wrong + 1, count - wrong))


def fewest(risk: float, trust: float, tries: int = STEPS) -> int:
    """Held-out images, all of them right, that the promise needs at least."""
    return math.ceil(math.log((1.0 - trust) / tries) / math.log(1.0 - risk))


def candidates(confidence_Q: NDArray[np.float64]) -> list[float]:
    """The thresholds that are tried, the loosest first: by the images to be predicted, never by held-out answers."""
    quantiles = np.quantile(confidence_Q, np.arange(STEPS) / STEPS, method="lower")
    return [float(value) for value in np.unique(quantiles)]


def choose(
    confidence_H: NDArray[np.float64],
    right_H: NDArray[np.bool_],
    tried: Sequence[float],
    *,
    risk: float,
    trust: float = 0.9,
) -> Threshold:
    """The loosest of the thresholds `tried` at which the promise holds, by held-out images (H).

    Each is judged by the exact binomial bound with a doubt of (1 - trust) / thresholds, so it holds for all at once
    (Bonferroni). Raises InputError for a risk or trust that is no share, and where there are too few held-out images
    for any promise.
    """
    for name, value in (("risk", risk), ("trust", trust)):
        if not 0.0 < value < 1.0:
            raise InputError(f"{name}={value:g}: allowed is above 0 and below 1")
    doubt = (1.0 - trust) / len(tried)
    needed = fewest(risk, trust, len(tried))
    if len(right_H) < needed:
        least = upper_bound(0, len(right_H), doubt) if len(right_H) else 1.0
        raise InputError(
            f"risk={risk:g} cannot be promised by {len(right_H)} held-out labels: at least {needed} are needed, or a "
            f"risk of {math.ceil(least * 100) / 100:g} or more"
        )
    for value in sorted(tried):
        kept = confidence_H >= value
        count, wrong = int(kept.sum()), int((kept & ~right_H).sum())
        bound = upper_bound(wrong, count, doubt)
        if bound <= risk:
            return Threshold(value, bound, count, wrong)
    return Threshold(math.inf, None, 0, 0)
