"""Splits of a data set: their names, and the rows that are selected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, unknown

TRAIN = ("train", "training")
VALIDATION = ("val", "valid", "validation", "dev", "development", "eval", "evaluation")
TEST = ("test", "testing")
KNOWN = frozenset(TRAIN + VALIDATION + TEST)
_YEAR = re.compile(r"[-_]?\d+$")  # train2017


def training_split(splits: Iterable[str]) -> str | None:
    """The split to learn from, or None where none is called so."""
    return next(iter(_called(splits, TRAIN)), None)


def held_out_splits(splits: Iterable[str]) -> tuple[str, ...]:
    """The splits that one may be judged on, the first one first: test, then validation."""
    return _called(splits, TEST + VALIDATION)


def held_out_split(splits: Iterable[str]) -> str | None:
    """The split to be judged on: test where there is one, else validation, else None."""
    return next(iter(held_out_splits(splits)), None)


def _called(splits: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """Those of `splits` that are called as one of `names`, in the order of these."""
    rank = {name: place for place, name in enumerate(names)}
    found = [split for split in splits if _plain(split) in rank]
    return tuple(sorted(found, key=lambda split: rank[_plain(split)]))


def _plain(word: str) -> str:
    """A name of a split without capitals and without the year or number behind it."""
    lower = word.strip().lower()
    return lower if lower in KNOWN else _YEAR.sub("", lower)


def are_splits(words: Iterable[str]) -> bool:
    """Whether names of folders or files are splits: one is `train`, another a known name; all of them are then."""
    found = {_plain(word) for word in words}
    return not found.isdisjoint(TRAIN) and len(found & KNOWN) > 1


def pick_split(split: str | None, splits: Sequence[str], what: str) -> str | None:
    """The one of `splits` that `split` means, capitals aside; None where it is None. Raises InputError."""
    if split is None or split in splits:
        return split
    if not splits:
        raise InputError(f"{what} has no splits, so {split!r} cannot be taken from it: leave the split out")
    same = next((name for name in splits if name.lower() == split.strip().lower()), None)
    if same is None:
        raise unknown(f"split of {what}", split, splits)
    return same


def check_split(split: str | None, splits: Sequence[str], what: str) -> None:
    """Raise InputError where `split` is asked for and does not exist."""
    pick_split(split, splits, what)


def in_order(values: Iterable[str]) -> tuple[str, ...]:
    """The different values, train first and test last, others between them as they come.

    Capitals make no other split: a name that is written in several ways comes in lower case.
    """
    written: dict[str, dict[str, None]] = {}
    for value in dict.fromkeys(values):
        if word := value.strip():
            written.setdefault(word.lower(), {})[word] = None
    found = [next(iter(ways)) if len(ways) == 1 else lower for lower, ways in written.items()]
    rank = {**dict.fromkeys(TRAIN, 0), **dict.fromkeys(VALIDATION, 2), **dict.fromkeys(TEST, 3)}
    return tuple(sorted(found, key=lambda value: rank.get(_plain(value), 1)))


def counts_of(values: Iterable[str] | None) -> dict[str, int]:
    """Images of each split, in order; of no split, if any, last under the empty name."""
    counts = Counter(values or ())
    splits = in_order(counts)
    by_lower: Counter[str] = Counter()
    for value, count in counts.items():
        by_lower[value.strip().lower()] += count
    result = {split: by_lower[split.lower()] for split in splits}
    return result | ({"": by_lower[""]} if splits and by_lower[""] else {})


def rows_of(split: str | None, values: Sequence[str] | None, count: int, what: str) -> NDArray[np.int64]:
    """Positions of the rows of a split among `count`; of all rows where `split` is None. Raises InputError."""
    wanted = pick_split(split, in_order(values or ()), what)
    if wanted is None or values is None:
        return np.arange(count)
    same = {value for value in set(values) if value.strip().lower() == wanted.lower()}
    return np.flatnonzero([value in same for value in values])


def in_words(splits: Sequence[str], counts: Mapping[str, int], used: str | None) -> str:
    """The splits with their counts, where these are known, and which is used; for a person, empty without any."""
    if not splits:
        return ""
    parts = [
        name + (f" {counts[name]:,}" if name in counts else "") + (" (used)" if name == used else "") for name in splits
    ]
    outside = [f"in none of them {counts['']:,}"] if "" in counts else []
    why = "" if training_split(splits) else ", since none is called train"
    return ", ".join([*parts, *outside]) + ("" if used else f"; all are used{why}")
