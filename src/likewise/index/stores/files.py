"""The files of an index folder: a table of rows, and a matrix for each space, both append-only.

    manifest.json            which bytes count (`manifest`)
    rows-G.arrow             an Arrow stream: each batch a change, the last record of a row number is what holds
    vectors-G-S.f32          unit vectors of space S, row after row, little-endian; .f16 where asked for
    space-S/                 space.json, and the encoder of the space
    graph-G-S-N.usearch      a graph over the first N vectors

What lies beyond the bytes that the manifest names was being written when a process ended, and is cut off by the next
writer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from likewise.errors import DiskFull, InputError
from likewise.files import no_room, write_aside
from likewise.index.space import Space
from likewise.index.stores.manifest import Manifest
from likewise.index.stores.protocol import OWN

SUFFIX = {"float32": "f32", "float16": "f16"}
_COPIED = 1 << 16
GONE = -1
"""Space of a row that was removed."""
BASE = pa.schema(
    [
        ("row", pa.int64()),
        ("space", pa.int32()),
        ("at", pa.int64()),
        ("norm", pa.float32()),
        ("id", pa.string()),
        *((name, pa.string()) for name in OWN),
    ]
)


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is empty, or holds what is left of an index whose making was ended before it had a manifest."""
    return all(one.name == "space-0" or one.name.startswith(".") for one in folder.iterdir())


def check_new(folder: Path) -> None:
    """Raise InputError where an index, or anything else, lies at `folder`."""
    if folder.exists() and not (folder.is_dir() and is_unfinished(folder)):
        raise InputError(f"{folder} exists: open it, or choose another name")


def rows_file(folder: Path, manifest: Manifest) -> Path:
    """The table of rows."""
    return folder / f"rows-{manifest.generation}.arrow"


def vectors_file(folder: Path, manifest: Manifest, space: int) -> Path:
    """The vectors of a space."""
    return folder / f"vectors-{manifest.generation}-{space}.{SUFFIX[manifest.dtype]}"


def space_folder(folder: Path, space: int) -> Path:
    """What is known of a space."""
    return folder / f"space-{space}"


def write_space(folder: Path, number: int, described: str) -> None:
    """Write down what is known of the space with this number."""
    (inside := space_folder(folder, number)).mkdir(exist_ok=True)
    with write_aside(inside / "space.json") as file:
        file.write(described.encode())


def read_space(folder: Path, number: int, fingerprint: str) -> Space:
    """The space with this number. Raises InputError where its file is missing, damaged or of another space."""
    path = space_folder(folder, number) / "space.json"
    try:
        found = Space.from_json(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: nothing says which encoder the vectors in {folder} are of") from error
    if found.fingerprint != fingerprint:
        raise InputError(f"{path} is of the space {found.fingerprint}, and the vectors are of {fingerprint}")
    return found


def vector_bytes(manifest: Manifest, space: int, dimensions: int) -> int:
    """Bytes of a space's vectors that count."""
    return manifest.counts[space] * dimensions * np.dtype(manifest.dtype).itemsize


def read_rows(folder: Path, manifest: Manifest, before: tuple[pa.Table, int] | None = None) -> pa.Table | None:
    """All records, memory-mapped; None where none was ever written. Raises InputError where the file is cut short.

    `before` is what an earlier version of the same generation had, and its bytes: only what follows is read then.
    """
    if not manifest.row_bytes:
        return None
    path = rows_file(folder, manifest)
    check_size(path, manifest.row_bytes)
    with pa.memory_map(str(path)) as mapped:
        whole = mapped.read_buffer(manifest.row_bytes)
        try:
            if before is None:
                return pa.ipc.open_stream(whole).read_all()
            held, start = before
            with pa.BufferReader(whole.slice(start)) as rest:
                fresh = []
                while start + rest.tell() < manifest.row_bytes:
                    fresh.append(pa.ipc.read_record_batch(pa.ipc.read_message(rest), held.schema))
            return pa.concat_tables([held, pa.Table.from_batches(fresh, held.schema)])
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise InputError(f"{path} is damaged: {' '.join(str(error).split())[:120]}") from error


def read_vectors(folder: Path, manifest: Manifest, space: int, dimensions: int) -> NDArray[Any]:
    """(M, D) all vectors of a space, memory-mapped. Raises InputError where the file is cut short."""
    count = manifest.counts[space]
    if not count:
        return np.empty((0, dimensions), manifest.dtype)
    path = vectors_file(folder, manifest, space)
    check_size(path, vector_bytes(manifest, space, dimensions))
    return np.memmap(path, np.dtype(manifest.dtype).newbyteorder("<"), "r", shape=(count, dimensions))


def check_size(path: Path, needed: int) -> None:
    """Raise InputError where a file holds fewer bytes than count; FileNotFoundError where there is none."""
    found = path.stat().st_size
    if found < needed:
        raise InputError(
            f"{path} is cut short: {found:,} of {needed:,} bytes are there; `likewise doctor {path.parent}` says what "
            "is left"
        )


def append(path: Path, start: int, parts: Iterator[bytes | memoryview]) -> int:
    """Write after the first `start` bytes of a file, flush it to the disk, and return its new length.

    Raises DiskFull, after which the file has its old length again.
    """
    try:
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(start)
            file.seek(start)
            try:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
                return file.tell()
            except OSError:
                _shorten(file, start)
                raise
    except OSError as error:
        full = no_room(error)
        if full is None or isinstance(error, DiskFull):
            raise
        raise DiskFull(
            f"{path} could not be written: {full.strerror}; what the index held before is untouched"
        ) from error


def _shorten(file: IO[bytes], start: int) -> None:
    with contextlib.suppress(OSError):
        file.truncate(start)


def batch_bytes(schema: pa.Schema, table: pa.Table, *, first: bool) -> bytes:
    """A table as messages of an Arrow stream, after those that are there."""
    sink = pa.BufferOutputStream()
    if first:
        sink.write(schema.serialize())
    for batch in table.combine_chunks().to_batches():
        sink.write(batch.serialize())
    return bytes(sink.getvalue().to_pybytes())


def parts(matrix_MD: NDArray[Any], places: NDArray[np.int64]) -> Iterator[memoryview]:
    """The bytes of some vectors, a bounded number at a time."""
    for start in range(0, len(places), _COPIED):
        yield np.ascontiguousarray(matrix_MD[places[start : start + _COPIED]]).data.cast("B")
