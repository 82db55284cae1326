"""Decisions among 16 categories from the probabilities of many classes (arXiv 1808.08750)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, nearest


def _spread(text: str) -> tuple[int, ...]:
    """`1,3-5` -> (1, 3, 4, 5)."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


SIXTEEN: Mapping[str, tuple[int, ...]] = {
    "airplane": _spread("404"),
    "bear": _spread("294-297"),
    "bicycle": _spread("444,671"),
    "bird": _spread("8,10-16,18-20,22-24,80-83,87-96,98-100,127-133,135-145"),
    "boat": _spread("472,554,625,814,914"),
    "bottle": _spread("440,720,737,898,899,901,907"),
    "car": _spread("436,511,817"),
    "cat": _spread("281-286"),
    "chair": _spread("423,559,765,857"),
    "clock": _spread("409,530,892"),
    "dog": _spread("152-191,193-203,205-226,228-241,243-250,252-257,259,261-263,265-268"),
    "elephant": _spread("385,386"),
    "keyboard": _spread("508,878"),
    "knife": _spread("499"),
    "oven": _spread("766"),
    "truck": _spread("555,569,656,675,717,734,864,867"),
}
"""Category -> ImageNet-1k classes, 207 in all, in the order of ILSVRC 2012 from 0."""


def category_scores(
    probability_NC: NDArray[np.floating], mapping: Mapping[str, Sequence[int]] = SIXTEEN
) -> NDArray[np.float64]:
    """(N, categories) MEAN probability of each category's classes. Raises InputError for a class that is not there."""
    classes = probability_NC.shape[1]
    for name, members in mapping.items():
        if not members or not 0 <= min(members) <= max(members) < classes:
            raise InputError(f"category {name!r} maps to {list(members)}: allowed are classes 0 to {classes - 1}")
    return np.stack([probability_NC[:, list(members)].mean(1, dtype=np.float64) for members in mapping.values()], 1)


def ranked(scores_NK: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N, K) categories from the likeliest on; of equally likely ones the LATER in the order of the mapping first."""
    found: NDArray[np.int64] = np.argsort(scores_NK, axis=1)[:, ::-1]
    return found


def read_mapping(path: str | Path, class_names: Sequence[str] | None, classes: int) -> dict[str, tuple[int, ...]]:
    """A mapping of one's own: a JSON file with an object, category -> list of classes, by name or by number from 0.

    Categories come in alphabetical order. Raises InputError where the file is none, for a class that the data does not
    have, and for one that is in two categories.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no mapping: {' '.join(str(error).split())}") from error
    if not isinstance(stored, dict) or not all(isinstance(value, list) and value for value in stored.values()):
        raise InputError(f"{path} is no mapping: a JSON object of category -> list of classes is")
    if len(stored) < 2:
        raise InputError(f"{path} maps to {len(stored)} category: a decision needs two or more")
    number = {name: place for place, name in enumerate(class_names or ())}
    found = {}
    for category in sorted(stored):
        members = []
        for one in stored[category]:
            place = number.get(one, -1) if isinstance(one, str) else one
            if not isinstance(place, int) or not 0 <= place < classes:
                near = nearest(str(one), list(number)) if isinstance(one, str) else None
                hint = (
                    f"; did you mean {near!r}?" if near else f"; allowed are classes 0 to {classes - 1} and their names"
                )
                raise InputError(f"{path}: category {category!r} has the class {one!r}, which the data has not{hint}")
            members.append(place)
        found[category] = tuple(members)
    every = [one for members in found.values() for one in members]
    twice = [one for one in dict.fromkeys(every) if every.count(one) > 1]
    if twice:
        raise InputError(f"{path}: class {twice[0]} is in two categories or twice in one")
    return found


def category_of(classes_N: NDArray[np.int64], mapping: Mapping[str, Sequence[int]]) -> NDArray[np.int64]:
    """(N,) number of each class's category, -1 where it is in none."""
    found = np.full(classes_N.shape, -1, dtype=np.int64)
    for number, members in enumerate(mapping.values()):
        found[np.isin(classes_N, list(members))] = number
    return found
