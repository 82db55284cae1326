"""The parts that a data set comes in: what they are called, and which of their rows are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, unknown

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation", "dev")
TEST = ("test", "testing")
KNOWN = frozenset(TRAIN + VALIDATION + TEST)


def training_split(splits: Iterable[str]) -> str | None:
    """The split to learn from, or None where none is called so."""
    return _first(splits, TRAIN)


def held_out_split(splits: Iterable[str]) -> str | None:
    """The split to be judged on: test where there is one, else validation, else None."""
    return _first(splits, TEST + VALIDATION)


def _first(splits: Iterable[str], names: Sequence[str]) -> str | None:
    lower = {split.lower(): split for split in splits}
    return next((lower[name] for name in names if name in lower), None)


def check_split(split: str | None, splits: Sequence[str], what: str) -> None:
    """Raise InputError where `split` is asked for and does not exist."""
    if split is None or split in splits:
        return
    if not splits:
        raise InputError(f"{what} has no splits, so {split!r} cannot be taken from it: leave the split out")
    raise unknown(f"split of {what}", split, splits)


def in_order(values: Iterable[str]) -> tuple[str, ...]:
    """The different values, train first and test last, others between them as they come."""
    found = [value for value in dict.fromkeys(values) if value]
    rank = {**dict.fromkeys(TRAIN, 0), **dict.fromkeys(VALIDATION, 2), **dict.fromkeys(TEST, 3)}
    return tuple(sorted(found, key=lambda value: rank.get(value.lower(), 1)))


def rows_of(split: str | None, values: Sequence[str] | None, count: int, what: str) -> NDArray[np.int64]:
    """Positions of the rows of a split among `count`; of all rows where `split` is None. Raises InputError."""
    check_split(split, in_order(values or ()), what)
    if split is None or values is None:
        return np.arange(count)
    return np.flatnonzero(np.asarray(values) == split)
