"""The protocol of all stores of vectors. Shapes: N rows, D dimensions, Q queries, k hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.index.space import Space
from likewise.index.stores.kept import Kept
from likewise.index.where import Condition

OWN = ("path", "bytes", "pixels", "stamp", "source")
"""Facts of each row beside its id, all of them texts: where the image is, digests of its file and of its pixels, size
and time of the file, and the data it came from."""
RESERVED = frozenset({"id", "row", "space", "at", "norm", "similarity", "version", "vector", *OWN})
"""Names that no column of a person's may have."""


class Hit(NamedTuple):
    """A row that was found."""

    id: str
    path: str
    """Where its image is; empty where that is not known."""
    similarity: float
    """Cosine."""
    version: int
    """Number of the space that its vector is of."""


@dataclass(kw_only=True)
class Rows:
    """Rows to be written, with their vectors."""

    ids: Sequence[str]
    vectors_ND: NDArray[np.floating[Any]]
    """Of any length; stores keep the direction, and the length beside it."""
    facts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of `OWN`; what is left out is empty."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns by name: sequences or Arrow arrays."""

    @classmethod
    def of(cls, table: pa.Table, unit_ND: NDArray[np.float32]) -> Rows:
        """Rows as a store's `table` has them, with all that is known of them, and their unit vectors."""
        return cls(
            ids=table["id"].to_pylist(),
            vectors_ND=unit_ND * np.asarray(table["norm"].to_numpy(), np.float32)[:, None],
            facts={name: table[name].to_pylist() for name in OWN},
            columns={name: table[name] for name in table.column_names if name not in RESERVED},
        )

    def __len__(self) -> int:
        return len(self.ids)


class Hits(NamedTuple):
    """Hits of several queries."""

    hits: list[list[Hit]]
    """For each query, nearest first."""
    exact: bool
    """Whether every vector was compared."""
    recall: float | None = None
    """Share of the true nearest that a search like this finds, as measured; 1 where it is exact."""


class Row(NamedTuple):
    """A row by itself."""

    path: str
    """Where its image is; empty where that is not known."""
    version: int
    """Number of the space that its vector is of."""
    vector: NDArray[np.float32]
    """(D,) of length 1."""


class Store(Protocol):
    """A collection of vectors of one space, or of several while they are replaced."""

    kept: Kept
    """Files beside the rows."""

    @property
    def where(self) -> str:
        """Its address, for people."""
        ...

    @property
    def version(self) -> str:
        """Another with every change of rows and spaces, and of another index in the place of this one."""
        ...

    @property
    def spaces(self) -> tuple[Space, ...]:
        """All of them, oldest first; the number of one is its place here."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def add_space(self, space: Space) -> int:
        """Allow vectors of another space, and return its number."""
        ...

    def write(self, rows: Rows, space: int) -> None:
        """Add rows, or replace those of the same id, all or none."""
        ...

    def replace(self, ids: Sequence[str], vectors_ND: NDArray[np.floating[Any]], space: int) -> None:
        """Give rows other vectors, keeping all else. Raises InputError for ids that are not there."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Take rows out. Ids that are not there are passed over."""
        ...

    def table(self) -> pa.Table:
        """All rows without their vectors: id, `OWN`, version, norm, and columns; in the order they were added."""
        ...

    def vectors(self, space: int | None = None) -> NDArray[np.float32]:
        """(N, D) unit vectors in the order of `table`; of one space only where it is named."""
        ...

    def nearest(
        self, queries_QD: NDArray[np.float32], k: int, *, space: int, where: Condition | None, exact: bool
    ) -> Hits:
        """The k rows of a space most similar to each unit query."""
        ...

    def row(self, row: str) -> Row | None:
        """The row with this id; None where there is none."""
        ...

    def held(self) -> tuple[int, ...]:
        """Numbers of the spaces that rows are of now, oldest first."""
        ...

    def columns(self) -> dict[str, pa.DataType]:
        """Columns that conditions may name, with their types."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Be the only writer meanwhile. Raises InputError where another is."""
        ...


def unit_rows(vectors_ND: NDArray[np.floating[Any]], what: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors and lengths. Raises InputError for what is no table of finite numbers, and for a zero vector.

    A length has to be a number of float32, too.
    """
    rows = np.asarray(vectors_ND)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise InputError(f"vectors for {what} are a table (rows, dimensions) of numbers, not {rows.shape} {rows.dtype}")
    rows = rows.astype(np.float32, copy=False)
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise InputError(f"vectors for {what} are not all finite numbers (first: row {bad}): nothing was written")
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    limits = np.finfo(np.float32)
    if (lengths < limits.tiny).any():  # below, numbers have few digits left
        bad = int(np.flatnonzero(lengths < limits.tiny)[0])
        raise InputError(f"vectors for {what} have no direction (first: row {bad} is zero): nothing was written")
    if (lengths > limits.max).any():
        bad = int(np.flatnonzero(lengths > limits.max)[0])
        raise InputError(f"vectors for {what} are too long (first: row {bad}, {lengths[bad]:.1g}): nothing was written")
    norms = lengths.astype(np.float32)
    return rows / norms[:, None], norms
