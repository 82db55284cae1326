"""Metadata of images from a CSV, TSV or Parquet file, one row each, matched by name or path."""

from __future__ import annotations

from collections import Counter
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
_EXACT = 2**53
"""Largest whole number below which fractions hold every one."""
_ENDINGS = (".csv", ".tsv", ".parquet")


def read_columns(path: Path, names: Sequence[str], *, taken: Collection[str]) -> list[MapColumn]:
    """The further columns of the table at `path` for the images `names`, in their order.

    A row belongs to the image of its name, else to that whose name ends in it, or which its own name, a path, ends in.
    Images without a row are unknown there, and so are those that several rows fit as well, or whose row fits several of
    them as well. Columns called as one of
    `taken` get an underscore. Numbers stay numbers, but those of more digits than fractions hold (ids) are words, as
    everything else is.

    Raises InputError where the table cannot be read, has no column of names, or names none of the images.
    """
    table = _read(path)
    key = next((name for name in KEYS if name in table.column_names), None)
    if key is None:
        raise InputError(
            f"{path} has no column of names: call it name or path; found are {', '.join(table.column_names)}"
        )
    rows = [str(value) for value in table.column(key).to_pylist()]
    found = _rows_of(names, rows)
    if max(found) < 0:
        raise InputError(
            f"{path} names none of the images: its first row is {next(iter(rows), 'missing')!r}, and the "
            f"first image {names[0]!r}"
        )
    columns, taken = [], set(taken)
    for name in table.column_names:
        if name == key:
            continue
        values = table.column(name).to_pylist()
        own = name
        while own in taken:
            own += "_"
        taken.add(own)
        columns.append(_column(own, table.schema.field(name).type, [values[at] if at >= 0 else None for at in found]))
    return columns


def _rows_of(names: Sequence[str], rows: Sequence[str]) -> list[int]:
    """The row of each image, -1 where there is none, or no single one."""
    exact, ends = _places(rows), _places([_parts(row) for row in rows])
    own: dict[str, int] = {}
    wanted = _places([_parts(name) for name in names])
    for at, row in enumerate(rows):  # a row with a longer path than the image has in its data
        for end in _ends(_parts(row))[1:]:
            if end in wanted:
                own[end] = at if end not in own else -1
    found = []
    for name in names:
        fitting = (ends[end] for end in _ends(_parts(name)) if end in ends)
        found.append(exact[name] if name in exact else next(fitting, own.get(_parts(name), -1)))
    images = Counter(found)
    return [at if at < 0 or images[at] == 1 or rows[at] == name else -1 for name, at in zip(names, found, strict=True)]


def _places(texts: Sequence[str]) -> dict[str, int]:
    """The place of each text, -1 where it stands in several."""
    found: dict[str, int] = {}
    for at, text in enumerate(texts):
        found[text] = at if text not in found else -1
    return found


def _parts(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _ends(name: str) -> list[str]:
    """The whole name, and what is left of it without its first folders, the longest first."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _column(name: str, kind: pa.DataType, values: list[Any]) -> MapColumn:
    known = [value for value in values if value is not None]
    whole = pa.types.is_integer(kind)
    if pa.types.is_floating(kind) or (whole and max(map(abs, known), default=0) <= _EXACT):
        numbers = np.array([np.nan if value is None else value for value in values], np.float64)
        return MapColumn(name, name, numbers)
    return categorised(name, name, [None if value is None else str(value) for value in values])


def _read(path: Path) -> pa.Table:
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise unknown("kind of table", ending or path.name, _ENDINGS)
    try:
        if ending == ".parquet":
            return parquet.read_table(path)
        separated = csv.ParseOptions(delimiter="\t" if ending == ".tsv" else ",")
        textual = csv.ConvertOptions(column_types=dict.fromkeys(KEYS, pa.string()))  # 007 is not 7
        return csv.read_csv(path, parse_options=separated, convert_options=textual)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is no table that can be read: {' '.join(str(error).split())}") from error
