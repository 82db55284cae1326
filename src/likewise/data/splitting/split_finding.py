"""Detection of an image's split: from a column of a table, or the names of files and folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from likewise.data.labels import is_unknown
from likewise.data.splitting.splits import KNOWN, TRAIN, are_splits

SPLIT_COLUMN = "split"
"""What a column of splits is called, whatever its values are."""
_LIKELY = ("splits", "set", "subset", "partition", "phase", "usage")  # only where `train` is among the values
_FLAGS = {"is_train": ("test", "train"), "is_training": ("test", "train"), "is_test": ("train", "test")}
_FALSE, _TRUE = ("0", "0.0", "false", "f", "no", "n"), ("1", "1.0", "true", "t", "yes", "y")
_TRUTH = dict.fromkeys(_FALSE, 0) | dict.fromkeys(_TRUE, 1)
_MOST = 20
_NUMBERED = re.compile(r"^(.+?)[-_.]\d+-of-\d+")
_NUMBER = re.compile(
    r"(?:(?:^|[-_.])(?:part|shard|chunk))?[-_.]?\d+(?:[-_.]of[-_.]\d+)?(?:[-_.][0-9a-f]{8,})?$", re.IGNORECASE
)
_SEPARATOR = re.compile(r"([-_.])")
_DEFAULT = "__HIVE_DEFAULT_PARTITION__"


class Marked(NamedTuple):
    """The split of each row."""

    words: list[str]
    """(N,) empty where a row is in no split."""
    column: str | None = None
    """The column that says it."""


def column_splits(columns: Sequence[str], values_of: Callable[[str], Sequence[Any]]) -> Marked | None:
    """The splits that a column of a table says, or None where no column does. `values_of` gives a column's values."""
    lower = {column.strip().lower(): column for column in reversed(columns)}
    for name in (SPLIT_COLUMN, *_LIKELY, *_FLAGS):
        if name not in lower:
            continue
        words = ["" if is_unknown(value) else _word(value) for value in values_of(lower[name])]
        different = {word.lower() for word in words if word}
        if name in _FLAGS:
            if different <= set(_TRUTH):
                words = [_FLAGS[name][_TRUTH[word.lower()]] if word else "" for word in words]
                return Marked(words, lower[name])
        elif name == SPLIT_COLUMN or (1 < len(different) <= _MOST and not different.isdisjoint(TRAIN)):
            return Marked(words, lower[name])
    return None


def speaks_of_splits(columns: Iterable[str]) -> bool:
    """Whether one of some columns may say the split of each row."""
    return any(column.strip().lower() in {SPLIT_COLUMN, *_LIKELY, *_FLAGS} for column in columns)


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def partitions(name: str) -> dict[str, str]:
    """What the folders of a file say in the manner of Hive: `split=train/site=3/0.parquet`. Empty where unknown."""
    pairs = (part.split("=", 1) for part in name.split("/")[:-1] if "=" in part)
    return {key.strip(): "" if value == _DEFAULT else unquote(value) for key, value in pairs if key.strip()}


def folder_split(name: str) -> str:
    """The split that a folder is called after: `train`, or `split=train`."""
    key, _, value = name.partition("=")
    return unquote(value) if value and key.strip().lower() == SPLIT_COLUMN else name


def file_splits(names: Sequence[str]) -> list[str] | None:
    """The split of each of some files by their names relative to one folder, or None where they speak of none.

    Splits are what the files are called (`train-00000-of-00002.parquet`), or else their folders, the outermost first,
    where all are known names of splits, or where one is `train` and another a known one: then all are splits.
    """
    stems = [name.rsplit("/", 1)[-1].rsplit(".", 1)[0] for name in names]
    words = _without_common([_NUMBER.sub("", stem) for stem in stems])
    if speak_of_splits(words) or (all(map(_NUMBERED.match, stems)) and _with_train(words)):
        return words
    folders = [[part.removesuffix(".parquet") for part in name.split("/")[:-1]] for name in names]
    for depth in range(max(map(len, folders), default=0)):
        level = [parts[depth] if depth < len(parts) else "" for parts in folders]
        if speak_of_splits(level):
            return level
    return None


def speak_of_splits(words: Sequence[str]) -> bool:
    """Whether words are splits by their names alone: all are known, or one is `train` and another is known."""
    found = {word for word in words if word}
    return bool(found) and (all(word.lower() in KNOWN for word in found) or are_splits(found))


def _with_train(words: Sequence[str]) -> bool:
    found = {word.lower() for word in words}
    return len(found) > 1 and not found.isdisjoint(TRAIN)


def _without_common(words: Sequence[str]) -> list[str]:
    """Names without the parts that all of them begin or end with: `cifar10-train` and `cifar10-test`."""
    parts = [_SEPARATOR.split(word) for word in words]
    for end in (slice(2, None), slice(None, -2)):
        at = 0 if end.start else -1
        while min(map(len, parts), default=0) > 2 and len({each[at].lower() for each in parts}) == 1:
            parts = [each[end] for each in parts]
    return ["".join(each) for each in parts]
