"""Tables of vectors by the name of their image: `.npz` (arrays `id` and `vectors`) and `.parquet` (`id`, `vector`).

Shapes: N images, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, unknown
from likewise.files import write_aside

SUFFIXES = (".npz", ".parquet")


class Table(NamedTuple):
    """Vectors that were computed earlier."""

    ids: list[str]
    """N names, none of them twice."""
    vectors: NDArray[np.float32]
    """(N, D)."""

    def at(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Row of each of `names`, -1 for those that have none."""
        row = {name: number for number, name in enumerate(self.ids)}
        return np.array([row.get(name, -1) for name in names], np.int64)


def is_table(path: str | Path) -> bool:
    """Whether a path has the ending of a table of vectors."""
    return Path(path).suffix in SUFFIXES


def read_table(path: str | Path) -> Table:
    """The vectors in a file. Raises InputError where it is missing, damaged, of another form, or names an image twice.

    Columns or arrays beside the two are passed over.
    """
    path = Path(path)
    if not is_table(path):
        raise unknown("table of vectors", path.suffix or path.name, SUFFIXES)
    if not path.is_file():
        raise InputError(f"there is no table of vectors {path}")
    try:
        ids, vectors_ND = (_from_npz if path.suffix == ".npz" else _from_parquet)(path)
    except InputError:
        raise
    except Exception as error:  # numpy, zip and pyarrow have an error of their own for each kind of damage
        raise InputError(f"{path} is no whole table of vectors: {' '.join(str(error).split())}") from error
    if vectors_ND.ndim != 2 or len(vectors_ND) != len(ids) or not len(ids):
        raise InputError(f"{path} holds {len(ids)} ids and vectors of the shape {vectors_ND.shape}: (N, D) is needed")
    if not np.isfinite(vectors_ND).all():
        raise InputError(f"{path} holds vectors that are not finite")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"{path} holds {twice!r} twice: one vector an image is needed")
    return Table(ids, vectors_ND)


def write_table(path: str | Path, ids: Sequence[str], vectors_ND: NDArray[np.float32]) -> None:
    """Write a `.npz` that `read_table` takes, all or nothing."""
    with write_aside(Path(path)) as file:
        np.savez(file, id=np.array(ids, dtype=np.str_), vectors=np.asarray(vectors_ND, np.float32))


def _from_npz(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
        missing = [name for name in ("id", "vectors") if name not in held.files]
        if missing:
            raise InputError(f"{path} has no array {missing[0]!r}: it has {', '.join(held.files) or 'none'}")
        return [str(name) for name in held["id"]], held["vectors"].astype(np.float32)


def _from_parquet(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    missing = [name for name in ("id", "vector") if name not in table.column_names]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}: it has {', '.join(table.column_names)}")
    column = table.column("vector").combine_chunks()
    flat = np.asarray(column.flatten(), np.float32)
    return [str(name) for name in table.column("id").to_pylist()], flat.reshape(len(table), -1)
