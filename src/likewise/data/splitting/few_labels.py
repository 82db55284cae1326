"""Hiding of labels: those that may not be used become -1, and no image is left out.

Pure functions of the labels and a seed; `subsets` draws by them. The true labels stay beside what they return, for
scoring alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError

Labels = NDArray[np.int64]


def only(labels: Labels, kept: NDArray[np.int64]) -> Labels:
    """The labels of the positions `kept`, and -1 everywhere else."""
    left = np.full_like(labels, -1)
    left[kept] = labels[kept]
    return left


def old_and_new(labels: Labels, part: float) -> tuple[list[int], list[int]]:
    """The first classes by their number, a share below 1 of them or so many, and the others (GCD, arXiv 2201.02609).

    Labels of -1 belong to no class. Raises InputError where one of the two would be empty.
    """
    classes = np.unique(labels[labels >= 0])
    count = round(part * len(classes)) if part < 1 else int(part)
    if not 1 <= count < len(classes) or (part >= 1 and part != count):
        raise InputError(f"gcd:{part:g} of {len(classes)} classes: allowed are 1 to {len(classes) - 1}, or a share")
    return classes[:count].tolist(), classes[count:].tolist()
