"""`likewise.label`: labels a list of images on a local page, and returns the list with labels."""

from __future__ import annotations

import contextlib
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from likewise.checking import check_port
from likewise.data import Source, open_source, prepare
from likewise.data.caching.locking import exclusive
from likewise.data.labels import find_column, is_unknown
from likewise.data.sources.lists import SEPARATED, TEXT, Columns, path_column, read_list
from likewise.errors import InputError, unknown
from likewise.labelling.groups import groups
from likewise.labelling.journal import LabelJournal, LabelState, checked_class
from likewise.labelling.server import LOOPBACK, LabelSession, Server
from likewise.selection.exchange import beside, write_table

if TYPE_CHECKING:
    from likewise.evaluation.encoder_source import Run

PORT = 8766
"""Taken where it is free and no other is asked for: a page that is open finds the server again."""
_THUMBNAIL = 8
"""Pixels of the thumbnails that are compared where no encoder is given."""


@dataclass
class LabelTable:
    """A list that is labelled: its columns, and where each image lies."""

    source: Source
    """The images."""
    columns: Columns
    """As they were read, without that of the labels."""
    path_name: str
    """Column of the paths."""
    label_name: str = "label"
    """Column that the labels are written into."""
    initial: dict[int, str] = field(default_factory=dict)
    """Labels that the list has."""

    def files(self) -> list[str]:
        """(N,) the file of each row."""
        found = [self.source.file(row) for row in range(len(self.source))]
        if any(one is None for one in found):
            raise InputError(
                f"{self.source.name} does not lie in files of its own: label a list that likewise select wrote"
            )
        return [str(one) for one in found]

    def write(self, out: Path, now: dict[int, str | None]) -> None:
        """The list with what is labelled now; images that were skipped or not reached have an empty label."""
        columns = dict(self.columns)
        columns[self.path_name] = [beside(Path(one), out.parent) for one in self.files()]
        columns[self.label_name] = [now.get(row) or "" for row in range(len(self.source))]
        write_table(out, list(columns), list(zip(*columns.values(), strict=True)))


def label(
    images: str | Path,
    *,
    out: str | Path | None = None,
    classes: Sequence[str] = (),
    labels: str | None = None,
    run: Run | None = None,
    together: str | None = None,
    port: int | None = None,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Serve a page that labels the images of a list, until interrupted (Ctrl-C); the path of the list it writes.

    `images` is a list (.csv, .tsv, .txt) or a folder. Every key is on the disk before the next one: first in a journal
    beside `out`, then in `out`, a CSV file with the columns of the list and one more. The same call goes on where the
    last one ended, however that was. `classes` are those of the keys 1 to 9 and 0; the labels that the list has (column
    `labels`) are kept. Images are shown nine at a time that look alike: by the encoder of `run`, or else by their
    colours; `together` is a column that keeps images of different values apart. The page is reached from this machine
    alone.

    Raises InputError for lists, columns and classes that cannot be, where the port is taken or the list is being
    labelled already, and where `out` exists and is not the work of this verb.
    """
    if port is not None:
        check_port(port)
    with session(images, out=out, classes=classes, labels=labels, run=run, together=together) as (opened, path):
        with serving(opened, port) as server:
            say(f"page    {server.address}")
            say(f"list    {path}")
            if browser:
                webbrowser.open(server.address)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever(poll_interval=0.2)
        now = opened.journal.labels.now()
        done = sum(name is not None for name in now.values())
        say(f"labels  {done:,} of {len(opened.names):,} images, {len(now) - done:,} skipped")
    return path


@contextlib.contextmanager
def session(
    images: str | Path,
    *,
    out: str | Path | None = None,
    classes: Sequence[str] = (),
    labels: str | None = None,
    run: Run | None = None,
    together: str | None = None,
) -> Iterator[tuple[LabelSession, Path]]:
    """The list that a page labels, and the one it writes. Raises InputError as `label` does."""
    listed = Path(images) if Path(images).name else Path(images).resolve()  # `.` has no name
    path = Path(out) if out is not None else listed.with_name(f"{listed.stem}-labelled.csv")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{path} cannot be written: --out names a file in a folder that exists")
    table = _table(Path(images), labels)
    files = table.files()
    journal_path = path.with_name(f"{path.name}.journal")
    if path.resolve() == Path(images).resolve():
        raise InputError(f"{path} is the list that is labelled, which is not written over: choose another --out")
    if path.exists() and not journal_path.exists():
        raise InputError(f"{path} exists and has no journal: choose another --out, or label that list")
    known = [checked_class(name) for name in classes]
    every = dict.fromkeys([*known, *table.initial.values()])
    state = LabelState(len(files), list(every), dict(table.initial))
    apart = None if together is None else _column(table, together)
    grouped = groups(_looks(table.source, run), apart)  # before anything is written: images may be unreadable
    with exclusive(journal_path.with_name(f"{journal_path.name}.lock"), f"labelling {path}", wait=False):
        journal = LabelJournal(journal_path, files, state)
        with contextlib.closing(journal):
            table.write(path, state.now())
            names = [str(name) for name in table.columns[table.path_name]]
            yield LabelSession(table.source, grouped, names, journal, lambda: table.write(path, state.now())), path


@contextlib.contextmanager
def serving(opened: LabelSession, port: int | None) -> Iterator[Server]:
    """A server on `port`; where none is asked for on `PORT` or any that is free. Raises InputError for a taken one."""
    try:
        server = Server(opened, PORT if port is None else port)
    except OSError as error:
        if port is not None:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"port {port} of {LOOPBACK} cannot be used ({reason}): 0 takes a free one") from error
        server = Server(opened, 0)
    with server:
        yield server


def _table(images: Path, labels: str | None) -> LabelTable:
    """The list at a path; a folder is a list of its images."""
    if images.suffix.lower() not in TEXT | SEPARATED:
        source = open_source(images, labels="none")
        return LabelTable(source, {"path": list(source.names)}, "path")
    if not images.is_file():
        raise InputError(f"there is no list {images}: likewise select writes one")
    columns = read_list(images)
    source = open_source(images, labels="none")
    paths = path_column(list(columns))
    assert paths is not None  # as open_source has checked
    others = [name for name in columns if name != paths]
    column = find_column(others, labels, str(images))
    if column is None:
        return LabelTable(source, columns, paths)
    initial = {row: " ".join(word.split()) for row, word in enumerate(columns[column]) if not is_unknown(word)}
    return LabelTable(
        source, {name: values for name, values in columns.items() if name != column}, paths, column, initial
    )


def _column(table: LabelTable, name: str) -> list[str]:
    """The values of a column. Raises InputError where it does not exist."""
    if name not in table.columns:
        raise unknown("column", name, table.columns)
    return [str(value) for value in table.columns[name]]


def _looks(source: Source, run: Run | None) -> Tensor:
    """(N, D) what images are compared by; rows of zeros for those that cannot be read."""
    if run is None:
        images = prepare(source, short_side=_THUMBNAIL, max_broken=0.5)
        small = [_thumbnail(images.image(row)) for row in range(len(images))]
        features, rows = torch.stack(small), images.positions.tolist()
    else:
        from likewise.evaluation.encoder_source import open_subject  # encoders take seconds to import
        from likewise.verbs.labelling.embedded import embed

        found = embed(open_subject(run, None), source)
        features, rows = found.features_NF, found.rows.tolist()
    looks_ND = features.new_zeros(len(source), features.shape[1])
    looks_ND[rows] = features.float()
    return looks_ND


def _thumbnail(pixels: Any) -> Tensor:
    """(192,) colours of an image at 8 x 8, about grey."""
    x_3HW = torch.tensor(pixels).permute(2, 0, 1).float()
    return torch.nn.functional.adaptive_avg_pool2d(x_3HW, _THUMBNAIL).flatten() - 127.5
