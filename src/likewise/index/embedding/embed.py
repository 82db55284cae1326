"""`likewise embed`: the vectors of a data set, each image once, however often the command is interrupted."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from likewise.data import Source
from likewise.data.source import Broken
from likewise.encoders import Encoder
from likewise.encoders.embedding import BATCH
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Run, open_subject
from likewise.index.embedding.columns import MetadataTable
from likewise.index.embedding.on_ray import Cluster
from likewise.index.embedding.shards import Shard
from likewise.index.embedding.streaming import open_whole, place_of
from likewise.index.embedding.targets import opened
from likewise.index.embedding.work import Progress, Work
from likewise.index.encoders import ranges_shown
from likewise.index.index import Index
from likewise.index.space import Space
from likewise.index.stores.addresses import is_address


@dataclass(frozen=True)
class EmbedResult:
    """The result of `embed`."""

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

    @property
    def counts(self) -> str:
        """How many images were embedded and were not, in a line."""
        counts = {"skipped": self.skipped, "removed": self.removed, "that cannot be read": len(self.broken)}
        more = [f"{count:,} {what}" for what, count in counts.items() if count or what == "skipped"]
        return ", ".join([f"{self.embedded:,} embedded", *more])

    def __str__(self) -> str:
        """A few lines for people."""
        lines = [self.counts, f"wrote   {self.path} ({self.rows:,} rows, space {self.fingerprint})"]
        if self.broken:
            first = self.broken[0]
            lines.append(f"note    {first.name} cannot be read: {first.reason}")
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
    ray: str | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    progress: Progress | None = None,
) -> EmbedResult:
    """Embed the images of `data` by the encoder `run` into the index, .parquet or .npz file `to`.

    `run` is what `evaluate` takes, `data` what `train` takes. Images are decoded as they are wanted and not kept. A row
    has the id that the image has in its data (relative path, or row number), which stays the same between calls: a
    second call embeds what is new or has other content, by size and time of the file and then by digest, passes over
    what is there, and takes out rows whose images are gone. Each commit is all or nothing, so after an end at any
    moment the same command goes on, and every image has one row. `columns` is a CSV or Parquet file with a column `id`
    whose other columns are kept beside the rows. `shard` is `3/16` for the third of 16 parts, each by a process of its
    own into an index beside `to`; the last of them to finish puts them together. `ray` is the address of a Ray cluster
    that looks at the images, or `auto` or `local`; rows are written here.

    Raises InputError for data and encoders that do not exist, for an index of another space, where another process
    writes to it, and where no image can be read; DiskFull, with the index whole; LikewiseError where a cluster goes
    away meanwhile.
    """
    began = time.perf_counter()
    part = Shard.parse(shard)
    _check(part, batch_size, device, on_cluster=ray is not None)
    subject = open_subject(run, which, pretrained=pretrained, image_size=image_size)
    encoder = subject.encoder if device is None else subject.encoder.to(torch.device(device))
    source = open_whole(data, split=split, labels=labels)
    ids = row_ids(source)
    table = None if columns is None else MetadataTable.read(Path(columns), ids)
    space = space_of(encoder, subject.path)
    with opened(part.target(Path(to)) if part else to, space, dtype=dtype) as target, target.index.writing():
        index = target.index
        number = _right_space(index, space)
        ranges = {**(subject.ranges() or {}), **index.ranges(number)}  # as rows and queries of this space were shown
        source = source.shown_by(ranges)
        cluster = Cluster.of(ray, data, split=split, labels=labels, ranges=ranges) if ray else None
        if space.encoder is None:
            index.keep_encoder(encoder, number, None if subject.run is None else subject.run.path)
        index.keep_ranges(ranges_shown(source), number)
        work = Work(index, number, encoder, source, ids, table, address_of(data, split), cluster)
        others = part.others(Path(to)) if part else []
        positions = part.positions(len(source)) if part else np.arange(len(source))
        bf16 = precision == "bf16"
        done = work.run(positions, others, batch_size=batch_size, bf16=bf16, progress=progress, removing=part is None)
        rows_now = len(index)
    if part is not None:
        merged = part.merge(Path(to), space, (work.address, source.fingerprint), dtype=dtype)
        rows_now = rows_now if merged is None else merged
    written = to if part is None or merged is not None else part.target(Path(to))
    where = index.path if is_address(to) else str(written)  # an address without its password
    return EmbedResult(where, *done, rows_now, space.fingerprint, time.perf_counter() - began)


def _check(part: Shard | None, batch_size: int, device: str | None, *, on_cluster: bool) -> None:
    """Raise InputError for a batch of nothing, and for what a cluster decides itself."""
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: allowed is 1 or more")
    if on_cluster and (part is not None or device is not None):
        raise InputError("a Ray cluster divides the images and chooses devices itself: leave --shard and --device out")


def space_of(encoder: Encoder, path: str | None) -> Space:
    """The space of an encoder. One from an ONNX file at `path` is not copied into an index: its file is named."""
    space = Space.of_encoder(encoder)
    if path is None or Path(path).suffix != ".onnx":
        return space
    return replace(space, encoder=str(Path(path).absolute()))


def row_ids(source: Source) -> list[str]:
    """The id of each image: its name in the data, behind its split where two splits use the same names.

    Raises InputError where names are not unique, or cannot be written as text.
    """
    names = [str(name) for name in source.names]
    strange = next((name for name in names if not _is_text(name)), None)
    if strange is not None:
        raise InputError(f"{source.name} names an image {strange!r}, which is no UTF-8: rename the file")
    if len(set(names)) == len(names):
        return names
    names = [f"{place_split(source, position)}/{name}" for position, name in enumerate(names)]
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"{source.name} names two images {twice!r}: rows need names that are different")
    return names


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def place_split(source: Source, position: int) -> str:
    """The split of an image, empty where it has none."""
    return place_of(source, position).split


def address_of(data: Any, split: str | None = None) -> str:
    """What data is known by between calls, from whatever folder they are made."""
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
            f"{index.path} holds vectors of {index.space.name} ({index.fingerprint}) now: embed with that encoder"
        )
    return number
