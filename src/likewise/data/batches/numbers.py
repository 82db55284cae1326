"""Reproducible random numbers: a pure function of integers, the same on every machine and NumPy version.

NumPy promises that the bits of a generator stay the same from version to version, but not what its shuffle makes of
them. So permutations are found by sorting raw bits, and uniform numbers by cutting them to 53.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def raw_bits(count: int, *key: int) -> NDArray[np.uint64]:
    """(count,) numbers of 64 random bits, for a key of whole numbers from 0."""
    bits: NDArray[np.uint64] = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return bits


def permutation(count: int, *key: int) -> NDArray[np.int64]:
    """(count,) the positions 0 to count - 1 in random order."""
    return np.argsort(raw_bits(count, *key), kind="stable")


def uniform(count: int, *key: int) -> NDArray[np.float64]:
    """(count,) numbers in [0, 1)."""
    return (raw_bits(count, *key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
