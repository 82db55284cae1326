"""Targets of embedding: an index, or a file that is written from one at the end.

A .parquet file has a row for each image, with the columns of an index and `vector`; a .npz file the same as arrays.
Both say their space: in the metadata of the schema under `likewise.space`, and in the array `space`.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from likewise.errors import InputError
from likewise.files import check_folder, write_aside
from likewise.index.index import Index, create, is_index, open_index
from likewise.index.space import Space
from likewise.index.stores.columns import as_numpy, as_texts
from likewise.index.stores.protocol import Rows

SPACE = b"likewise.space"
FILES = (".parquet", ".npz")
_ROWS = 16384


@dataclass(frozen=True)
class Target:
    """The target that rows are written to."""

    index: Index


@contextlib.contextmanager
def opened(to: str | Path, space: Space, *, dtype: str) -> Iterator[Target]:
    """The index at `to`, made where there is none; for a file one beside it, which becomes the file at the end."""
    path = Path(str(to))
    if path.suffix.lower() not in FILES:
        if not is_index(to) and not path.name.partition(".index.part-")[1] and path.suffix != ".index":
            raise InputError(f"--to {to}: name an index (photos.index), a .parquet or a .npz file, or a server")
        with _index(to, space, dtype) as index:
            yield Target(index)
        return
    beside = path.with_name(f"{path.name}.index")
    check_folder(path.parent)
    added = path.exists() and not (beside / "manifest.json").exists()
    if added:
        _read_into(path, beside, space, dtype)
    try:
        with _index(beside, space, dtype) as index:
            yield Target(index)
    except InputError:
        if added and beside.exists():
            shutil.rmtree(beside)
        raise
    index.refresh()
    (write_parquet if path.suffix.lower() == ".parquet" else write_npz)(index, path)
    shutil.rmtree(beside)


@contextlib.contextmanager
def _index(to: str | Path, space: Space, dtype: str) -> Iterator[Index]:
    """The index at `to`, or a new one, which is taken away again where an error comes before its first row."""
    if "://" in str(to):
        yield _on_server(to, space)
        return
    if (Path(to) / "manifest.json").exists():
        yield open_index(to)
        return
    check_folder(Path(to))
    made = create(to, space, dtype=dtype)
    try:
        yield made
    except BaseException:
        made.refresh()
        if not len(made):
            shutil.rmtree(to)
        raise


def _on_server(to: str | Path, space: Space) -> Index:
    """The index at the address of a server, made where there is none."""
    try:
        return open_index(to)
    except InputError as error:
        if "no table" not in str(error) and "no collection" not in str(error):
            raise
        return create(to, space)


def write_parquet(index: Index, path: Path) -> None:
    """The rows of an index of one space as a Parquet file, whole or not at all."""
    table, vectors, space = index.store.table(), index.vectors(), index.space
    kind = pa.list_(pa.float32(), space.dimensions)
    schema = pa.schema([*table.schema, pa.field("vector", kind)], metadata={SPACE: space.to_json()})
    with write_aside(path) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, max(1, len(table)), _ROWS):
            some = table.slice(start, _ROWS)
            flat = pa.array(np.ascontiguousarray(vectors[start : start + _ROWS]).ravel(), pa.float32())
            column = pa.FixedSizeListArray.from_arrays(flat, space.dimensions)
            writer.write_table(some.append_column("vector", column).cast(schema))


def write_npz(index: Index, path: Path) -> None:
    """The rows of an index of one space as a .npz file, whole or not at all."""
    table = index.store.table()
    arrays: dict[str, Any] = {"vectors": index.vectors(), "space": np.array(index.space.to_json())}
    for name in table.column_names:
        values = as_numpy(table[name])
        if values.dtype.kind not in "biuf":  # texts, and what NumPy has no kind for, such as truth values with gaps
            values = np.array(["" if one is None else one for one in as_texts(table[name])], str)
        arrays[name] = values
    with write_aside(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_file(path: Path) -> tuple[pa.Table, np.ndarray[Any, np.dtype[np.float32]], Space]:
    """Table, vectors and space of what `write_parquet` or `write_npz` wrote. Raises InputError for anything else."""
    try:
        if path.suffix.lower() == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                vectors, text = np.asarray(held["vectors"], np.float32), str(held["space"])
                table = pa.table(
                    {name: pa.array(held[name].tolist()) for name in held.files if name not in {"vectors", "space"}}
                )
            return table, vectors, Space.from_json(text, path)
        table = pyarrow.parquet.read_table(path)
        text = (table.schema.metadata or {})[SPACE].decode()
        space = Space.from_json(text, path)
        flat = table["vector"].combine_chunks()
        vectors = np.asarray(flat.flatten(), np.float32).reshape(-1, space.dimensions)
        return table.drop_columns(["vector"]), vectors, space
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, pa.ArrowInvalid) as error:
        raise InputError(f"{path} was not written by `likewise embed`: {' '.join(str(error).split())[:100]}") from error


def _read_into(path: Path, beside: Path, wanted: Space, dtype: str) -> None:
    """An index of what a file holds, so that vectors of the space `wanted` can be added to it."""
    table, vectors, space = read_file(path)
    space.check(wanted, path)
    aside = beside.with_name(f".{beside.name}.reading")
    shutil.rmtree(aside, ignore_errors=True)
    index = create(aside, space, dtype=dtype)
    index.store.write(Rows.of(table, vectors), 0)
    shutil.rmtree(beside, ignore_errors=True)
    aside.rename(beside)
