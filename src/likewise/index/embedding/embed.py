"""`likewise embed`: the vectors of a data set, each image once, however often the command is ended and given again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data import Source, cached_side
from likewise.data.source import Broken
from likewise.encoders import Encoder
from likewise.encoders.embedding import BATCH, rows, view_of
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Run, open_subject
from likewise.index.embedding.columns import MetadataTable
from likewise.index.embedding.shards import Shard
from likewise.index.embedding.streaming import ImageFacts, Place, Stream, open_whole, place_of
from likewise.index.embedding.targets import opened
from likewise.index.index import Index
from likewise.index.space import Space
from likewise.index.stores.local import LocalStore
from likewise.index.stores.protocol import Rows

Progress = Callable[[int, int], None]
COMMIT_ROWS, COMMIT_SECONDS = 4096, 20.0
"""What was embedded is written for good after so many rows or seconds; a process that is killed loses no more."""
WASTE = 0.2
"""Share of an index that may be replaced vectors before its files are written anew."""


@dataclass(frozen=True)
class Embedded:
    """What `embed` did."""

    path: str
    """The index or the file."""
    embedded: int
    """Images that were embedded now: new ones and changed ones."""
    skipped: int
    """Images whose vectors were there already."""
    removed: int
    """Rows whose images are not in the data any more."""
    broken: tuple[Broken, ...]
    """Images that cannot be read."""
    rows: int
    """Rows that there are now."""
    fingerprint: str
    """Of the space."""
    seconds: float
    """How long it took."""

    def __str__(self) -> str:
        """A few lines for people."""
        told = f"{self.embedded:,} embedded, {self.skipped:,} skipped"
        told += f", {self.removed:,} removed" if self.removed else ""
        lines = [told, f"wrote   {self.path} ({self.rows:,} rows, space {self.fingerprint})"]
        if self.broken:
            first = self.broken[0]
            lines.append(f"left out {len(self.broken):,} that cannot be read, the first {first.name} ({first.reason})")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "path": self.path,
            "embedded": self.embedded,
            "skipped": self.skipped,
            "removed": self.removed,
            "broken": [one.__dict__ for one in self.broken],
            "rows": self.rows,
            "fingerprint": self.fingerprint,
            "seconds": round(self.seconds, 3),
        }


def embed(
    run: Run,
    data: Any,
    *,
    to: str | Path,
    split: str | None = None,
    labels: str | None = None,
    columns: str | Path | None = None,
    shard: str | None = None,
    which: Literal["student", "teacher"] | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    batch_size: int = BATCH,
    device: str | None = None,
    precision: Literal["float32", "bf16"] = "float32",
    dtype: Literal["float32", "float16"] = "float32",
    progress: Progress | None = None,
) -> Embedded:
    """Embed the images of `data` by the encoder `run` into the index, .parquet or .npz file `to`.

    `run` is what `evaluate` takes, `data` what `train` takes. Images are decoded as they are wanted and not kept. A row
    has the id that the image has in its data (relative path, or row number), which stays the same between calls: a
    second call embeds what is new or has other content, by size and time of the file and then by digest, passes over
    what is there, and takes out rows whose images are gone. Each commit is all or nothing, so after an end at any
    moment the same command goes on, and every image has one row. `columns` is a CSV or Parquet file with a column `id`
    whose other columns are kept beside the rows. `shard` is `3/16` for the third of 16 parts, each by a process of its
    own into an index beside `to`; the last of them to finish puts them together.

    Raises InputError for data and encoders that do not exist, for an index of another space, where another process
    writes to it, and where no image can be read; DiskFull, with the index whole.
    """
    began = time.perf_counter()
    part = Shard.parse(shard)
    subject = open_subject(run, which, pretrained=pretrained, image_size=image_size)
    encoder = subject.encoder
    if device is not None:
        encoder.to(torch.device(device))
    source = open_whole(data, split=split, labels=labels).shown_by(subject.ranges() or {})
    ids = row_ids(source)
    table = None if columns is None else MetadataTable.read(Path(columns), ids)
    space = _space_of(encoder, subject.path)
    with opened(part.target(Path(to)) if part else to, space, dtype=dtype) as target, target.index.writing():
        index = target.index
        number = _right_space(index, space)
        if space.encoder is None:
            index.keep_encoder(encoder, number, None if subject.run is None else subject.run.path)
        work = _Work(index, number, encoder, source, ids, table, str(_address(data, split)))
        others = part.others(Path(to)) if part else []
        done = work.run(
            part.positions(len(source)) if part else np.arange(len(source)),
            others,
            batch_size=batch_size,
            bf16=precision == "bf16",
            progress=progress,
            removing=part is None,
        )
        rows_now = len(index)
    if part is not None:
        merged = part.merge(Path(to), space, work.address, dtype=dtype)
        rows_now = rows_now if merged is None else merged
    where = str(to) if part is None or merged is not None else str(part.target(Path(to)))
    seconds = time.perf_counter() - began
    return Embedded(where, *done, rows=rows_now, fingerprint=space.fingerprint, seconds=seconds)


def _space_of(encoder: Encoder, path: str | None) -> Space:
    """The space of an encoder. That of an ONNX file is not copied into an index: its file is named."""
    space = Space.of_encoder(encoder)
    if path is None or Path(path).suffix != ".onnx":
        return space
    return replace(space, encoder=str(Path(path).absolute()))


def row_ids(source: Source) -> list[str]:
    """The id of each image: its name in the data, behind its split where two splits use the same names.

    Raises InputError where names are not unique.
    """
    names = [str(name) for name in source.names]
    if len(set(names)) == len(names):
        return names
    names = [f"{place_split(source, position)}/{name}" for position, name in enumerate(names)]
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"{source.name} names two images {twice!r}: rows need names that are different")
    return names


def place_split(source: Source, position: int) -> str:
    """The split of an image, empty where it has none."""
    return place_of(source, position).split


def _address(data: Any, split: str | None) -> str:
    """What data is known by between calls."""
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        name = str(path.absolute()) if path.exists() else str(data)
    else:
        name = getattr(data, "name", type(data).__name__)
    return f"{name} [{split}]" if split else name


def _right_space(index: Index, space: Space) -> int:
    """The number of the encoder's space in the index. Raises InputError where it is another, or not the newest."""
    number = index.number_of(space)
    if number != index.current:
        raise InputError(
            f"{index.path} has been moved on to {index.space.name} ({index.fingerprint}): embed with that encoder"
        )
    return number


class _Done(NamedTuple):
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


class _Work:
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
    ) -> None:
        self.index, self.number, self.encoder, self.source = index, number, encoder, source
        self.table, self.address = table, address
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
    ) -> _Done:
        """Embed what is missing among `positions`; rows of `others` count as there."""
        known = {**self._known(others[0], old=True)} if others else {}
        known.update(self._known(self.index))
        self._settle_ids(known)
        with Stream(self.source, self.side) as stream:
            wanted = self._wanted(stream, positions, known)
            unseen = len(stream.broken)
            embedded = self._embed(stream, wanted, batch_size, bf16, progress)
            broken = tuple({one.name: one for one in stream.broken}.values())
        if len(broken) == len(positions) and len(positions):
            raise InputError(
                f"none of the {len(broken):,} images of {self.source.name} can be read, the first {broken[0].name} "
                f"({broken[0].reason})"
            )
        removed = self._remove(known, {one.name for one in broken}) if removing else 0
        store = self.index.store
        if isinstance(store, LocalStore):
            store.commit(sources={**store.manifest.sources, self.address: self.source.fingerprint})
            if sum(store.manifest.counts) - len(store) > WASTE * max(1, len(store)):
                store.compact()
        return _Done(embedded, len(positions) - len(wanted) - unseen, removed, broken)

    def _known(self, index: Index, *, old: bool = False) -> dict[str, _Known]:
        """Rows of an index by id; of an older call only what is of the same space."""
        table = index.store.table()
        columns = (table[name].to_pylist() for name in ("id", "stamp", "bytes", "pixels", "source", "version"))
        number = self.number if not old else index.number_of(self.index.spaces[self.number])
        return {id_: _Known(*facts) for id_, *facts, version in zip(*columns, strict=True) if version == number}

    def _settle_ids(self, known: Mapping[str, _Known]) -> None:
        """Ids that rows of other data have are put behind the name of this data."""
        self.ids = [
            f"{self.source.name}/{one}" if one in known and known[one].source != self.address else one
            for one in self.ids
        ]

    def _wanted(self, stream: Stream, positions: NDArray[np.int64], known: Mapping[str, _Known]) -> NDArray[np.int64]:
        """Positions of images that are new, or have other content than their row."""
        wanted, doubtful = [], []
        for position in positions.tolist():
            row = known.get(self.ids[position])
            if row is None:
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
        where = next(self.encoder.parameters()).device

        def autocast() -> torch.autocast:
            return torch.autocast(where.type, torch.bfloat16, enabled=bf16)

        found = rows(self.encoder, stream, wanted, view_of(self.encoder.spec), batch_size, autocast=autocast)
        total, pending = 0, _Pending()
        with contextlib.closing(found):  # type: ignore[type-var]  # a generator
            for start, rows_BF in found:
                vectors = rows_BF.float().cpu().numpy()
                for position, vector in zip(wanted[start : start + len(vectors)].tolist(), vectors, strict=True):
                    facts = stream.facts.pop(position, None)
                    if facts is not None:
                        pending.add(position, facts, vector)
                if pending.due():
                    total += self._write(pending)
                    pending = _Pending()
                if progress is not None:
                    progress(start + len(vectors), len(wanted))
        return total + self._write(pending)

    def _write(self, pending: _Pending) -> int:
        """Put rows into the index for good."""
        if not pending.positions:
            return 0
        places: list[Place] = [place_of(self.source, position) for position in pending.positions]
        facts = {
            "path": [place.path for place in places],
            "bytes": [one.bytes for one in pending.facts],
            "pixels": [one.pixels for one in pending.facts],
            "stamp": [place.stamp for place in places],
            "source": [self.address] * len(places),
        }
        columns: dict[str, Any] = {
            "label": [self._label(position) for position in pending.positions],
            "split": [place.split or None for place in places],
        }
        if self.table is not None:
            columns |= self.table.at(pending.positions)
        vectors = np.stack(pending.vectors)
        ids = [self.ids[position] for position in pending.positions]
        self.index.store.write(Rows(ids=ids, vectors_ND=vectors, facts=facts, columns=columns), self.number)
        return len(ids)

    def _label(self, position: int) -> str | None:
        labels, names = self.source.labels, self.source.class_names
        if labels is None or labels[position] < 0:
            return None
        value = int(labels[position])
        return names[value] if names is not None and value < len(names) else str(value)

    def _remove(self, known: Mapping[str, _Known], broken: set[str]) -> int:
        """Take out rows of this data whose images are not in it any more, or cannot be read any more."""
        there = {one for one, name in zip(self.ids, self.source.names, strict=True) if str(name) not in broken}
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


def batches_of(index: Index, size: int) -> Iterator[Rows]:
    """All rows of an index with everything that is known of them, `size` at a time."""
    table, vectors, norms = index.store.table(), index.vectors(), index.norms
    from likewise.index.stores.protocol import OWN, RESERVED

    names = [name for name in table.column_names if name not in RESERVED]
    for start in range(0, len(table), size):
        some = table.slice(start, size)
        yield Rows(
            ids=some["id"].to_pylist(),
            vectors_ND=vectors[start : start + size] * norms[start : start + size, None],
            facts={name: some[name].to_pylist() for name in OWN},
            columns={name: some[name] for name in names},
        )
