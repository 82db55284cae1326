"""Reading Parquet shards as one table: whole columns, or cells of single rows, of any type."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from likewise.data.decoding.decode import one_line
from likewise.data.labels import from_text
from likewise.data.source import BrokenImage
from likewise.data.splitting.split_finding import partitions
from likewise.errors import InputError

_KEPT_BYTES = 256 << 20
_BATCH = 16


class Shards:
    """Parquet files of one data set, read a row group at a time; the last groups are kept.

    A column is named by its path in the schema: `image`, or `image.bytes` for a part of a struct. Each file has its own
    types, and columns are read file by file as Python values, so types need not be the same. What the folders of a file
    say (`site=3/0.parquet`) is a column as well. Raises InputError where a file is no Parquet file.
    """

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        self.root = root if root.is_dir() else root.parent
        self.paths = tuple(paths)
        self.names = tuple(path.relative_to(self.root).as_posix() for path in paths)
        self.metadata = [_metadata(path) for path in paths]
        self.schemas: list[pa.Schema] = [metadata.schema.to_arrow_schema() for metadata in self.metadata]
        self._folders = _typed([partitions(name) for name in self.names])
        groups = [(file, group) for file, meta in enumerate(self.metadata) for group in range(meta.num_row_groups)]
        self._groups = groups
        self._ends = np.cumsum(
            [self.metadata[file].row_group(group).num_rows for file, group in groups], dtype=np.int64
        )
        self._kept: OrderedDict[tuple[int, tuple[str, ...]], list[pa.ChunkedArray]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(metadata.num_rows for metadata in self.metadata)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of any of the files, then those that the folders say."""
        named = [name for schema in self.schemas for name in schema.names]
        return tuple(dict.fromkeys([*named, *self.said_by_folders]))

    @property
    def said_by_folders(self) -> tuple[str, ...]:
        """Columns that the names of folders say."""
        return tuple(dict.fromkeys(key for folder in self._folders for key in folder))

    def by_row(self, values: Sequence[Any]) -> list[Any]:
        """One value for each file as one for each row."""
        return [value for value, meta in zip(values, self.metadata, strict=True) for _ in range(meta.num_rows)]

    def files_by_row(self) -> NDArray[np.int64]:
        """(rows,) number of the file that each row is in."""
        return np.repeat(np.arange(len(self.paths)), [metadata.num_rows for metadata in self.metadata])

    def own(self, file: int, path: str) -> str | None:
        """A column as one of the files spells it, capitals aside; None where the file lacks it."""
        schema = self.schemas[file]
        if _has(schema, path):
            return path
        same = [name for name in schema.names if name.lower() == path.lower()]
        return same[0] if len(same) == 1 else None

    def values(self, file: int, path: str) -> Sequence[Any] | NDArray[Any] | None:
        """A whole column of one of the files, None where the file lacks it. Raises InputError where it is damaged."""
        own = self.own(file, path)
        if own is None:
            said = self._folders[file]
            return [said[path]] * self.metadata[file].num_rows if path in said else None
        try:
            with pq.ParquetFile(self.paths[file], metadata=self.metadata[file]) as opened:
                column = _leaf(opened.read(columns=[own]), own)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"column {path} of {self.paths[file]} cannot be read: {one_line(error)}") from error
        if pa.types.is_integer(column.type) and column.null_count == 0:
            return np.asarray(column.to_numpy())
        values: list[Any] = column.to_pylist()
        return values

    def values_or_nulls(self, file: int, path: str) -> Sequence[Any] | NDArray[Any]:
        """The same with None in every row where the file lacks the column."""
        values = self.values(file, path)
        return [None] * self.metadata[file].num_rows if values is None else values

    def lacking(self, path: str) -> list[int]:
        """Positions of the files that lack a column."""
        return [at for at, said in enumerate(self._folders) if self.own(at, path) is None and path not in said]

    def first_values(self, file: int, path: str, most: int) -> list[Any]:
        """The first values of a column of one of the files that are not null, at most so many; none where damaged."""
        found: list[Any] = []
        try:
            with pq.ParquetFile(self.paths[file], metadata=self.metadata[file]) as opened:
                for batch in opened.iter_batches(_BATCH, columns=[path]):
                    found += [value.as_py() for value in _leaf(pa.table(batch), path) if value.is_valid]
                    if len(found) >= most:
                        break
        except (OSError, pa.ArrowException):  # whoever reads the images will say so
            return []
        return found[:most]

    def nulls(self, file: int, path: str) -> NDArray[np.bool_]:
        """Whether a column of one of the files is null, row by row; what the file counts itself is not read."""
        meta = self.metadata[file]
        leaf = next(at for at in range(meta.num_columns) if meta.schema.column(at).path == path)
        found = []
        for group in range(meta.num_row_groups):
            rows = meta.row_group(group).num_rows
            stated = meta.row_group(group).column(leaf).statistics
            count = stated.null_count if stated is not None and stated.has_null_count else None
            if count in {0, rows}:
                found.append(np.full(rows, count == rows and rows > 0))
                continue
            try:
                with pq.ParquetFile(self.paths[file], metadata=meta) as opened:
                    column = _leaf(opened.read_row_group(group, columns=[path]), path)
            except (OSError, pa.ArrowException):  # damaged: whoever reads the images will say so
                found.append(np.zeros(rows, dtype=bool))
            else:
                found.append(column.is_null().to_numpy())
        return np.concatenate([np.zeros(0, dtype=bool), *found])

    def cells(self, row: int, paths: tuple[str, ...]) -> list[Any]:
        """The values of some columns in one row. Raises BrokenImage."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        columns = self._group(number, paths)
        inside = row - int(self._ends[number]) + len(columns[0])
        return [column[inside].as_py() for column in columns]

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


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is no Parquet file that can be read: {one_line(error)}") from error


def _typed(folders: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """What folders say, as numbers where every folder says a number."""
    typed: list[dict[str, Any]] = [{} for _ in folders]
    for key in dict.fromkeys(key for folder in folders for key in folder):
        own = [at for at, folder in enumerate(folders) if key in folder]
        for at, value in zip(own, from_text([folders[at][key] for at in own]), strict=True):
            typed[at][key] = value
    return typed


def _top(schema: pa.Schema, path: str) -> str | None:
    """The column of a schema that `path` is, or is in."""
    return next((name for name in schema.names if path == name or path.startswith(f"{name}.")), None)


def _has(schema: pa.Schema, path: str) -> bool:
    """Whether a schema has a column of this path."""
    top = _top(schema, path)
    if top is None or top == path:
        return top is not None
    kind = schema.field(top).type
    for field in path.removeprefix(f"{top}.").split("."):
        place = kind.get_field_index(field) if pa.types.is_struct(kind) else -1
        if place < 0:
            return False
        kind = kind.field(place).type
    return True


def _leaf(table: pa.Table, path: str) -> pa.ChunkedArray:
    """The column at `path`: a column of its own, or a field of a struct."""
    if path in table.column_names:
        return table.column(path)
    top = _top(table.schema, path)
    column = table.column(top)
    for field in path.removeprefix(f"{top}.").split("."):
        column = pc.struct_field(column, field)
    return column
