"""Parquet files, one or a folder of shards: with encoded images, as Hugging Face writes them, or with paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.decoding.decode import decode, extremes_in, look_at
from likewise.data.decoding.ranges import Found, Spans, kept, merged
from likewise.data.fingerprints import FileFacts, digest, digest_files, file_facts
from likewise.data.labels import NONE, FractionError, Labels, Stated, find_column, united
from likewise.data.source import BrokenImage, ImageInfo, Pixels, Source
from likewise.data.sources.files import read_bytes, short_name
from likewise.data.sources.lists import Listed, find_file, open_listed, path_column
from likewise.data.sources.tables.columns import ImageColumn, class_columns, image_columns, label_column, text_columns
from likewise.data.sources.tables.shards import Shards
from likewise.data.sources.walking import printable
from likewise.data.splitting.split_finding import Marked, column_splits, file_splits, speak_of_splits
from likewise.data.splitting.splits import counts_of, in_order, pick_split, rows_of
from likewise.errors import InputError


@dataclass(kw_only=True, eq=False)
class ParquetSource(Source):
    """Encoded images in the rows of Parquet files."""

    shards: Shards
    """The files."""
    forms: tuple[ImageColumn, ...]
    """Where in each of them the images are."""
    rows: NDArray[np.int64]
    """(N,) the rows that belong to this source."""
    files: NDArray[np.int64]
    """(N,) the file that each of them is in."""
    outside: Mapping[int, str]
    """Where the images lie that are not inside but named, by row."""

    def _bytes(self, position: int) -> bytes:
        row, column = int(self.rows[position]), self.forms[self.files[position]]
        if row in self.outside:
            return read_bytes(self.outside[row])
        data = None if column.data is None else self.shards.cells(row, (column.data,))[0]
        if data is None:
            raise BrokenImage("no image in this row")
        return bytes(data)

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one row."""
        return decode(self._bytes(position), short_side, self.spans)

    def look(self, position: int) -> ImageInfo:
        """What one row holds."""
        return look_at(self._bytes(position), self.spans)

    def extremes(self) -> Found:
        """Smallest and largest number in all images of more than 8 bits a channel."""
        return merged(map(self._extremes, range(len(self))))

    def _extremes(self, position: int) -> Found:
        try:
            return extremes_in(self._bytes(position))
        except BrokenImage:  # it is listed as broken when it is decoded
            return {}


def open_parquet(root: Path, paths: Sequence[Path], *, split: str | None = None, labels: str | None = None) -> Source:
    """The images in, or listed by, the Parquet files `paths`, found at `root` (the file, or the folder of files).

    Raises InputError where there are no images, no rows, no such split or label column, and where the files do not fit
    together.
    """
    shards = Shards(root, paths)
    columns = image_columns(shards)
    marked = _splits(shards, by_name=root.is_dir())
    if columns is None:
        return _open_paths(root, shards, marked, split, labels)
    words = marked.words if marked else None
    rows = rows_of(split, words, len(shards), str(root))
    if not len(rows):
        raise InputError(f"{root} has no rows")
    splits = in_order(words or ())
    listed = _names(shards, columns)
    outside = _outside(shards, columns, listed)
    taken = [*(column.names for column in columns), marked.column if marked else None]
    found = None if labels == NONE else _labels(shards, labels, taken, str(root))
    facts = [file_facts(path, name) for path, name in zip(shards.paths, shards.names, strict=True)]
    chosen = pick_split(split, splits, str(root))
    places = {row: place for row, (place, _) in outside.items()}
    beside = digest_files((fact for _, fact in outside.values()), places.values())
    every = digest("parquet", digest_files(facts, shards.paths), columns[0].data, beside)
    whole = ParquetSource(
        name="",
        fingerprint="",
        names=[""] * len(shards),
        shards=shards,
        forms=columns,
        rows=np.arange(len(shards)),
        files=shards.files_by_row(),
        outside=places,
    )
    return ParquetSource(
        name=short_name(root),
        fingerprint=digest(every, chosen),
        spans=Spans(lambda: kept(every, whole.extremes)),
        names=[printable(listed[row]) if listed[row] else f"row {row}" for row in rows],
        labels=found.values[rows] if found else None,
        class_names=found.names if found else None,
        splits=splits,
        split=chosen,
        split_counts=counts_of(words),
        shards=shards,
        forms=columns,
        rows=rows,
        files=shards.files_by_row()[rows],
        outside=places,
    )


def _open_paths(root: Path, shards: Shards, marked: Marked | None, split: str | None, labels: str | None) -> Source:
    """The images that the files list. Raises InputError where they list none."""
    column = path_column(text_columns(shards))
    if column is None:
        raise InputError(
            f"{shards.paths[0]} has no images: its columns are {', '.join(shards.columns)}; wanted is a struct "
            "{bytes, path} or binary column with the encoded images, or a column 'path' with the names of files"
        )
    _check_everywhere(shards, column)
    every = [value for file in range(len(shards.paths)) for value in shards.values_or_nulls(file, column)]
    paths = ["" if value is None else str(value) for value in every]
    folders = shards.by_row([path.parent for path in shards.paths])
    within = shards.by_row([name.rpartition("/")[0] for name in shards.names])
    names = [_name(folder, path, row) for row, (folder, path) in enumerate(zip(within, paths, strict=True))]
    taken = [column, marked.column if marked else None]
    found = None if labels == NONE else _labels(shards, labels, taken, str(root))
    return open_listed(root, Listed(paths, folders, names, found, marked.words if marked else None), split)


def _name(folder: str, path: str, row: int) -> str:
    """What a listed image is called: its path, below the folder of its table where there are several."""
    if not path:
        return f"row {row}"
    return path if not folder or Path(path).is_absolute() else f"{folder}/{path}"


def _check_everywhere(shards: Shards, column: str) -> None:
    """Raise InputError where a file lacks a column that another has."""
    if lacking := shards.lacking(column):
        holder = next(path for file, path in enumerate(shards.paths) if file not in lacking)
        raise InputError(f"{shards.paths[lacking[0]]} has no column {column!r}, which {holder} has")


# Splits ------------------------------------------------------------------------------------------------------------


def _splits(shards: Shards, *, by_name: bool) -> Marked | None:
    """The split of each row: what a column says, or the names of the files (`train-00000-of-00002.parquet`)."""

    def values_of(column: str) -> list[Any]:
        every: list[Any] = []
        for file, schema in enumerate(shards.schemas):
            names = class_columns(schema).get(shards.own(file, column) or "")
            values = shards.values_or_nulls(file, column)
            every += [names[int(v)] if names and _is_position(v, names) else v for v in values]
        return every

    said = column_splits(shards.columns, values_of)
    words = file_splits(shards.names) if by_name else None
    if words is not None and (said is None or not speak_of_splits(said.words)):
        return Marked(shards.by_row(words))
    if said is not None and said.column is not None:
        _check_everywhere(shards, said.column)
    return said


def _is_position(value: Any, names: Sequence[str]) -> bool:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and 0 <= value < len(names)


# Images that are named, not inside ---------------------------------------------------------------------------------


def _names(shards: Shards, columns: Sequence[ImageColumn]) -> list[str | None]:
    """(rows,) the path that the files give each image, None where they give none."""
    found: list[str | None] = []
    for file, column in enumerate(columns):
        values = shards.values_or_nulls(file, column.names or "")
        found += [None if value is None else str(value) for value in values]
    return found


def _outside(
    shards: Shards, columns: Sequence[ImageColumn], names: Sequence[str | None]
) -> dict[int, tuple[str, FileFacts]]:
    """Where the images lie that have a path and no bytes, by row, and the facts of these files."""
    empty = np.concatenate([_without_bytes(shards, file, column) for file, column in enumerate(columns)])
    files = shards.files_by_row()
    found = {}
    for row in map(int, np.flatnonzero(empty)):
        if name := names[row]:
            found[row] = find_file(name, (shards.paths[files[row]].parent, shards.root), name)
    return found


def _without_bytes(shards: Shards, file: int, column: ImageColumn) -> NDArray[np.bool_]:
    """Which rows of a file may name an image in place of holding it."""
    if column.names is None or column.data is None:
        return np.full(shards.metadata[file].num_rows, column.names is not None)
    return shards.nulls(file, column.data)


# Labels ------------------------------------------------------------------------------------------------------------


def _labels(shards: Shards, wanted: str | None, taken: Sequence[str | None], what: str) -> Labels | None:
    """The labels of all rows; numbers of each file go through its own names of the classes.

    Rows of a file without the column are unlabelled. Raises InputError where such a file has other labels instead.
    """
    column = label_column(shards, wanted, taken, what)
    if column is None:
        return None
    for file in shards.lacking(column):
        if find_column(shards.schemas[file].names, None, what) is not None:
            _check_everywhere(shards, column)
    parts = [
        Stated(
            shards.values_or_nulls(file, column),
            f"column {column!r} of {path}",
            class_columns(shards.schemas[file]).get(shards.own(file, column) or ""),
        )
        for file, path in enumerate(shards.paths)
    ]
    try:
        found = united(parts)
    except FractionError:
        if wanted is not None:
            raise
        return None  # a measurement, found by its name alone
    return Labels(np.concatenate([part.values for part in found]), found[0].names)
