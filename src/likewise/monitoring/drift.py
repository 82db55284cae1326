"""Drift by features: whether new images come from the distribution of the old ones, and which do not.

The two-sample test is the energy distance (Szekely and Rizzo, J. Stat. Plan. Inference 2013) with permutations: its
false alarms are at most the level that is asked for, at any size of the samples and whatever the features are. Single
images are judged by conformal p values of their distance to the old ones (Laxhammar and Falkman 2010): of images like
the old ones a known share is told as new. Shapes: N old and M new rows, F features.
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
from likewise.similarity.nearest import check_features, neighbours

MOST = 1000
"""Rows of each side that the two-sample test looks at, drawn by the seed."""
PERMUTATIONS, MOST_PERMUTATIONS = 999, 99_999
"""Of a test, and where a low level or many tests need more: p is at least 1 / (permutations + 1)."""
_AT_ONCE = 1000
NEIGHBOURS = 5
"""The distance of an image is that to so many of its nearest old ones, on the mean."""
RATE = 0.01
"""Share of images like the old ones that are told as new."""
LEAST = 10
"""Rows that a side needs to be tested."""


class TwoSample(NamedTuple):
    """A test of two groups of features."""

    distance: float
    """Energy distance, 0 where both are the same distribution; with unit features at most 4."""
    p: float
    """Share of permutations, the given order included, with a distance as large: at most the level in as many draws."""
    old: int
    """Rows that were looked at."""
    new: int


class Novelty(NamedTuple):
    """The novelty of each new image."""

    p_M: NDArray[np.float64]
    """Conformal p value: the share of old images that lie as far from other old ones."""
    is_new_M: NDArray[np.bool_]
    """Whether it is told as new."""
    nearest_M: NDArray[np.int64]
    """Row of the nearest old image of those that were searched."""
    distance_M: NDArray[np.float64]
    """1 - cosine, the mean over the nearest old ones."""
    rate: float
    """Share of images like the old ones that are told as new all the same."""

    @property
    def expected(self) -> float:
        """Expected number of false alarms if all were from the old distribution."""
        return self.rate * len(self.p_M)


def two_sample(
    old_NF: Tensor, new_MF: Tensor, *, seed: int = 0, permutations: int = PERMUTATIONS, most: int = MOST
) -> TwoSample:
    """Test whether both are of one distribution, on unit features, over at most `most` rows of each.

    Raises InputError for features that are not finite or of different lengths, and for fewer than `LEAST` rows.
    """
    _check(old_NF, new_MF)
    draw = np.random.default_rng(seed)
    old, new = (_some(rows, most, draw) for rows in (old_NF, new_MF))
    n, m = len(old), len(new)
    joined = torch.cat([unit(old.double()), unit(new.double())])
    apart = torch.cdist(joined, joined).numpy()
    # One column for each order: 1/n where a row is old and -1/m where it is new. The energy distance is then -w'Dw.
    given = np.concatenate([np.full(n, 1.0 / n), np.full(m, -1.0 / m)])
    found = np.empty(permutations + 1)
    for start in range(0, permutations + 1, _AT_ONCE):
        columns = range(start, min(start + _AT_ONCE, permutations + 1))
        weights = np.stack([draw.permutation(given) if column else given for column in columns], axis=1)
        found[columns.start : columns.stop] = -(weights * (apart @ weights)).sum(0)
    slack = 1e-12 * max(1.0, abs(float(found[0])))  # equal up to rounding counts as equal, which only raises p
    return TwoSample(float(found[0]), float((found >= found[0] - slack).mean()), n, m)


def permutations_for(level: float, tests: int = 1) -> int:
    """Permutations with which the p of one of so many tests can come below `level` once it is raised for all of them.

    Raises InputError for a level that takes more than `MOST_PERMUTATIONS`; more tests than these allow get as many.
    """
    if math.ceil(1.0 / level) - 1 > MOST_PERMUTATIONS:
        raise InputError(f"level={level:g} is too low for a test by permutations: allowed is 1e-05 or more")
    return min(MOST_PERMUTATIONS, max(PERMUTATIONS, math.ceil(tests / level) - 1))


def novelty(old_NF: Tensor, new_MF: Tensor, *, rate: float = RATE, seed: int = 0) -> Novelty:
    """New images that lie farther from the old ones than all but a share of `rate` of old ones do.

    One half of the old rows is searched, the other says how far an old image lies from it. Of C of these the smallest
    rate is 1/(C + 1), and taken where `rate` is smaller. Raises InputError as `two_sample` does.
    """
    _check(old_NF, new_MF)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(old_NF)))
    bank, held = order[: len(order) // 2], order[len(order) // 2 :]
    k = min(NEIGHBOURS, len(bank))
    usual = 1.0 - neighbours(old_NF[held], old_NF[bank], k).similarity.double().mean(1).numpy()
    found = neighbours(new_MF, old_NF[bank], k)
    distance = 1.0 - found.similarity.double().mean(1).numpy()
    farther = len(usual) - np.searchsorted(np.sort(usual), distance - 1e-12, side="left")
    p = np.asarray((1.0 + farther) / (len(usual) + 1.0), dtype=np.float64)
    rate = max(rate, 1.0 / (len(usual) + 1.0))
    return Novelty(p, p <= rate, bank.numpy()[found.rows[:, 0].numpy()], distance, rate)


def _some(rows_NF: Tensor, most: int, draw: np.random.Generator) -> Tensor:
    if len(rows_NF) <= most:
        return rows_NF
    return rows_NF[torch.from_numpy(np.sort(draw.choice(len(rows_NF), most, replace=False)))]


def _check(old_NF: Tensor, new_MF: Tensor) -> None:
    check_features("old", old_NF)
    check_features("new", new_MF)
    if old_NF.shape[1] != new_MF.shape[1]:
        raise InputError(
            f"old features are {old_NF.shape[1]} long and new ones {new_MF.shape[1]}: both must be of one encoder"
        )
    if min(len(old_NF), len(new_MF)) < LEAST:
        raise InputError(f"{len(old_NF):,} old and {len(new_MF):,} new images: a test needs at least {LEAST} of each")
