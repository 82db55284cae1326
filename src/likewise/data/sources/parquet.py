"""Parquet files with the pictures inside, as Hugging Face writes them: one file or a folder of shards."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from likewise.data.decode import decode, look_at, one_line
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.data.labels import LABEL_COLUMNS, NONE, Labels, as_labels, find_column
from likewise.data.source import BrokenImage, Look, Pixels, Source
from likewise.data.sources.files import printable, read_bytes, short_name
from likewise.data.sources.lists import SPLIT_COLUMN, Columns, path_column
from likewise.data.splits import KNOWN, in_order, rows_of
from likewise.errors import InputError

_KEPT_BYTES = 256 << 20
_LIKELY = ("image", "img", "picture", "jpg", "png", "bytes")
_SHARD = re.compile(r"^([A-Za-z]+)[-_.]")


class ImageColumn(NamedTuple):
    """Where the encoded pictures are."""

    data: str
    """Path of the bytes in the schema: `image.bytes`, or a binary column of its own."""
    names: str | None
    """Path of the file names in the schema: `image.path`."""


class Shards:
    """Parquet files with one schema, read a row group at a time; the last groups are kept.

    Raises InputError where a file is no Parquet file or has another schema than the first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.metadata = [_metadata(path) for path in paths]
        self.schema: pa.Schema = self.metadata[0].schema.to_arrow_schema()
        for path, metadata in zip(self.paths, self.metadata, strict=True):
            if missing := set(self.schema.names) - set(metadata.schema.to_arrow_schema().names):
                raise InputError(f"{path} has no column {min(missing)}, which {self.paths[0].name} has")
        groups = [(file, group) for file, meta in enumerate(self.metadata) for group in range(meta.num_row_groups)]
        self._groups = groups
        self._ends = np.cumsum(
            [self.metadata[file].row_group(group).num_rows for file, group in groups], dtype=np.int64
        )
        self._kept: OrderedDict[tuple[int, tuple[str, ...]], list[pa.ChunkedArray]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(metadata.num_rows for metadata in self.metadata)

    def rows_by_file(self) -> NDArray[np.int64]:
        """Number of the file of each row."""
        return np.repeat(np.arange(len(self.paths)), [metadata.num_rows for metadata in self.metadata])

    def column(self, path: str) -> pa.ChunkedArray:
        """One whole column, `struct.field` for a part of a struct. Raises InputError where it cannot be read."""
        found = []
        for file, metadata in zip(self.paths, self.metadata, strict=True):
            try:
                with pq.ParquetFile(file, metadata=metadata) as opened:
                    found.append(_leaf(opened.read(columns=[path]), path))
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"column {path} of {file} cannot be read: {one_line(error)}") from error
        return pa.chunked_array([chunk for column in found for chunk in column.chunks], type=found[0].type)

    def cells(self, row: int, paths: tuple[str, ...]) -> tuple[list[Any], Path]:
        """The values of some columns in one row, and the file that they are in. Raises BrokenImage."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        columns = self._group(number, paths)
        inside = row - int(self._ends[number]) + len(columns[0])
        return [column[inside].as_py() for column in columns], self.paths[self._groups[number][0]]

    def _group(self, number: int, paths: tuple[str, ...]) -> list[pa.ChunkedArray]:
        # Under the lock: threads that decode work side by side on the same few groups, and each should be read once.
        with self._lock:
            if (number, paths) in self._kept:
                self._kept.move_to_end((number, paths))
                return self._kept[number, paths]
            file, group = self._groups[number]
            try:
                with pq.ParquetFile(self.paths[file], metadata=self.metadata[file]) as opened:
                    table = opened.read_row_group(group, columns=list(paths))
            except (OSError, pa.ArrowException) as error:
                where = f"row group {group} of {self.paths[file].name}"
                raise BrokenImage(f"{where} is damaged: {one_line(error)}") from error
            self._kept[number, paths] = [_leaf(table, path) for path in paths]
            while len(self._kept) > 2 and self._bytes_kept() > _KEPT_BYTES:
                self._kept.popitem(last=False)
            return self._kept[number, paths]

    def _bytes_kept(self) -> int:
        return sum(column.nbytes for columns in self._kept.values() for column in columns)


@dataclass(kw_only=True, eq=False)
class ParquetSource(Source):
    """Encoded pictures in the rows of Parquet files."""

    shards: Shards
    """The files."""
    column: ImageColumn
    """Where in them the pictures are."""
    rows: NDArray[np.int64]
    """(N,) the rows that belong to this source."""

    def _bytes(self, position: int) -> bytes:
        paths = tuple(path for path in self.column if path is not None)
        (data, *names), file = self.shards.cells(int(self.rows[position]), paths)
        if data is not None:
            return bytes(data)
        if names and names[0]:  # the picture lies outside, which the format allows
            return read_bytes(file.parent / names[0])
        raise BrokenImage("no picture in this row")

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one row."""
        return decode(self._bytes(position), short_side)

    def look(self, position: int) -> Look:
        """What one row holds."""
        return look_at(self._bytes(position))


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is no Parquet file that can be read: {one_line(error)}") from error


def _leaf(table: pa.Table, path: str) -> pa.ChunkedArray:
    """The column at `path`: a column of its own, or a field of a struct."""
    if path in table.column_names:
        return table.column(path)
    column, _, field = path.rpartition(".")
    return pc.struct_field(table.column(column), field)


# Finding columns ---------------------------------------------------------------------------------------------------


def image_column(schema: pa.Schema) -> ImageColumn | None:
    """The column that holds encoded pictures, or None."""
    found: dict[str, ImageColumn] = {}
    for field in schema:
        if pa.types.is_struct(field.type):
            inner = {part.name: part.type for part in field.type}
            if "bytes" in inner and _is_binary(inner["bytes"]):
                names = f"{field.name}.path" if "path" in inner else None
                found[field.name] = ImageColumn(f"{field.name}.bytes", names)
        elif _is_binary(field.type):
            found[field.name] = ImageColumn(field.name, None)
    lower = {name.lower(): name for name in reversed(found)}
    likeliest = next((lower[name] for name in _LIKELY if name in lower), next(iter(found), None))
    return None if likeliest is None else found[likeliest]


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def class_columns(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Columns that the Hugging Face metadata declare as classes, with the classes' names."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        declared = {name: tuple(map(str, kind["names"])) for name, kind in features.items() if "names" in kind}
    except (KeyError, TypeError, ValueError):  # none, or not in the form that is known: the columns still say enough
        return {}
    return {name: names for name, names in declared.items() if name in schema.names}


def label_column(schema: pa.Schema, wanted: str | None, what: str) -> str | None:
    """The column with the labels: as asked for, else a declared class, else a likely name, else None."""
    classes = class_columns(schema)
    plain = [field.name for field in schema if not _is_binary(field.type) and not pa.types.is_nested(field.type)]
    if wanted is None:
        likely = [name for name in LABEL_COLUMNS if name in classes]
        declared = [name for name in classes if name != SPLIT_COLUMN]
        if likely or declared:
            return (likely or declared)[0]
    column = find_column([name for name in plain if name != SPLIT_COLUMN], wanted, what)
    if column is None or wanted is not None:
        return column
    kind = schema.field(column).type  # found by its name alone: measurements are called y, too
    return None if pa.types.is_floating(kind) or pa.types.is_temporal(kind) else column


# Opening -----------------------------------------------------------------------------------------------------------


def parquet_splits(shards: Shards) -> tuple[str, ...]:
    """The splits that a column names, or the names of the shards (`train-00000-of-00002.parquet`, `test/0.parquet`)."""
    return in_order(_split_values(shards) or ())


def _split_values(shards: Shards) -> list[str] | None:
    """The split of each row, or None where there are none."""
    if SPLIT_COLUMN in shards.schema.names:
        values = shards.column(SPLIT_COLUMN).to_pylist()
        names = class_columns(shards.schema).get(SPLIT_COLUMN)
        words = [names[value] if names and isinstance(value, int) else value for value in values]
        return ["" if word is None else str(word) for word in words]
    marks = [_mark(path) for path in shards.paths]
    if len(marks) > 1 and all(marks):
        return [marks[file] for file in shards.rows_by_file()]
    return None


def _mark(path: Path) -> str:
    """The split that the name of a shard, or of its folder, speaks of; empty where neither does."""
    match = _SHARD.match(path.name)
    words = (match.group(1) if match else "", path.parent.name)
    return next((word.lower() for word in words if word.lower() in KNOWN), "")


def table_of(shards: Shards) -> Columns | None:
    """The columns of Parquet files that list paths instead of holding pictures; None where they hold pictures.

    Raises InputError where they do neither.
    """
    if image_column(shards.schema) is not None:
        return None
    words = [
        field.name for field in shards.schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    if path_column(words) is None:
        raise InputError(
            f"{shards.paths[0]} has no pictures: its columns are {', '.join(shards.schema.names)}; wanted is a struct "
            "{bytes, path} or binary column with the encoded pictures, or a column 'path' with the names of files"
        )
    flat = [field.name for field in shards.schema if not pa.types.is_nested(field.type)]
    return {name: shards.column(name).to_pylist() for name in flat}


def open_parquet(root: Path, shards: Shards, *, split: str | None = None, labels: str | None = None) -> ParquetSource:
    """The pictures in `shards`, found at `root` (the file, or the folder of files).

    Raises InputError where there is no such split or label column.
    """
    column = image_column(shards.schema)
    if column is None:
        raise InputError(f"{root} has no column of pictures")
    marked = _split_values(shards)
    rows = rows_of(split, marked, len(shards), str(root))
    if not len(rows):
        raise InputError(f"{root} has no rows")
    found = _labels(shards, None if labels == NONE else label_column(shards.schema, labels, str(root)))
    base = root if root.is_dir() else root.parent
    files = [file_facts(path, path.relative_to(base).as_posix()) for path in shards.paths]
    return ParquetSource(
        name=short_name(root),
        fingerprint=digest("parquet", digest_files(files), column.data, split),
        names=_names(shards, column, rows),
        labels=found.values[rows] if found else None,
        class_names=found.names if found else None,
        splits=in_order(marked or ()),
        shards=shards,
        column=column,
        rows=rows,
    )


def _labels(shards: Shards, column: str | None) -> Labels | None:
    if column is None:
        return None
    values = shards.column(column)
    what = f"column {column!r} of {shards.paths[0]}"
    names = class_columns(shards.schema).get(column)
    if pa.types.is_integer(values.type) and values.null_count == 0:
        return as_labels(values.to_numpy(), what, names)
    return as_labels(values.to_pylist(), what, names)


def _names(shards: Shards, column: ImageColumn, rows: NDArray[np.int64]) -> list[str]:
    """What each picture is called: its path, or its row where it has none."""
    if column.names is None:
        return [f"row {row}" for row in rows]
    paths = shards.column(column.names).to_pylist()
    return [printable(paths[row]) if paths[row] else f"row {row}" for row in rows]
