"""Metadata of images from a CSV, TSV or Parquet file, one row each, matched by name or path."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from likewise.errors import InputError, unknown
from likewise.exploring.collection import MapColumn, categorised

KEYS = ("name", "path", "image", "file", "filename", "filepath", "file_name")
"""Columns that may hold the names of the images; the first that the table has does."""
_ENDINGS = (".csv", ".tsv", ".parquet")


def read_columns(path: Path, names: Sequence[str], *, taken: Collection[str]) -> list[MapColumn]:
    """The further columns of the table at `path` for the images `names`, in their order.

    A row belongs to the image of its name, or else to the one whose name ends in it. Images without a row are unknown
    there. Columns called as one of `taken` get an underscore. Numbers stay numbers, everything else is words.

    Raises InputError where the table cannot be read, has no column of names, or names none of the images.
    """
    table = _read(path)
    key = next((name for name in KEYS if name in table.column_names), None)
    if key is None:
        raise InputError(
            f"{path} has no column of names: call it name or path; found are {', '.join(table.column_names)}"
        )
    row = {str(value): at for at, value in enumerate(table.column(key).to_pylist())}
    base = {name.rsplit("/", 1)[-1]: at for name, at in row.items()}
    found = [row.get(name, base.get(name.rsplit("/", 1)[-1], -1)) for name in names]
    if max(found) < 0:
        raise InputError(
            f"{path} names none of the images: its first row is {next(iter(row), 'missing')!r}, and the "
            f"first image {names[0]!r}"
        )
    columns = []
    for name in table.column_names:
        if name == key:
            continue
        values = table.column(name).to_pylist()
        own = f"{name}_" if name in taken else name
        columns.append(_column(own, table.schema.field(name).type, [values[at] if at >= 0 else None for at in found]))
    return columns


def _column(name: str, kind: pa.DataType, values: list[Any]) -> MapColumn:
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        numbers = np.array([np.nan if value is None else value for value in values], np.float32)
        return MapColumn(name, name, numbers)
    return categorised(name, name, [None if value is None else str(value) for value in values])


def _read(path: Path) -> pa.Table:
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise unknown("kind of table", ending or path.name, _ENDINGS)
    try:
        if ending == ".parquet":
            return parquet.read_table(path)
        return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="\t" if ending == ".tsv" else ","))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is no table that can be read: {' '.join(str(error).split())}") from error
