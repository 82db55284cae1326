"""The images of a data set that remain to be embedded, and their embedding: here, or by a cluster."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data import Source, cached_side
from likewise.data.source import Broken
from likewise.encoders import Encoder
from likewise.encoders.embedding import BATCH, rows, view_of
from likewise.errors import InputError
from likewise.index.embedding.columns import MetadataTable
from likewise.index.embedding.on_ray import Cluster
from likewise.index.embedding.streaming import ImageFacts, ImagePlace, Looked, Stream, place_of
from likewise.index.index import Index
from likewise.index.stores.local import LocalStore
from likewise.index.stores.protocol import Rows

Progress = Callable[[int, int], None]
COMMIT_ROWS, COMMIT_SECONDS = 4096, 20.0
"""What was embedded is written for good after so many rows or seconds; a process that is killed loses no more."""
WASTE = 0.2
"""Share of an index that may be replaced vectors before its files are written anew."""


class EmbedCounts(NamedTuple):
    """Counts of a call."""

    embedded: int
    skipped: int
    removed: int
    broken: tuple[Broken, ...]


class _Known(NamedTuple):
    """What the index knows of a row."""

    stamp: str
    bytes: str
    pixels: str
    source: str
    current: bool
    """Whether its vector is of the encoder's space; in an upgrade that is not finished, some are of the one before."""


class Work:
    """One call: what has to be embedded, and embedding it."""

    def __init__(
        self,
        index: Index,
        number: int,
        encoder: Encoder,
        source: Source,
        ids: Sequence[str],
        table: MetadataTable | None,
        address: str,
        cluster: Cluster | None = None,
    ) -> None:
        self.index, self.number, self.encoder, self.source = index, number, encoder, source
        self.table, self.address, self.cluster = table, address, cluster
        self.side = cached_side(encoder.spec.image_size)
        self.ids = ids

    def run(
        self,
        positions: NDArray[np.int64],
        others: Sequence[Index],
        *,
        batch_size: int,
        bf16: bool,
        progress: Progress | None,
        removing: bool,
    ) -> EmbedCounts:
        """Embed what is missing among `positions`; rows of `others` count as there."""
        space = self.index.spaces[self.number]
        known = self._known(others[0], others[0].number_of(space)) if others else {}
        own = self._known(self.index, self.number)
        known.update(own)
        self._settle_ids(known)
        with Stream(self.source, self.side) as stream:
            wanted = self._wanted(stream, positions, known)
            unseen = len(stream.broken)
            passed = set(positions.tolist()) - set(wanted.tolist()) - set(stream.broken)
            self._give_columns([one for one in sorted(passed) if self.ids[one] in own])
            embedded = self._embed(stream, wanted, batch_size, bf16, progress)
            broken = dict(sorted(stream.broken.items()))
        if len(broken) == len(positions) and len(positions):
            first = next(iter(broken.values()))
            raise InputError(
                f"none of the {len(broken):,} images of {self.source.name} can be read, the first {first.name} "
                f"({first.reason})"
            )
        removed = self._remove(own, broken) if removing else 0
        store = self.index.store
        if isinstance(store, LocalStore):
            store.commit(sources={**store.manifest.sources, self.address: self.source.fingerprint})
            if sum(store.manifest.counts) - len(store) > WASTE * max(1, len(store)):
                store.compact()
        return EmbedCounts(embedded, len(positions) - len(wanted) - unseen, removed, tuple(broken.values()))

    @staticmethod
    def _known(index: Index, number: int) -> dict[str, _Known]:
        """Rows of an index by id; `number` is the encoder's space in it."""
        table = index.store.table()
        columns = (table[name].to_pylist() for name in ("id", "stamp", "bytes", "pixels", "source", "version"))
        return {
            id_: _Known(stamp, size, pixels, source, version == number)
            for id_, stamp, size, pixels, source, version in zip(*columns, strict=True)
        }

    def _settle_ids(self, known: Mapping[str, _Known]) -> None:
        """Ids that rows of other data have are put behind the name of this data, with a number where that is taken."""
        given, name = set(self.ids), self.source.name
        others = {one for one, row in known.items() if row.source != self.address}

        def settled(one: str) -> str:
            names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
            free = (f"{name}/{one}" for name in names)
            return next(found for found in free if found not in others and found not in given)

        self.ids = [settled(one) if one in others else one for one in self.ids]

    def _wanted(self, stream: Stream, positions: NDArray[np.int64], known: Mapping[str, _Known]) -> NDArray[np.int64]:
        """Positions of images that are new, or have other content than their row."""
        wanted, doubtful = [], []
        for position in positions.tolist():
            row = known.get(self.ids[position])
            if row is None or not row.current:
                wanted.append(position)
            elif row.stamp != place_of(self.source, position).stamp:
                doubtful.append(position)
        for start in range(0, len(doubtful), BATCH):
            some = doubtful[start : start + BATCH]
            for position, facts in zip(some, stream.look(some), strict=True):
                row = known[self.ids[position]]
                if facts is not None and (not facts.bytes or facts.bytes != row.bytes) and facts.pixels != row.pixels:
                    wanted.append(position)
        return np.array(sorted(wanted), np.int64)

    def _embed(
        self, stream: Stream, wanted: NDArray[np.int64], batch_size: int, bf16: bool, progress: Progress | None
    ) -> int:
        """Embed the images at `wanted` and write their rows; returns how many could be read."""
        if not len(wanted):
            return 0
        if self.cluster is None:
            found = self._here(stream, wanted, batch_size, bf16)
        else:
            found = self.cluster.embedded(self.encoder, wanted, batch_size=batch_size, bf16=bf16)
        total, seen, pending = 0, 0, _Pending()
        with contextlib.closing(found):
            for looked in found:
                for position, vector, facts in zip(looked.positions, looked.vectors, looked.facts, strict=True):
                    if facts is not None:
                        pending.add(position, facts, vector)
                stream.broken |= {one: Broken(self.source.names[one], why) for one, why in looked.broken.items()}
                if pending.due():
                    total += self._write(pending)
                    pending = _Pending()
                seen += len(looked.positions)
                if progress is not None:
                    progress(seen, len(wanted))
        return total + self._write(pending)

    def _here(
        self, stream: Stream, wanted: NDArray[np.int64], batch_size: int, bf16: bool
    ) -> Generator[Looked, None, None]:
        """What the encoder makes of the images at `wanted`, in this process."""
        where = next(self.encoder.parameters()).device

        def autocast() -> torch.autocast:
            return torch.autocast(where.type, torch.bfloat16, enabled=bf16)

        found = rows(self.encoder, stream, wanted, view_of(self.encoder.spec), batch_size, autocast=autocast)
        with contextlib.closing(found):  # type: ignore[type-var]  # a generator
            for start, rows_BF in found:
                positions = wanted[start : start + len(rows_BF)].tolist()
                facts = [stream.facts.pop(position, None) for position in positions]
                yield Looked(positions, rows_BF.float().cpu().numpy(), facts, {})

    def _write(self, pending: _Pending) -> int:
        """Put rows into the index for good."""
        if not pending.positions:
            return 0
        places: list[ImagePlace] = [place_of(self.source, position) for position in pending.positions]
        facts = {
            "path": [place.path for place in places],
            "bytes": [one.bytes for one in pending.facts],
            "pixels": [one.pixels for one in pending.facts],
            "stamp": [one.stamp for one in pending.facts],
            "source": [self.address] * len(places),
        }
        columns = {"label": [None] * len(places), "split": [place.split or None for place in places]}
        columns |= self._given(pending.positions)
        vectors = np.stack(pending.vectors)
        ids = [self.ids[position] for position in pending.positions]
        self.index.store.write(Rows(ids=ids, vectors_ND=vectors, facts=facts, columns=columns), self.number)
        return len(ids)

    def _given(self, positions: Sequence[int]) -> dict[str, Any]:
        """The labels and columns of images, where this call names any."""
        labels = {} if self.source.labels is None else {"label": [self._label(position) for position in positions]}
        return labels if self.table is None else {**labels, **self.table.at(positions)}

    def _label(self, position: int) -> str | None:
        labels, names = self.source.labels, self.source.class_names
        if labels is None or labels[position] < 0:
            return None
        value = int(labels[position])
        return names[value] if names is not None and value < len(names) else str(value)

    def _give_columns(self, passed: Sequence[int]) -> None:
        """Write the rows of images that are passed over once more where this call names other labels or columns."""
        named = self._given(passed) if passed else {}
        if not named:
            return
        given = {name: values if isinstance(values, list) else values.to_pylist() for name, values in named.items()}
        table = self.index.store.table()
        row_of = {one: row for row, one in enumerate(table["id"].to_pylist())}
        row_N = np.array([row_of[self.ids[position]] for position in passed], np.int64)
        held = {name: table[name].take(row_N).to_pylist() for name in given if name in table.column_names}
        before = list(zip(*(held.get(name, [None] * len(passed)) for name in given), strict=True))
        others = [
            at
            for at, values in enumerate(zip(*given.values(), strict=True))
            if values != before[at] and [*map(str, values)] != [*map(str, before[at])]
        ]
        unit_ND, place_N = self.index.vectors(self.number), np.cumsum(table["version"].to_numpy() == self.number) - 1
        for start in range(0, len(others), COMMIT_ROWS):
            some = others[start : start + COMMIT_ROWS]
            rows = Rows.of(table.take(row_N[some]), unit_ND[place_N[row_N[some]]])
            rows.columns = {**rows.columns, **{name: [values[at] for at in some] for name, values in given.items()}}
            self.index.store.write(rows, self.number)

    def _remove(self, known: Mapping[str, _Known], broken: Collection[int]) -> int:
        """Take out rows of this data whose images are not in it any more, or cannot be read any more."""
        there = {one for position, one in enumerate(self.ids) if position not in broken}
        gone = [one for one, row in known.items() if row.source == self.address and one not in there]
        self.index.remove(gone)
        return len(gone)


class _Pending:
    """Rows that are not written yet."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.facts: list[ImageFacts] = []
        self.vectors: list[NDArray[np.float32]] = []
        self._since = time.monotonic()

    def add(self, position: int, facts: ImageFacts, vector: NDArray[np.float32]) -> None:
        """One more row."""
        self.positions.append(position)
        self.facts.append(facts)
        self.vectors.append(vector)

    def due(self) -> bool:
        """Whether they should be written now."""
        return len(self.positions) >= COMMIT_ROWS or time.monotonic() - self._since > COMMIT_SECONDS
