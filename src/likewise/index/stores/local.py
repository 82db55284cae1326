"""The store in a folder of this machine: memory-mapped files, one writer, any number of readers."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from likewise.data.caching.locking import exclusive
from likewise.errors import InputError, unknown
from likewise.index.space import Space
from likewise.index.stores import files
from likewise.index.stores import manifest as manifests
from likewise.index.stores.columns import column, fitting, schema_of
from likewise.index.stores.graph import LEAST_ALIVE, graph_nearest
from likewise.index.stores.kept import InFolder, Kept
from likewise.index.stores.manifest import Manifest
from likewise.index.stores.protocol import OWN, Hit, Hits, Row, Rows, unit_rows
from likewise.index.stores.scan import top
from likewise.index.stores.view import IndexVersion
from likewise.index.where import Condition

T = TypeVar("T")


class LocalStore:
    """An index folder. Raises InputError where it is none, damaged, or of a newer format."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.kept: Kept = InFolder(self.path)
        self.view = IndexVersion(self.path, manifests.read(self.path))
        self._local = threading.RLock()
        self._holding = 0
        self._seen: tuple[int, ...] | None = None
        """What the file of the manifest was like when it was last read."""
        self._numbers: dict[str, int] | None = None
        """Row number of each id, while this is the writer."""

    @classmethod
    def create(cls, path: Path, space: Space, *, dtype: str = "float32") -> LocalStore:
        """A new, empty folder. Raises InputError where something is there already."""
        if dtype not in files.SUFFIX:
            raise unknown("dtype", dtype, files.SUFFIX)
        path = Path(path)
        files.check_new(path)
        path.mkdir(parents=True, exist_ok=True)
        with exclusive(path / ".lock", f"{path}", wait=False):
            files.check_new(path)  # another process may have made it, and have written to it, meanwhile
            files.write_space(path, 0, space.to_json())
            Manifest(made=uuid.uuid4().hex, dtype=dtype, counts=(0,), spaces=(space.fingerprint,)).write(path)
        return cls(path)

    # Reading ---------------------------------------------------------------------------------------------------

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.path)

    @property
    def manifest(self) -> Manifest:
        """Of the version that is looked at."""
        return self.view.manifest

    @property
    def version(self) -> str:
        """Another with every change, and of another folder in the place of this one."""
        return self.manifest.state

    @property
    def spaces(self) -> tuple[Space, ...]:
        """All of them, oldest first."""
        return self.view.spaces

    def __len__(self) -> int:
        return self.manifest.live

    def refresh(self) -> bool:
        """Look at the newest version, and say whether it is another one."""
        stamp = manifests.stamp(self.path)
        if stamp is not None and stamp == self._seen:
            return False
        found = manifests.read(self.path)
        self._seen = stamp
        if found.state == self.version:
            return False
        self.view = IndexVersion(self.path, found, self.view)
        return True

    def table(self) -> pa.Table:
        """All rows: id, facts, version, norm, and columns."""
        found = self._reading(lambda view: view.records)
        return found.drop_columns(["row", "at"]).rename_columns({"space": "version"})

    def columns(self) -> dict[str, pa.DataType]:
        """Columns that conditions may name."""
        schema = self._reading(lambda view: view.raw).schema
        hidden = {"row", "space", "at", "norm", "bytes", "pixels", "stamp"}
        return {one.name: one.type for one in schema if one.name not in hidden}

    def vectors(self, space: int | None = None) -> NDArray[np.float32]:
        """(N, D) unit vectors in the order of `table`, memory-mapped where that is possible."""
        return self._reading(lambda view: self._vectors(view, space))

    def _vectors(self, view: IndexVersion, space: int | None) -> NDArray[np.float32]:
        space_N, at_N = view.at
        held = sorted({int(number) for number in np.unique(space_N)}) if space is None else [space]
        if len({view.spaces[number].dimensions for number in held}) > 1:
            widths = " and ".join(str(view.spaces[number].dimensions) for number in held)
            raise InputError(f"{self.where} holds vectors of {widths} dimensions: say which space, 0 is the oldest")
        if len(held) == 1 and view.manifest.plain and len(view.matrices[held[0]]) == len(space_N):
            return np.asarray(view.matrices[held[0]], np.float32)
        rows = np.arange(len(space_N)) if space is None else np.flatnonzero(space_N == space)
        dimensions = view.spaces[held[0] if held else -1].dimensions
        found = np.empty((len(rows), dimensions), np.float32)
        for number in held:
            here = np.flatnonzero(space_N[rows] == number)
            found[here] = view.matrices[number][at_N[rows[here]]]
        return found

    def nearest(
        self, queries_QD: NDArray[np.float32], k: int, *, space: int, where: Condition | None, exact: bool
    ) -> Hits:
        """The k rows of a space most similar to each unit query, by its graph where it has one and `exact` allows."""
        return self._reading(lambda view: self._nearest(view, queries_QD, k, space, where, exact))

    @staticmethod
    def _nearest(
        view: IndexVersion, queries_QD: NDArray[np.float32], k: int, space: int, where: Condition | None, exact: bool
    ) -> Hits:
        matrix, graph = view.matrices[space], view.graphs.get(space)
        recall = 1.0
        usable = graph is not None and not exact and where is None and graph.suits(k)
        if usable and view.beside[space].share >= LEAST_ALIVE:
            assert graph is not None
            similarity_QK, place_QK = graph_nearest(graph, matrix, queries_QD, k, view.beside[space])
            recall = graph.recall
        else:
            usable = False
            similarity_QK, place_QK = top(matrix, queries_QD, k, view.places(space, where))
        there_QK = np.isfinite(similarity_QK)
        place_H = place_QK[there_QK]
        names = view.named(place_H if view.straight else view.record_of[space][place_H])
        hits_of_all = [
            Hit(id_, path, similarity, space)
            for (id_, path), similarity in zip(names, similarity_QK[there_QK].tolist(), strict=True)
        ]
        ends = np.cumsum(there_QK.sum(1)).tolist()
        hits = [hits_of_all[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return Hits(hits, not usable, recall)

    def row(self, row: str) -> Row | None:
        """The row with this id; None where there is none."""

        def look(view: IndexVersion) -> Row | None:
            record = view.record(row)
            if record is None:
                return None
            space, at = (int(view.raw[name][record].as_py()) for name in ("space", "at"))
            path = str(view.raw["path"][record].as_py() or "")
            return Row(path, space, np.array(view.matrices[space][at], np.float32))

        return self._reading(look)

    def held(self) -> tuple[int, ...]:
        """Spaces that rows are of, oldest first."""
        return self._reading(lambda view: view.held)

    def _reading(self, look: Callable[[IndexVersion], T]) -> T:
        """What `look` finds; once more where a writer has written all files anew meanwhile."""
        try:
            return look(self.view)
        except FileNotFoundError as error:
            if not self.refresh():
                raise InputError(f"{error.filename} is missing: the index in {self.path} is not whole") from error
            return look(self.view)

    # Writing ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer. Raises InputError where another process or thread is."""
        if not self._local.acquire(blocking=False):
            raise InputError(f"another thread is writing to {self.path}")
        try:
            if self._holding:
                self._holding += 1
                try:
                    yield
                finally:
                    self._holding -= 1
                return
            with exclusive(self.path / ".lock", f"{self.path}: only one process at a time writes to it", wait=False):
                self._holding = 1
                self._seen = None  # stamps are not certain enough to write by
                self.refresh()
                try:
                    yield
                finally:
                    self._holding, self._numbers = 0, None
        finally:
            self._local.release()

    def numbers(self) -> Mapping[str, int]:
        """Row number of each id, for the writer."""
        if self._numbers is None:
            view = self.view
            ids, rows = (view.raw[name].to_pylist() for name in ("id", "row"))
            self._numbers = {ids[record]: rows[record] for record in view.alive.tolist()}
        return self._numbers

    def add_space(self, space: Space) -> int:
        """Allow vectors of another space; one that is there already keeps its number."""
        with self.writing():
            if space.fingerprint in self.manifest.spaces:
                return self.manifest.spaces.index(space.fingerprint)
            number = len(self.spaces)
            files.write_space(self.path, number, space.to_json())
            self.commit(spaces=(*self.manifest.spaces, space.fingerprint), counts=(*self.manifest.counts, 0))
            return number

    def write(self, rows: Rows, space: int) -> None:
        """Add rows, or replace those of the same id, all or none. Raises InputError for what does not fit, DiskFull."""
        if not len(rows):
            return
        with self.writing():
            self._check_ids(rows.ids)
            numbers = self.numbers()
            given = pa.table({"id": pa.array([str(one) for one in rows.ids], pa.string())})
            for name in OWN:
                facts = rows.facts.get(name)
                given = given.append_column(name, pa.array(facts or [""] * len(rows), pa.string()))
            for name, values in rows.columns.items():
                given = given.append_column(name, column(name, values, len(rows)))
            known = [numbers.get(str(one), -1) for one in rows.ids]
            self._append(given, np.array(known, np.int64), rows.vectors_ND, space)

    def replace(self, ids: Sequence[str], vectors_ND: NDArray[np.floating[Any]], space: int) -> None:
        """Give rows other vectors, of `space`, keeping all else; all or none."""
        if not len(ids):
            return
        with self.writing():
            self._check_ids(ids)
            numbers = self.numbers()
            known = np.array([numbers.get(str(one), -1) for one in ids], np.int64)
            if (known < 0).any():
                lost = str(ids[int(np.flatnonzero(known < 0)[0])])
                raise InputError(f"{self.path} has no row {lost!r} to replace: nothing was written")
            kept = self.view.taken(self.view.newest[known]).drop_columns(["row", "space", "at", "norm"])
            self._append(kept, known, vectors_ND, space)

    def remove(self, ids: Sequence[str]) -> None:
        """Take rows out."""
        with self.writing():
            numbers = self.numbers()
            known = {str(one): numbers[str(one)] for one in ids if str(one) in numbers}
            if not known:
                return
            base = pa.table(
                {
                    "row": pa.array(known.values(), pa.int64()),
                    "space": pa.array([files.GONE] * len(known), pa.int32()),
                    "at": pa.array([-1] * len(known), pa.int64()),
                    "id": pa.array(known, pa.string()),
                }
            )
            self._append_rows(base, counts=self.manifest.counts, live=len(self) - len(known), plain=False)
            for one in known:
                self._numbers.pop(one, None)  # type: ignore[union-attr]

    def commit(self, **changes: Any) -> None:
        """Write the next manifest and look at it. Only for the writer."""
        self._publish(self.manifest.changed(**changes))

    def _publish(self, manifest: Manifest) -> None:
        fresh = IndexVersion(self.path, manifest, self.view)
        fresh.manifest = replace(manifest, held=fresh.held)
        fresh.manifest.write(self.path)
        self.view = fresh

    def _append(
        self, given: pa.Table, known_N: NDArray[np.int64], vectors_ND: NDArray[np.floating[Any]], space: int
    ) -> None:
        """Vectors to their file, records to theirs, and then the manifest."""
        unit_ND, norm_N = unit_rows(vectors_ND, self.where)
        dimensions = self.spaces[space].dimensions
        if unit_ND.shape != (len(given), dimensions):
            raise InputError(
                f"{self.where} holds vectors of {dimensions} dimensions, and {len(given)} rows were given vectors of "
                f"shape {unit_ND.shape}: nothing was written"
            )
        fresh = known_N < 0
        row_N = known_N.copy()
        row_N[fresh] = self.manifest.next_row + np.arange(int(fresh.sum()))
        counts = list(self.manifest.counts)
        at_N = counts[space] + np.arange(len(given), dtype=np.int64)
        content = unit_ND.astype(np.dtype(self.manifest.dtype).newbyteorder("<"))
        start = files.vector_bytes(self.manifest, space, dimensions)
        files.append(files.vectors_file(self.path, self.manifest, space), start, iter([content.data.cast("B")]))
        counts[space] += len(given)
        base = pa.table(
            {
                "row": row_N,
                "space": pa.array(np.full(len(given), space, np.int32)),
                "at": at_N,
                "norm": norm_N,
            }
        )
        for name in given.column_names:
            base = base.append_column(name, given[name])
        self._append_rows(
            base,
            counts=tuple(counts),
            live=len(self) + int(fresh.sum()),
            plain=self.manifest.plain and bool(fresh.all()),
            next_row=self.manifest.next_row + int(fresh.sum()),
        )
        if self._numbers is not None:
            self._numbers.update(zip(given["id"].to_pylist(), row_N.tolist(), strict=True))

    def _append_rows(self, base: pa.Table, **changes: Any) -> None:
        """Records in the schema of the file, which the first ones decide."""
        first = not self.manifest.row_bytes
        schema = schema_of(files.BASE, base) if first else self.view.raw.schema
        strange = [name for name in base.column_names if name not in schema.names]
        if strange:
            raise InputError(
                f"{self.where} has no column {strange[0]!r}: its columns are {', '.join(self.columns())}, as its first "
                "rows had them"
            )
        arrays = [
            fitting(base[field.name], field) if field.name in base.column_names else pa.nulls(len(base), field.type)
            for field in schema
        ]
        content = files.batch_bytes(schema, pa.table(arrays, schema=schema), first=first)
        length = files.append(files.rows_file(self.path, self.manifest), self.manifest.row_bytes, iter([content]))
        self.commit(row_bytes=length, **changes)

    def _check_ids(self, ids: Sequence[str]) -> None:
        seen: set[str] = set()
        for one in ids:
            if str(one) in seen:
                raise InputError(f"the id {str(one)!r} is given twice: nothing was written")
            seen.add(str(one))

    def compact(self) -> None:
        """Write all files anew without what was replaced or removed. Graphs are dropped, since rows move."""
        with self.writing():
            old, view = self.manifest, self.view
            fresh = Manifest(
                made=old.made,
                version=old.version,
                generation=old.generation + 1,
                dtype=old.dtype,
                next_row=len(view.records),
                live=len(view.records),
                spaces=old.spaces,
                sources=old.sources,
            )
            space_N, at_N = view.at
            at_new_N, counts = np.empty_like(at_N), []
            for number, matrix in enumerate(view.matrices):
                rows = np.flatnonzero(space_N == number)
                path = files.vectors_file(self.path, fresh, number)
                files.append(path, 0, files.parts(matrix, at_N[rows]))
                at_new_N[rows] = np.arange(len(rows))
                counts.append(len(rows))
            schema = view.records.schema
            table = view.records
            for name, values in (("row", np.arange(len(table))), ("at", at_new_N)):
                table = table.set_column(schema.names.index(name), name, pa.array(values, pa.int64()))
            length = 0
            if len(table):
                content = files.batch_bytes(schema, table.cast(schema), first=True)
                length = files.append(files.rows_file(self.path, fresh), 0, iter([content]))
            self._publish(fresh.changed(row_bytes=length, counts=tuple(counts)))
            self._numbers = None
            self.sweep()

    def sweep(self) -> None:
        """Remove files that the manifest does not name, such as those of earlier generations."""
        kept = {files.rows_file(self.path, self.manifest).name, *(one["file"] for one in self.manifest.graphs.values())}
        kept |= {files.vectors_file(self.path, self.manifest, space).name for space in range(len(self.spaces))}
        for pattern in ("rows-*.arrow", "vectors-*-*.f*", "graph-*.usearch"):
            for path in self.path.glob(pattern):
                if path.name not in kept:
                    with contextlib.suppress(OSError):  # mapped by a reader, where the system minds: the next time
                        path.unlink()
