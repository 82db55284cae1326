"""From what a column or an array says to class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, unknown

LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "fine_label", "class_name", "species", "y")
"""Names under which labels are found without being asked for, the likeliest first."""
NONE = "none"
"""What a person writes to have no labels at all."""
_DENSE = 1000
_SPARSE = 10


class Labels(NamedTuple):
    """Class numbers and, where they are known, the names that belong to them."""

    values: NDArray[np.int64]
    """(N,), -1 where unknown."""
    names: tuple[str, ...] | None = None
    """Name of class 0, of class 1, ..."""


def as_labels(values: Sequence[Any] | NDArray[Any], what: str, names: tuple[str, ...] | None = None) -> Labels:
    """Labels from whole numbers, words, truth values or None.

    Words are numbered in alphabetical order. Numbers are taken as they are; those too sparse to be class numbers
    (identifiers, years) are numbered in their order, with the numbers as names. None, not-a-number, empty words and
    negative numbers mean unknown. `names` are those of the classes where the data gives them. Give the labels of all
    splits at once, or the same word may get two numbers. `what` names the values in errors.

    Raises InputError where there are fractions, or numbers that `names` does not reach.
    """
    array = values if isinstance(values, np.ndarray) else _array(list(values))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(f"{what} has shape {array.shape}: one label a picture is needed")
    if array.dtype.kind == "f":
        array = _whole(array, what)
    if array.dtype.kind in "biu":
        return _numbered(array.astype(np.int64) if array.dtype.kind == "b" else array, what, names)
    return _named(["" if value is None else str(value) for value in array.tolist()], what, names)


def _array(values: list[Any]) -> NDArray[Any]:
    """A list as an array of numbers where every value is one or None, else as an array of objects."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int | float | np.number) for value in known):
        return np.asarray([-1 if value is None else value for value in values])
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def _whole(array: NDArray[Any], what: str) -> NDArray[np.int64]:
    filled = np.where(np.isnan(array), -1.0, array)
    if not (filled == np.floor(filled)).all():
        raise InputError(f"{what} holds fractions: labels are whole numbers or words")
    return filled.astype(np.int64)


def _numbered(array: NDArray[Any], what: str, names: tuple[str, ...] | None) -> Labels:
    known = array >= 0
    largest = int(array[known].max()) if known.any() else -1
    if names is not None:
        if largest >= len(names):
            raise InputError(f"{what} holds class {largest}, but the data names only {len(names)} classes")
        return Labels(np.where(known, array, -1).astype(np.int64), names)
    classes = np.unique(array[known])
    if largest < max(_DENSE, _SPARSE * len(classes)):
        return Labels(np.where(known, array, -1).astype(np.int64))
    values = np.full(len(array), -1, dtype=np.int64)
    values[known] = np.searchsorted(classes, array[known])
    return Labels(values, tuple(str(value) for value in classes))


def _named(words: list[str], what: str, names: tuple[str, ...] | None) -> Labels:
    classes = names or tuple(sorted({word for word in words if word}))
    number = {word: position for position, word in enumerate(classes)} | {"": -1}
    strange = next((word for word in words if word not in number), None)
    if strange is not None:
        raise unknown(f"class in {what}", strange, classes)
    return Labels(np.fromiter((number[word] for word in words), np.int64, len(words)), classes)


def find_column(columns: Sequence[str], wanted: str | None, what: str) -> str | None:
    """The column with the labels: the one asked for, else the likeliest, else None. Raises InputError."""
    if wanted == NONE:
        return None
    if wanted is not None:
        if wanted not in columns:
            raise unknown(f"label column of {what}", wanted, columns)
        return wanted
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in LABEL_COLUMNS if name in lower), None)
