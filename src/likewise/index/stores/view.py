"""One version of an index folder, as a reader sees it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from likewise.index.space import Space
from likewise.index.stores import files
from likewise.index.stores.graph import Graph
from likewise.index.stores.manifest import Manifest
from likewise.index.where import Condition, mask


class View:
    """One version of an index, read when it is first needed. Files it has mapped stay whatever a writer does."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """All spaces, oldest first."""
        return tuple(files.read_space(self.folder, *pair) for pair in enumerate(self.manifest.spaces))

    @cached_property
    def records(self) -> pa.Table:
        """(N,) the newest record of each row that is there, in the order of row numbers."""
        found = files.read_rows(self.folder, self.manifest)
        if found is None:
            return files.BASE.empty_table()
        if self.manifest.plain:
            return found
        last = np.full(self.manifest.next_row, -1, np.int64)
        last[found["row"].to_numpy()] = np.arange(len(found))
        kept = last[last >= 0]
        return found.take(pa.array(kept[found["space"].to_numpy()[kept] != files.GONE]))

    @cached_property
    def matrices(self) -> tuple[NDArray[Any], ...]:
        """(M, D) of each space: all vectors that were ever written, in that order."""
        return tuple(
            files.read_vectors(self.folder, self.manifest, number, space.dimensions)
            for number, space in enumerate(self.spaces)
        )

    @cached_property
    def at(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """(N,) space and place in its matrix of each row."""
        return self.records["space"].to_numpy(), self.records["at"].to_numpy()

    @cached_property
    def row_of(self) -> tuple[NDArray[np.int64], ...]:
        """(M,) of each space: the row that a vector belongs to, -1 where it is replaced or removed."""
        space_N, at_N = self.at
        found = []
        for number, matrix in enumerate(self.matrices):
            rows = np.full(len(matrix), -1, np.int64)
            of = np.flatnonzero(space_N == number)
            rows[at_N[of]] = of
            found.append(rows)
        return tuple(found)

    def places(self, space: int, where: Condition | None) -> NDArray[np.int64] | None:
        """Places of a space that may be found, rising; None for all."""
        if where is None and self.manifest.plain and len(self.matrices) == 1:
            return None
        rows = self.row_of[space]
        allowed = rows >= 0
        if where is not None:
            wanted = np.asarray(mask(where, self.records).to_numpy())
            allowed[allowed] = wanted[rows[allowed]]
        return None if allowed.all() else np.flatnonzero(allowed)

    @cached_property
    def graphs(self) -> dict[int, Graph]:
        """The graph of each space that has one."""
        return {int(number): Graph(self.folder, **facts) for number, facts in self.manifest.graphs.items()}
