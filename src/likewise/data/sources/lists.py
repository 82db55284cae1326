"""Lists of image files, as plain text or CSV, and tables that list files."""

from __future__ import annotations

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from likewise.data.decoding.decode import EXTENSIONS
from likewise.data.fingerprints import FileFacts, digest, digest_files, file_facts
from likewise.data.labels import FractionError, Labels, as_labels, find_column, from_text
from likewise.data.sources.files import FileSource, short_name, spans_of, with_ranges
from likewise.data.sources.walking import printable
from likewise.data.splitting.split_finding import SPLIT_COLUMN, column_splits
from likewise.data.splitting.splits import counts_of, in_order, pick_split, rows_of
from likewise.errors import InputError

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
"""Names under which a column of paths is found, the likeliest first."""
TEXT = frozenset({".txt", ".lst"})
SEPARATED = frozenset({".csv", ".tsv"})

_DELIMITERS = (",", ";", "\t", "|")

Columns = Mapping[str, Sequence[Any]]
"""A table: the values of each column."""


class Listed(NamedTuple):
    """The rows of a table of images."""

    paths: Sequence[str]
    """(N,) as they are written."""
    folders: Sequence[Path]
    """(N,) what each is relative to."""
    names: Sequence[str]
    """(N,) what the images are called."""
    labels: Labels | None = None
    """(N,) of all rows."""
    splits: Sequence[str] | None = None
    """(N,) the split of each row, empty for none."""


# Text --------------------------------------------------------------------------------------------------------------


def read_list(path: Path) -> Columns:
    """The columns of a text file (one path a line) or of a CSV file. Raises InputError where it is no text."""
    try:
        data = path.read_bytes()
        is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text: a list of images is .txt, .csv, .tsv or .parquet") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    return _lines(text, path) if path.suffix.lower() in TEXT else _separated(text, path)


def _lines(text: str, path: Path) -> Columns:
    """A path a line, or a path and a class, or a table after all; lines that begin with # are remarks."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and (not line.startswith("#") or _is_image(line))]
    if lines and any(mark in lines[0] for mark in _DELIMITERS) and not any(map(_is_image, lines)):
        return _separated("\n".join(lines), path)
    pairs = [line.rsplit(maxsplit=1) for line in lines]
    if lines and all(len(pair) == 2 and _is_image(pair[0]) and not _is_image(pair[1]) for pair in pairs):
        return {"path": [pair[0] for pair in pairs], "label": [pair[1] for pair in pairs]}
    return {"path": lines}


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122  # a Path for each of a million lines is slow


def _separated(text: str, path: Path) -> Columns:
    first, _, rest = text.partition("\n")
    if first.startswith("sep="):  # what Excel writes
        first, text = rest.partition("\n")[0], rest
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    if not rows:
        raise InputError(f"{path} is empty: it should have a row of column names, and a row for each image")
    if _is_image(rows[0][0].strip()):  # no row of names: path, label, split
        rows.insert(0, ["path", "label", SPLIT_COLUMN][: len(rows[0])])
    names = _different([cell.strip() for cell in rows[0]])
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise InputError(f"{path}: row {number} has {len(row)} cells where there are {len(names)} columns")
    return {name: [row[place].strip() for row in rows[1:]] for place, name in enumerate(names)}


def _different(names: Sequence[str]) -> list[str]:
    """Names of columns, a second `label` being `label.1`, as pandas has it."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        times = seen[name] = seen.get(name, -1) + 1
        found.append(f"{name}.{times}" if times else name)
    return found


def path_column(columns: Sequence[str]) -> str | None:
    """The column that holds the paths, or None."""
    lower = {column.lower(): column for column in reversed(columns)}
    return next((lower[name] for name in PATH_COLUMNS if name in lower), None)


def list_splits(columns: Columns) -> tuple[str, ...]:
    """Splits that a table names."""
    marked = column_splits(list(columns), columns.__getitem__)
    return in_order(marked.words if marked else ())


def open_list(path: Path, columns: Columns, *, split: str | None = None, labels: str | None = None) -> FileSource:
    """The images that the table at `path` lists; paths are relative to its folder.

    Files that do not exist count as broken images. Raises InputError where there is no column of paths, no row, no
    such split, or no such label column.
    """
    paths = path_column(list(columns))
    if paths is None:
        raise InputError(f"{path} has no column of paths: its columns are {', '.join(columns)}; call one 'path'")
    marked = column_splits(list(columns), columns.__getitem__)
    listed = ["" if value is None else str(value) for value in columns[paths]]
    others = [name for name in columns if name not in {paths, marked.column if marked else None}]
    column = find_column(others, labels, str(path))
    try:
        found = as_labels(from_text(columns[column]), f"column {column!r} of {path}") if column else None
    except FractionError:
        if labels is not None:
            raise
        found = None  # a measurement, found by its name alone
    table = Listed(listed, [path.parent] * len(listed), listed, found, marked.words if marked else None)
    return open_listed(path, table, split)


# Any table ---------------------------------------------------------------------------------------------------------


def open_listed(root: Path, table: Listed, split: str | None) -> FileSource:
    """The images that a table lists, of all rows or of a split. Raises InputError for no row and no such split."""
    rows = rows_of(split, table.splits, len(table.paths), str(root))
    if not len(rows):
        raise InputError(f"{root} lists no images")
    base = root if root.is_dir() else root.parent
    splits = in_order(table.splits or ())
    every = zip(table.paths, table.folders, table.names, strict=True)
    found = [find_file(path, (folder, base), name) for path, folder, name in every]
    spans = spans_of([place for place, _ in found], [facts for _, facts in found])
    own = digest_files((found[row][1] for row in rows), (found[row][0] for row in rows))
    return FileSource(
        name=short_name(root),
        fingerprint=with_ranges(digest("list", own), spans),
        names=[printable(table.names[row]) for row in rows],
        labels=table.labels.values[rows] if table.labels else None,
        class_names=table.labels.names if table.labels else None,
        splits=splits,
        split=pick_split(split, splits, str(root)),
        split_counts=counts_of(table.splits),
        spans=spans,
        paths=[found[row][0] for row in rows],
    )


def find_file(path: str, folders: Sequence[Path], name: str) -> tuple[str, FileFacts]:
    """The location of a file written as `path` relative to one of some folders, and its facts under a name.

    The first folder where it is; where it is in none, its place in the first. Backslashes, as Windows writes them,
    are folders where no file has them in its name. Letters with accents may be one sign in the table and two in the
    name of the file, as macOS writes them, or the other way round.
    """
    forms = (path,) if path.isascii() else (path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")))
    ways = [way for form in dict.fromkeys(forms) for way in dict.fromkeys((form, form.replace("\\", "/")))]
    # Not Path.expanduser, which raises for a user that does not exist.
    places = [folder / os.path.expanduser(way) for folder in dict.fromkeys(folders) for way in ways]  # noqa: PTH111
    every = ((place, file_facts(place, name)) for place in places)
    place, facts = next((pair for pair in every if pair[1].size >= 0), (places[0], FileFacts(name, -1, -1)))
    return str(place), facts
