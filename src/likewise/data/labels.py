"""Class numbers from the values of a column or an array."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, unknown

LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "fine_label", "class_name", "species", "y")
"""Names under which labels are found without being asked for, the likeliest first."""
TEXTS = ("raw", "caption", "text", "sentence")
"""What mappings in a list of captions call their text."""
NONE = "none"
"""What a person writes to have no labels at all."""
_DENSE = 1000
_SPARSE = 10
_LARGEST = np.iinfo(np.int64).max
_UNKNOWN = frozenset({"", "nan", "-nan", "na", "n/a", "#na", "#n/a", "<na>", "null", "nat"})  # in any case
_UNKNOWN_AS_WRITTEN = frozenset({"None"})  # what Python writes; `none` is a class in many data sets
_MISSING = frozenset({"NAType", "NaTType"})  # pandas's, told by name: it may not be there, and NA equals nothing
_NEGATIVE = re.compile(r"-\d+(\.0*)?")
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_LOG = logging.getLogger(__name__)


class Labels(NamedTuple):
    """Class numbers and, where they are known, the names that belong to them."""

    values: NDArray[np.int64]
    """(N,), -1 where unknown."""
    names: tuple[str, ...] | None = None
    """Name of class 0, of class 1, ..."""


class Stated(NamedTuple):
    """The labels of one file, or of one split, as they stand there."""

    values: Sequence[Any] | NDArray[Any]
    """(N,) whole numbers, words, truth values, or whatever `is_unknown` takes for no label."""
    what: str
    """The values in errors."""
    names: tuple[str, ...] | None = None
    """Names of the classes that the numbers stand for, where the part gives them."""


class FractionError(InputError):
    """Labels are fractions: measurements, not classes."""


def is_unknown(value: Any) -> bool:
    """Whether a value means that the label is not known, the same for every kind of data.

    None, not-a-number, not-a-time and pandas's NA; negative numbers; and the words for them: empty ones, `nan`, `na`,
    `n/a`, `null`, `nat`, with or without capitals, `None` and negative whole numbers.
    """
    if value is None or type(value).__name__ in _MISSING:
        return True
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        word = value.strip()
        return word.lower() in _UNKNOWN or word in _UNKNOWN_AS_WRITTEN or _NEGATIVE.fullmatch(word) is not None
    if isinstance(value, Real | Decimal):
        return bool(value != value) or value < 0  # noqa: PLR0124  # not-a-number
    return isinstance(value, np.datetime64) and bool(np.isnat(value))


def as_labels(values: Sequence[Any] | NDArray[Any], what: str, names: tuple[str, ...] | None = None) -> Labels:
    """Labels from whole numbers, words or truth values; -1 where `is_unknown`.

    Words are numbered in alphabetical order. Numbers are taken as they are; those too sparse to be class numbers
    (identifiers, years) are numbered in their order, with the numbers as names. `names` are those of the classes where
    the data gives them. Labels of several files or splits: `united`. `what` names the values in errors.

    Raises InputError where there are fractions, or numbers that `names` does not reach.
    """
    return united([Stated(values, what, names)])[0]


def united(parts: Sequence[Stated]) -> list[Labels]:
    """Labels of several files or splits, in which a class has one number: one list of names, or none, for all.

    Numbers of a part go through the names of that part. Classes are then the same where their names are: the longest
    list of names comes first, further names follow. Numbers without names are read through the names of the other
    parts where these all have the same list, and a warning says so.

    Raises InputError, which names both parts, where numbers and words cannot be brought together; and as `as_labels`.
    """
    tidy = [_tidy(part) for part in parts]
    declared = list(dict.fromkeys(part.names for part in parts if part.names))
    tidy = _without_digits(parts, tidy, declared)
    known = [array[array != ("" if array.dtype.kind == "O" else -1)] for array in tidy]
    bare = [at for at, part in enumerate(parts) if not part.names and len(known[at])]
    numbers = [at for at in bare if tidy[at].dtype.kind == "i"]
    words = [at for at in bare if tidy[at].dtype.kind == "O"]
    if not declared and not words and any(array.dtype.kind == "i" for array in tidy):
        return _numbered([_without_words(array) for array in tidy])
    if numbers and not declared:
        raise InputError(
            f"{parts[numbers[0]].what} holds numbers and {parts[words[0]].what} words: which number is which class "
            "cannot be known, so write both in the same way"
        )
    if numbers:
        _check_shared(parts, numbers, known, declared)
    classes = _classes(declared, sorted({str(word) for at in words for word in known[at]}))
    return [_among(classes, part, array, declared) for part, array in zip(parts, tidy, strict=True)]


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


def from_text(cells: Sequence[Any]) -> Sequence[Any]:
    """Cells of a table, words being numbers where all that are known are: a text file has no types."""
    known = [cell for cell in cells if not is_unknown(cell)]
    if not known or not all(_is_word(cell) and _NUMBER.fullmatch(cell.strip()) for cell in known):
        return cells
    return [None if is_unknown(cell) else float(cell) if "." in cell else int(cell) for cell in cells]


# One part ----------------------------------------------------------------------------------------------------------


def _tidy(part: Stated) -> NDArray[Any]:
    """The values of a part as (N,) int64, -1 where unknown, or as objects: words, empty where unknown."""
    array = _array(part.values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(f"{part.what} has shape {array.shape}: one label an image is needed")
    if array.dtype.kind in "Mm":
        array = array.astype(str)
    if array.dtype.kind in "OUS":
        array = _from_objects(array.tolist(), part.names or ())
    if array.dtype.kind == "f":
        array = _whole(array, part.what)
    if array.dtype.kind == "u" and int(array.max(initial=0)) > _LARGEST:
        array = np.array([str(value) for value in array.tolist()], dtype=object)
    if array.dtype.kind == "O":
        return array
    whole = array.astype(np.int64)
    if part.names and int(whole.max(initial=-1)) >= len(part.names):
        raise InputError(
            f"{part.what} holds class {int(whole.max())}, but the data names only {len(part.names)} classes"
        )
    return np.where(whole < 0, -1, whole)


def _array(values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        plain = np.asarray(values.data).astype(object)
        plain[np.ma.getmaskarray(values)] = None
        return plain
    if isinstance(values, np.ndarray):
        return values
    objects = np.empty(len(values), dtype=object)
    objects[:] = list(values)
    return objects


def _from_objects(values: list[Any], names: Sequence[str]) -> NDArray[Any]:
    """An array of numbers where every known value is one, else of words."""
    own = frozenset(names)  # a declared class may be called `NA`
    words_known = {value: value in own or not is_unknown(value) for value in set(filter(_is_word, values))}
    known = [value if (words_known[value] if _is_word(value) else not is_unknown(value)) else None for value in values]
    if all(isinstance(value, Real | Decimal | np.bool_) for value in known if value is not None):
        numbers = [-1 if value is None else value for value in known]
        if any(value is not None for value in known) and max(numbers) <= _LARGEST:
            whole = all(isinstance(value, int | np.integer | np.bool_) for value in numbers)
            return np.asarray(numbers, dtype=np.int64 if whole else np.float64)
    words = np.empty(len(values), dtype=object)
    words[:] = ["" if value is None else _word(value, own) for value in known]
    return words


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _word(value: Any, names: frozenset[str]) -> str:
    if isinstance(value, list | tuple):
        value = lines(value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if text in names else text.strip()


def lines(values: Sequence[Any]) -> str:
    """One text of several, such as captions, a line each; of mappings what they call `TEXTS`. Raises InputError."""
    return "\n".join(" ".join(str(_text(one)).split()) for one in values if one is not None)


def _text(value: Any) -> Any:
    """The text of an entry such as {"raw": "a red car", "sentid": 3}, or the entry itself where it is none."""
    if not isinstance(value, Mapping):
        return value
    found = next((value[key] for key in TEXTS if isinstance(value.get(key), str)), None)
    if found is None:
        held = ", ".join(map(str, value)) or "nothing"
        raise InputError(f"an entry of a list of captions holds {held}: its text must be called {' or '.join(TEXTS)}")
    return found


def _whole(array: NDArray[Any], what: str) -> NDArray[np.int64]:
    filled = np.where(np.isnan(array), -1.0, array)
    if not np.isfinite(filled).all() or (filled != np.floor(filled)).any():
        raise FractionError(f"{what} holds fractions: labels are whole numbers or words")
    return filled.astype(np.int64)


# All parts ---------------------------------------------------------------------------------------------------------


def _without_digits(
    parts: Sequence[Stated], tidy: list[NDArray[Any]], declared: Sequence[tuple[str, ...]]
) -> list[NDArray[Any]]:
    """Numbers written as words ("0", "1") become numbers where another part has numbers or names for numbers."""
    names = {name for each in declared for name in each}
    others = bool(declared) or any(array.dtype.kind == "i" and (array >= 0).any() for array in tidy)

    def numbers(part: Stated, array: NDArray[Any]) -> NDArray[Any]:
        words = set() if part.names or array.dtype.kind != "O" else {str(word) for word in array if word}
        if not words or words & names or not all(map(_WHOLE.fullmatch, words)):
            return array
        return np.array([int(word.partition(".")[0]) if word else -1 for word in array], dtype=np.int64)

    return [numbers(part, array) for part, array in zip(parts, tidy, strict=True)] if others else tidy


def _without_words(array: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of a part; of one without any known label as many -1."""
    return array if array.dtype.kind == "i" else np.full(len(array), -1, dtype=np.int64)


def _numbered(arrays: Sequence[NDArray[np.int64]]) -> list[Labels]:
    """Labels of parts that have numbers alone."""
    every = np.concatenate(arrays)
    classes = np.unique(every[every >= 0])
    if not len(classes) or int(classes[-1]) < max(_DENSE, _SPARSE * len(classes)):
        return [Labels(array) for array in arrays]
    names = tuple(str(value) for value in classes)
    return [Labels(np.where(array < 0, -1, np.searchsorted(classes, array)), names) for array in arrays]


def _check_shared(
    parts: Sequence[Stated], numbers: Sequence[int], known: Sequence[NDArray[Any]], declared: Sequence[tuple[str, ...]]
) -> None:
    """Refuse numbers without names beside names that they cannot be read through; warn where they can."""
    namers = [part for part in parts if part.names]
    for at in numbers:
        largest = int(known[at].max())
        if len(declared) > 1 or largest >= len(declared[0]):
            raise InputError(
                f"{parts[at].what} holds class numbers (up to {largest}) without names, and the "
                f"{len(namers[0].names or ())} names of {namers[0].what} "
                f"{'are not those of all other files' if len(declared) > 1 else 'are too few'}: write names into all"
            )
        _LOG.warning("%s has no class names: its numbers are read by those of %s", parts[at].what, namers[0].what)


def _classes(declared: Sequence[tuple[str, ...]], words: Sequence[str]) -> tuple[str, ...]:
    """One list of the names of all parts."""
    if len(declared) == 1 and not set(words) - set(declared[0]):
        return declared[0]  # as it is, also where a name is in it twice
    longest_first = sorted(declared, key=len, reverse=True)
    return tuple(dict.fromkeys([*(name for names in longest_first for name in names), *words]))


def _among(classes: tuple[str, ...], part: Stated, array: NDArray[Any], declared: Sequence[tuple[str, ...]]) -> Labels:
    """The labels of one part as positions in `classes`."""
    own = part.names or (declared[0] if declared else ())
    number = {name: position for position, name in enumerate(classes)}
    if array.dtype.kind == "O":
        allowed = frozenset(part.names or classes)
        strange = next((word for word in array if word and word not in allowed), None)
        if strange is not None:
            raise unknown(f"class in {part.what}", strange, allowed)
        return Labels(np.array([number[word] if word else -1 for word in array], dtype=np.int64), classes)
    if own == classes:
        return Labels(array, classes)
    if len(set(own)) < len(own):
        twice = next(name for name in own if own.count(name) > 1)
        raise InputError(f"{part.what} has two classes called {twice!r}, and other files have other classes")
    lookup = np.array([*(number[name] for name in own), -1], dtype=np.int64)  # the last for -1
    return Labels(lookup[array], classes)
