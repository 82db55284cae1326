"""One version of an index folder, as read by a reader."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from likewise.index.space import Space
from likewise.index.stores import files
from likewise.index.stores.graph import Beside, Graph
from likewise.index.stores.manifest import Manifest
from likewise.index.where import Condition, mask

_FEW = 100
"""Texts that are read one by one; more of them by pieces."""
_LOOKED_THROUGH = 3
"""Ids that are looked for among all texts before a table of them is made."""


class TextColumn(NamedTuple):
    """Ids and paths, in pieces as they were written, so that one can be read without putting them together."""

    starts: NDArray[np.int64]
    """Place of the first record of each piece."""
    ids: list[Any]
    paths: list[Any]


class IndexVersion:
    """One version of an index, read when it is first needed. Files it has mapped stay whatever a writer does.

    `before` is an earlier version, of which is taken over what is still so.
    """

    def __init__(self, folder: Path, manifest: Manifest, before: IndexVersion | None = None) -> None:
        self.folder, self.manifest = folder, manifest
        self._rows: tuple[pa.Table, int] | None = None
        self._graphs: dict[str, Graph] = {}
        self._newest_of: tuple[dict[str, int], int] | None = None
        self._lookups = 0
        if before is None or (before.manifest.made, before.manifest.generation) != (manifest.made, manifest.generation):
            return
        held = vars(before)
        if "raw" in held and 0 < before.manifest.row_bytes <= manifest.row_bytes:
            self._rows = before.raw, before.manifest.row_bytes
        if "graphs" in held:
            self._graphs = {graph.file: graph for graph in before.graphs.values()}
        if "spaces" in held and before.manifest.spaces == manifest.spaces:
            self.spaces = before.spaces
        self._lookups = before._lookups
        if "newest_of" in held and self._rows is not None:
            self._newest_of = before.newest_of, len(before.raw)

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """All spaces, oldest first."""
        return tuple(files.read_space(self.folder, *pair) for pair in enumerate(self.manifest.spaces))

    @cached_property
    def raw(self) -> pa.Table:
        """All records that were ever written, in that order."""
        found = files.read_rows(self.folder, self.manifest, self._rows)
        self._rows = None
        return files.BASE.empty_table() if found is None else found

    @cached_property
    def newest(self) -> NDArray[np.int64]:
        """(next row,) place among the records of the newest of each row, -1 where the row was removed."""
        last = np.full(self.manifest.next_row, -1, np.int64)
        last[self.raw["row"].to_numpy()] = np.arange(len(self.raw))
        there = np.flatnonzero(last >= 0)
        last[there[self.raw["space"].to_numpy()[last[there]] == files.GONE]] = -1
        return last

    @cached_property
    def alive(self) -> NDArray[np.int64]:
        """(N,) place among the records of each row that is there, in the order of row numbers."""
        return np.arange(len(self.raw)) if self.manifest.plain else self.newest[self.newest >= 0]

    @cached_property
    def records(self) -> pa.Table:
        """(N,) the newest record of each row that is there, in the order of row numbers."""
        return self.raw if self.manifest.plain else self.raw.take(pa.array(self.alive))

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
        space, at = self.raw["space"].to_numpy(), self.raw["at"].to_numpy()
        return (space, at) if self.manifest.plain else (space[self.alive], at[self.alive])

    @cached_property
    def held(self) -> tuple[int, ...]:
        """Spaces that rows are of, oldest first."""
        if len(self.manifest.spaces) == 1:
            return (0,) if self.manifest.live else ()
        return tuple(np.flatnonzero(np.bincount(self.at[0], minlength=1)).tolist())

    @cached_property
    def straight(self) -> bool:
        """Whether the record of a vector has the vector's own place."""
        return self.manifest.plain and len(self.manifest.spaces) == 1

    @cached_property
    def record_of(self) -> tuple[NDArray[np.int64], ...]:
        """(M,) of each space: the record that a vector belongs to, -1 where it is replaced or removed."""
        space_N, at_N = self.at
        found = []
        for number, matrix in enumerate(self.matrices):
            records = np.full(len(matrix), -1, np.int64)
            of = space_N == number
            records[at_N[of]] = self.alive[of]
            found.append(records)
        return tuple(found)

    def dead(self, space: int) -> NDArray[np.bool_] | None:
        """(M,) whether a vector of a space is replaced or removed; None where none is."""
        return None if self.straight else self.record_of[space] < 0

    def places(self, space: int, where: Condition | None) -> NDArray[np.int64] | None:
        """Places of a space that may be found, rising; None for all."""
        if where is None:
            dead = self.dead(space)
            return None if dead is None or not dead.any() else np.flatnonzero(~dead)
        space_N, at_N = self.at
        wanted = np.asarray(mask(where, self.raw).to_numpy())[self.alive] & (space_N == space)
        return np.sort(at_N[wanted])

    @cached_property
    def graphs(self) -> dict[int, Graph]:
        """The graph of each space that has one."""
        return {
            int(number): self._graphs.get(facts["file"]) or Graph(self.folder, **facts)
            for number, facts in self.manifest.graphs.items()
        }

    @cached_property
    def beside(self) -> dict[int, Beside]:
        """What a search by each graph has to know of vectors that it lacks, or that are none any more."""
        return {
            number: Beside.of(graph, len(self.matrices[number]), self.dead(number))
            for number, graph in self.graphs.items()
        }

    @cached_property
    def texts(self) -> TextColumn:
        """Ids and paths of all records."""
        ids, paths = self.raw["id"].chunks, self.raw["path"].chunks
        return TextColumn(np.cumsum([0, *map(len, ids)])[:-1].astype(np.int64), ids, paths)

    def taken(self, records: NDArray[np.int64]) -> pa.Table:
        """Some records, in the order they are named; only the pieces they lie in are looked at."""
        batches = self.raw.to_batches()
        starts = np.cumsum([0, *map(len, batches)])[:-1]
        pieces = np.searchsorted(starts, records, side="right") - 1
        order = np.argsort(pieces, kind="stable")
        parts = [
            batches[piece].take(pa.array(records[order][pieces[order] == piece] - starts[piece]))
            for piece in np.unique(pieces).tolist()
        ]
        return pa.Table.from_batches(parts, self.raw.schema).take(pa.array(np.argsort(order)))

    def named(self, records: NDArray[np.int64]) -> list[tuple[str, str]]:
        """Id and path of some records."""
        starts, ids, paths = self.texts
        pieces = np.searchsorted(starts, records, side="right") - 1
        within = records - starts[pieces]
        if len(records) < _FEW:
            return [
                (ids[piece][at].as_py(), paths[piece][at].as_py() or "")
                for piece, at in zip(pieces.tolist(), within.tolist(), strict=True)
            ]
        found = np.empty((2, len(records)), object)
        order = np.argsort(pieces, kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(pieces[order])) + 1):
            chosen = pa.array(within[some])
            for number, texts in enumerate((ids, paths)):
                found[number, some] = texts[pieces[some[0]]].take(chosen).to_numpy(zero_copy_only=False)
        return [(id_, path or "") for id_, path in found.T.tolist()]

    @cached_property
    def newest_of(self) -> dict[str, int]:
        """The newest record of each id; that of an earlier version, with what came since."""
        found, known = ({}, 0) if self._newest_of is None else self._newest_of
        self._newest_of = None
        for start, ids in zip(self.texts.starts.tolist(), self.texts.ids, strict=True):
            if start >= known:
                found.update(zip(ids.to_pylist(), range(start, start + len(ids)), strict=True))
        return found

    def record(self, row: str) -> int | None:
        """The newest record of the row with this id; None where there is none.

        The texts are looked through for the first few, and by a table from then on, which takes its time to be made.
        """
        self._lookups += 1
        found = self.newest_of.get(row, -1) if self._lookups > _LOOKED_THROUGH else self._looked_through(row)
        if found >= len(self.raw):  # a later version has gone on with the same table meanwhile
            found = self._looked_through(row)
        return found if found >= 0 and self.raw["space"][found].as_py() != files.GONE else None

    def _looked_through(self, row: str) -> int:
        """The newest record of this id, -1 for none."""
        for start, ids in zip(self.texts.starts[::-1].tolist(), reversed(self.texts.ids), strict=True):
            within = pc.index(ids, row).as_py()
            if within >= 0:
                return int(start + within)
        return -1
