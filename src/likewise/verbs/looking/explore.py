"""`likewise.explore`: a map of a collection by an encoder's features, on one page, in a folder, or in a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from likewise.commands import command
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Run, Subject, Which
from likewise.exploring.collection import Collection
from likewise.exploring.gathering import Wanted, gather
from likewise.exploring.layout import Layout, check_layout, place, slots
from likewise.exploring.page import write_folder, write_page
from likewise.exploring.payload import pack
from likewise.exploring.relations import Relations, relate
from likewise.exploring.sprites import SheetPlan, plan, sheets
from likewise.exploring.table import write_table
from likewise.files import check_ending, check_file, check_folder
from likewise.index.embedding.held import is_held, subject_of
from likewise.training.watching.progress import decoding

MOST = 100_000
"""Images on a map at most."""
PAGE_BYTES = 120_000_000
"""A page above this is slow to open: it says so, and that it can be served."""
BUDGET = {"page": 48.0, "folder": 480.0}
"""Megabytes of thumbnails: inside one file, and as files beside it."""


@dataclass(frozen=True, kw_only=True)
class Explored:
    """The files that were written."""

    images: int
    """Images on the map."""
    left_out: int
    """Images of the data that are not, because it has more than the map takes."""
    page: Path | None
    """The page, or the folder of a page that is served."""
    page_bytes: int
    """Size of the page, with its thumbnails."""
    table: Path | None
    """The Parquet table."""
    thumbnail: int
    """Pixels of a thumbnail on the page, 0 without one."""
    pairs: int
    """Near-duplicates that are listed."""
    copies: int
    """Those of them whose pixels are equal."""
    notes: tuple[str, ...]
    """What a reader should know."""

    def to_json(self) -> dict[str, Any]:
        """As JSON knows it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}


def explore(
    run: Run,
    data: Any = None,
    *,
    out: str | Path | None = None,
    folder: str | Path | None = None,
    parquet: str | Path | None = None,
    which: Which | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    labels: str | None = None,
    split: str | None = None,
    metadata: str | Path | None = None,
    clusters: int | None = None,
    layout: Layout = "tsne",
    images: int = MOST,
    thumbnails: float | None = None,
    device: torch.device | str | None = None,
    overwrite: bool = False,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Explored:
    """Write the images of `data`, as the encoder of `run` sees them, to a page, a folder or a table.

    `run` and `data` are as `evaluate` takes them; labels are not needed. `out` is one HTML file that opens offline,
    `folder` the same page with its thumbnails as files, and `parquet` a table for other viewers. At most `images` are
    taken, evenly spread. `thumbnails` is the megabytes that they may take, 48 in one file and 480 in a folder: the
    largest of 16 to 96 pixels that fits is chosen. `metadata` is a table with more columns (`exploring.metadata`).

    Raises InputError for a run, data, split, labels, table or layout that does not exist, for fewer than two images,
    where nothing is to be written, and where a file exists unless `overwrite`.
    """
    _check(out, folder, parquet, overwrite=overwrite)
    _check_numbers(images, thumbnails)
    subject = subject_of(run, which, pretrained=pretrained, image_size=image_size)
    wanted = Wanted(
        labels=labels if labels is not None else subject.labels_for(data),
        split=split,
        most=images,
        metadata=None if metadata is None else Path(metadata),
        cache_dir=cache_dir,
        device=None if device is None else torch.device(device),
        quiet=quiet,
    )
    data = (run if is_held(run) else subject.default_data()) if data is None else data
    collection = gather(subject, data, wanted)
    check_layout(layout, len(collection))
    relations = relate(collection, clusters=clusters)
    points_N2 = place(collection.features_NF, *relations.graph, layout=layout, threads=min(8, os.cpu_count() or 1))
    page = _Page(collection, relations, points_N2, *_titles(subject, data, len(collection)), quiet)
    written = page.write(out, folder, thumbnails)
    if parquet is not None:
        write_table(Path(parquet), collection, relations, points_N2)
    table = Path(parquet) if parquet is not None else None
    return _explored(collection, relations, written, table, _missing(collection, images))


class _Written(NamedTuple):
    """A page that was written, or none."""

    path: Path | None = None
    size: int = 0
    """Bytes."""
    thumbnails: SheetPlan | None = None
    notes: Sequence[str] = ()


def _explored(
    collection: Collection, relations: Relations, written: _Written, table: Path | None, notes: Sequence[str]
) -> Explored:
    """What is told of it."""
    return Explored(
        images=len(collection),
        left_out=collection.left_out,
        page=written.path,
        page_bytes=written.size,
        table=table,
        thumbnail=written.thumbnails.side if written.thumbnails else 0,
        pairs=len(relations.pairs_P2),
        copies=int(relations.copies_P.sum()),
        notes=(*notes, *written.notes),
    )


def _check_numbers(images: int, thumbnails: float | None) -> None:
    if not 2 <= images <= MOST:
        raise InputError(f"{images:,} images on a map: allowed are 2 to {MOST:,}")
    if thumbnails is not None and not thumbnails > 0:
        raise InputError(f"{thumbnails:g} megabytes of thumbnails: more than 0 are needed")


@dataclass(frozen=True)
class _Page:
    """What a page is made of."""

    collection: Collection
    relations: Relations
    points_N2: Any
    about: str
    command: str
    quiet: bool

    def write(self, out: str | Path | None, folder: str | Path | None, megabytes: float | None) -> _Written:
        """Write the page as one file, `out`, or into a `folder`, with at most so many megabytes of thumbnails."""
        kind: Literal["page", "folder"] = "page" if out is not None else "folder"
        path = out if out is not None else folder
        if path is None:
            return _Written()
        budget = BUDGET[kind] if megabytes is None else megabytes
        made = plan(self.collection, round(budget * 1e6))
        slot_N = slots(self.points_N2)
        about = {"about": self.about, "command": self.command}
        payload = pack(self.collection, self.relations, self.points_N2, slot_N, made, about)
        with decoding(f"{len(self.collection):,} images", enabled=not self.quiet, verb="thumbnails of") as progress:
            content: Iterator[bytes] = sheets(self.collection, slot_N, made, progress)
            size = (write_page if kind == "page" else write_folder)(Path(path), payload, content)
        return _Written(Path(path), size, made, _notes(kind, size, made, budget))


def _titles(subject: Subject, data: Any, count: int) -> tuple[str, str]:
    """What is on the page, and the command that takes a list from it."""
    going_on = command("train", data if isinstance(data, str | Path) else "DATA", subset="list:selection.csv")
    return f"{count:,} images by {subject.path or 'an encoder in memory'}", going_on


def _missing(collection: Collection, images: int) -> list[str]:
    """Why images of the data are not on the map."""
    left_out, broken = collection.left_out, collection.broken
    thinned = [f"{left_out:,} further images are not on the map, which takes {images:,}"] if left_out else []
    kind = "image could not be read and is" if broken == 1 else "images could not be read and are"
    return [*thinned, *([f"{broken:,} {kind} not on the map"] if broken else [])]


def _notes(kind: str, size: int, made: SheetPlan, budget: float) -> list[str]:
    notes = []
    if made.estimate > budget * 1e6:
        notes.append(f"even thumbnails of {made.side} px take about {made.estimate / 1e6:.0f} MB, more than {budget:g}")
    if kind == "page" and size > PAGE_BYTES:
        notes.append(
            f"the page has {size / 1e6:.0f} MB and opens slowly: --serve FOLDER keeps the thumbnails as files beside it"
        )
    return notes


def _check(out: str | Path | None, folder: str | Path | None, parquet: str | Path | None, *, overwrite: bool) -> None:
    """Raise InputError unless what is asked for can be written."""
    if out is None and folder is None and parquet is None:
        raise InputError("nothing to write: name a page (--out page.html), a folder (--serve), or a table (--parquet)")
    if out is not None and folder is not None:
        raise InputError("a page is one file or a folder that is served, not both: leave out or the folder out")
    for path, ending in ((out, (".html", ".htm")), (parquet, (".parquet",))):
        if path is None:
            continue
        target = Path(path)
        check_ending(target, *ending)
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists: choose another file, or allow it to be overwritten (--overwrite)")
        check_file(target)
    if folder is not None:
        target = Path(folder)
        check_folder(target)
        if target.is_dir() and any(target.iterdir()) and not (target / "index.html").is_file():
            raise InputError(f"{target} is not empty and holds no page: choose another folder")
        if (target / "index.html").is_file() and not overwrite:
            raise InputError(
                f"{target} holds a page: choose another folder, or allow it to be overwritten (--overwrite)"
            )
