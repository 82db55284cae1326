"""Tables of vectors by image name, from any encoder.

Parquet: a column of names (`id`, `name`, `path`, `file`, `file_name` or `image_id`) and a column of vectors
(`embedding`, `embeddings`, `features`, `vector` or `vectors`). .npz: arrays called alike. .npy: vectors alone, one for
each image in the order of the data. Shapes: N images of the data, M rows, F numbers of a vector.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, unknown
from likewise.files import write_aside

ENDINGS = (".parquet", ".npz", ".npy")
NAMES = ("id", "ids", "name", "names", "path", "paths", "file", "file_name", "filename", "image_id")
VECTORS = ("embedding", "embeddings", "feature", "features", "vector", "vectors")
_CHECKED = 1 << 16


class Table(NamedTuple):
    """Vectors of images."""

    names: tuple[str, ...] | None
    """(M,) whose they are, none of them twice; None where they are in the order of the data."""
    rows: NDArray[Any]
    """(M, F) finite numbers."""

    def at(self, names: Sequence[str]) -> NDArray[np.int64]:
        """(N,) row of each of `names`, -1 for those that have none. Raises InputError for rows without names."""
        if self.names is None:
            raise InputError(f"the table of vectors has no names: a column called {NAMES[0]!r} says whose each is")
        row = {name: number for number, name in enumerate(self.names)}
        return np.array([row.get(name, -1) for name in names], np.int64)


def is_table(path: str | Path) -> bool:
    """Whether a path has the ending of a table of vectors."""
    return str(path).lower().endswith(ENDINGS)


def read_table(path: str | Path) -> Table:
    """The vectors in a file. Raises InputError where it is missing, damaged, of another form, or names an image twice.

    Columns or arrays beside the two are passed over. A file that was read last is kept until it changes.
    """
    path = Path(path)
    if (path / "manifest.json").is_file():
        raise InputError(
            f"{path} is an index: `likewise embed ENCODER DATA --to vectors.npz` writes a table of vectors"
        )
    if not is_table(path):
        raise unknown("table of vectors", path.suffix or path.name, ENDINGS)
    if not path.is_file():
        raise InputError(f"there is no table of vectors {path}")
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: Path, _modified: int) -> Table:
    try:
        if path.suffix.lower() == ".npy":
            return Table(None, _vectors(path, np.load(path, mmap_mode="r", allow_pickle=False)))
        found = _npz(path) if path.suffix.lower() == ".npz" else _parquet(path)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no table that can be read: {' '.join(str(error).split())}") from error
    names, rows = (_first(found, allowed) for allowed in (NAMES, VECTORS))
    if rows is None:
        raise InputError(f"{path} has no vectors, but {', '.join(found) or 'nothing'}: one of {', '.join(VECTORS)}")
    rows = _vectors(path, rows)
    if names is None:
        return Table(None, rows)
    if len(names) != len(rows):
        raise InputError(f"{path} has {len(names)} names and {len(rows)} vectors: one each is needed")
    texts = tuple(str(name) for name in names.tolist())
    if len(set(texts)) < len(texts):
        seen: set[str] = set()
        twice = next(name for name in texts if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"{path} holds {twice!r} twice: one vector an image is needed")
    return Table(texts, rows)


def write_table(path: str | Path, names: Sequence[str], vectors_MF: NDArray[np.floating[Any]]) -> None:
    """Write a `.npz` that `read_table` takes, all or nothing."""
    with write_aside(Path(path)) as file:
        np.savez(file, id=np.array(names, dtype=np.str_), vectors=np.asarray(vectors_MF, np.float32))


def places(table: Table, names: Sequence[str], *, what: str) -> NDArray[np.int64]:
    """(N,) the row of each image. Raises InputError, naming the first, where the table lacks images.

    Images are looked for by their whole name, then by the name of the file, then without its ending. InputError, too,
    where several rows go by the shortened name of an image.
    """
    if table.names is None:
        if len(table.rows) != len(names):
            raise InputError(
                f"{what} holds {len(table.rows):,} vectors without names, and there are {len(names):,} images: "
                f"a column called {NAMES[0]!r} says whose each is"
            )
        return np.arange(len(names), dtype=np.int64)
    for shorten in _SHORTER:
        if _lacking(table.names, names, shorten) or len({shorten(name) for name in names}) < len(set(names)):
            continue
        known: dict[str, int] = {}
        twice: dict[str, int] = {}
        for row, name in enumerate(table.names):
            if known.setdefault(shorten(name), row) != row:
                twice[shorten(name)] = row
        if (of_several := next((name for name in names if shorten(name) in twice), None)) is not None:
            one, other = (table.names[rows[shorten(of_several)]] for rows in (known, twice))
            raise InputError(f"{what} does not say whether {one!r} or {other!r} is {of_several!r}: name it so there")
        return np.array([known[shorten(name)] for name in names], dtype=np.int64)
    best = min((_lacking(table.names, names, shorten) or list(names) for shorten in _SHORTER), key=len)
    held = f"its first name is {table.names[0]!r}" if table.names else "it is empty"
    raise InputError(f"{what} lacks {len(best):,} of {len(names):,} images, the first {best[0]!r}; {held}")


def lacking(table: Table, names: Sequence[str]) -> int:
    """How many of the images the table lacks, by the kind of name that it has most of."""
    if table.names is None:
        return abs(len(names) - len(table.rows))
    return min(len(_lacking(table.names, names, shorten)) for shorten in _SHORTER)


def _lacking(held: Sequence[str], names: Sequence[str], shorten: Callable[[str], str]) -> list[str]:
    known = {shorten(name) for name in held}
    return [name for name in names if shorten(name) not in known]


def _file(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).stem


_SHORTER: tuple[Callable[[str], str], ...] = (str, _file, _stem)
"""What names are compared by, one after the other."""


def _first(found: Mapping[str, NDArray[Any]], allowed: Sequence[str]) -> NDArray[Any] | None:
    return next((found[name] for name in allowed if name in found), None)


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name in NAMES + VECTORS}


def _parquet(path: Path) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        wanted = [name for name in pq.read_schema(path).names if name in NAMES + VECTORS]
        table = pq.read_table(path, columns=wanted)
    except pa.ArrowException as error:
        raise InputError(f"{path} is no Parquet file that can be read: {' '.join(str(error).split())}") from error
    found: dict[str, NDArray[Any]] = {}
    for name in wanted:
        column = table[name].combine_chunks()
        if name in VECTORS and not pa.types.is_nested(column.type):
            raise InputError(f"{path}: the column {name!r} holds {column.type}, and vectors are lists of numbers")
        if name in VECTORS:
            flat = column.flatten().to_numpy(zero_copy_only=False)
            if column.null_count or not len(column) or len(flat) % len(column):
                raise InputError(f"{path}: the vectors of {name!r} are not all of one length")
            found[name] = flat.reshape(len(column), -1)
        else:
            found[name] = np.asarray(column.to_pylist(), dtype=object)
    return found


def _vectors(path: Path, rows: NDArray[Any]) -> NDArray[Any]:
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds {rows.dtype} of shape {rows.shape}: numbers of shape (images, length) are needed"
        )
    for start in range(0, len(rows), _CHECKED):  # a piece at a time: the file may be larger than the memory
        bad_B = ~np.isfinite(rows[start : start + _CHECKED]).all(1)
        if bad_B.any():
            raise InputError(f"{path} holds numbers that are not finite (first: row {start + int(bad_B.argmax())})")
    return rows
