"""Masks from a column of a table: encoded images in a Parquet file, or paths of mask files in any table of images."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from likewise.data import Images, open_source
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.data.labels import NONE
from likewise.data.sources.lists import SEPARATED, read_list
from likewise.errors import InputError, unknown

TABLES = frozenset({".parquet", *SEPARATED})
"""Endings of files that may have such a column."""
Opened = Path | io.BytesIO


def masks_of_column(file: Path, column: str, images: Images) -> tuple[Callable[[str], Opened], str]:
    """From the name of an image to its mask in `column` of the table `file`, and a key: another one for other masks.

    A row belongs to the image that `likewise.data.open_source(file)` calls by the same name. A cell is an encoded
    image, a struct {bytes, path}, or a path, from the folder of the table on. Raises InputError for files and columns
    that are not there, and where an image has no row, two rows, or an empty cell.
    """
    if not file.is_file() or file.suffix.lower() not in TABLES:
        raise InputError(
            f"masks='given:{file}:{column}': there is no such table; allowed are {', '.join(sorted(TABLES))}"
        )
    values = _values(file, column)
    names = open_source(file, labels=NONE).names
    if len(names) != len(values):
        raise InputError(f"{file} has {len(values)} rows and {len(names)} images: masks need one row for each image")
    rows: dict[str, int] = {}
    wanted = set(images.names)
    for row, name in enumerate(names):
        if name in rows and name in wanted:
            raise InputError(f"{file} has two rows for {name}: masks need one")
        rows[name] = row
    missing = next((name for name in images.names if name not in rows or not _is_there(values[rows[name]])), None)
    if missing is not None:
        raise InputError(f"column {column!r} of {file} has no mask for {missing}")
    files = [path for name in images.names if isinstance(path := _opened(values[rows[name]], file), Path)]
    absent = next((path for path in files if not path.is_file()), None)
    if absent is not None:
        raise InputError(f"column {column!r} of {file} names {absent}, which is not there")
    facts = [file_facts(file, file.name), *(file_facts(path, str(path)) for path in files)]
    return lambda name: _opened(values[rows[name]], file), digest("column", column, digest_files(facts, [file, *files]))


def _values(file: Path, column: str) -> Sequence[Any]:
    if file.suffix.lower() in SEPARATED:
        table = read_list(file)
        if column not in table:
            raise unknown("column", column, list(table))
        return table[column]
    known = pq.read_schema(file).names
    if column not in known:
        raise unknown("column", column, known)
    values: Sequence[Any] = pq.read_table(file, columns=[column]).column(column).to_pylist()
    return values


def _is_there(value: Any) -> bool:
    return bool(value.get("bytes") or value.get("path")) if isinstance(value, dict) else bool(value)


def _opened(value: Any, file: Path) -> Opened:
    """What a cell holds, to be read as an image."""
    inside = (value.get("bytes") or value.get("path")) if isinstance(value, dict) else value
    return io.BytesIO(inside) if isinstance(inside, bytes) else file.parent / str(inside)
