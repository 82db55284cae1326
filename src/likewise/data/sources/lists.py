"""Lists of picture files: plain text, CSV, or Parquet with a column of paths."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.data.decode import EXTENSIONS
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.data.labels import as_labels, find_column
from likewise.data.sources.files import FileSource, printable, short_name
from likewise.data.splits import in_order, rows_of
from likewise.errors import InputError

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
"""Names under which a column of paths is found, the likeliest first."""
SPLIT_COLUMN = "split"
TEXT = frozenset({".txt", ".lst"})
SEPARATED = frozenset({".csv", ".tsv"})

Columns = Mapping[str, Sequence[Any]]
"""A table: the values of each column."""


def read_list(path: Path) -> Columns:
    """The columns of a text file (one path a line) or of a CSV file. Raises InputError where it is no text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text: a list of pictures is .txt, .csv, .tsv or .parquet") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if path.suffix.lower() in TEXT:
        return {"path": [line.strip() for line in text.splitlines() if line.strip()]}
    return _separated(text, path)


def _separated(text: str, path: Path) -> Columns:
    first = text.split("\n", maxsplit=1)[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in first and "," not in first else ","
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    if not rows:
        raise InputError(f"{path} is empty: it should have a row of column names, and a row for each picture")
    if os.path.splitext(rows[0][0])[1].lower() in EXTENSIONS:  # noqa: PTH122  # no row of names: path, label, split
        rows.insert(0, ["path", "label", SPLIT_COLUMN][: len(rows[0])])
    names = [cell.strip() for cell in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise InputError(f"{path}: row {number} has {len(row)} cells where there are {len(names)} columns")
    return {name: [row[place].strip() for row in rows[1:]] for place, name in enumerate(names)}


def path_column(columns: Sequence[str]) -> str | None:
    """The column that holds the paths, or None."""
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in PATH_COLUMNS if name in lower), None)


def list_splits(columns: Columns) -> tuple[str, ...]:
    """Splits that a table names."""
    return in_order(str(value) for value in columns.get(SPLIT_COLUMN, ()) if value is not None)


def open_list(path: Path, columns: Columns, *, split: str | None = None, labels: str | None = None) -> FileSource:
    """The pictures that the table at `path` lists; paths are relative to its folder.

    Files that do not exist count as broken pictures. Raises InputError where there is no column of paths, no row, no
    such split, or no such label column.
    """
    paths = path_column(list(columns))
    if paths is None:
        raise InputError(f"{path} has no column of paths: its columns are {', '.join(columns)}; call one 'path'")
    listed = [str(value or "") for value in columns[paths]]
    others = [name for name in columns if name not in {paths, SPLIT_COLUMN}]
    column = find_column(others, labels, str(path))
    found = as_labels(_numbers(columns[column]), f"column {column!r} of {path}") if column else None
    marked = [str(value or "") for value in columns[SPLIT_COLUMN]] if SPLIT_COLUMN in columns else None
    rows = rows_of(split, marked, len(listed), str(path))
    if not len(rows):
        raise InputError(f"{path} lists no pictures")
    places = [path.parent / Path(listed[row]).expanduser() for row in rows]
    names = [listed[row] for row in rows]
    files = digest_files(file_facts(place, name) for place, name in zip(places, names, strict=True))
    return FileSource(
        name=short_name(path),
        fingerprint=digest("list", files),
        names=[printable(name) for name in names],
        labels=found.values[rows] if found else None,
        class_names=found.names if found else None,
        splits=in_order(marked or ()),
        paths=[str(place) for place in places],
    )


def _numbers(values: Sequence[Any]) -> Sequence[Any]:
    """Words that are all whole numbers, or empty, as numbers."""
    known = [value for value in values if value not in {None, ""}]
    if known and all(isinstance(value, str) and value.removeprefix("-").isdecimal() for value in known):
        return [int(value) if value else None for value in values]
    return values
