"""The journal of an upgrade in progress, beside the vectors: how to undo it, the order, and the progress.

How far it is follows from the index itself, since each of its rows says which space its vector is of. So there is no
second record that could disagree with it after a crash.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.files import write_aside
from likewise.index import Index

FOLDER, STATE, OLD, ORDER = "upgrade", "state.json", "old.npz", "order.npy"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class UpgradeJournal:
    """One upgrade of an index."""

    folder: str
    to: str
    """Fingerprint of the space that the index goes to."""
    before: int
    """Number of the space that it comes from."""
    space: int
    """Number of the space that it goes to."""
    encoder: str
    """What was given as the new encoder."""
    data: str | None
    """Where the images were said to be."""
    order: str
    """Name of the order."""
    rows: int
    """Rows of the old space when it began."""
    status: str = "running"
    """running, finished, or rolled back."""
    curve: tuple[tuple[float, float], ...] = ()
    """Share refreshed and what was found, on the sample."""
    random: tuple[tuple[float, float], ...] = ()
    """The same in random order."""
    measure: str = ""
    compatible: bool = False
    """Whether new queries are compared with old vectors meanwhile."""
    sheet: dict[str, Any] | None = None
    """The plan, as JSON."""

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.folder)

    def ordered(self) -> NDArray[np.int64]:
        """(N,) rows in the order they are refreshed, as they were numbered when it began."""
        return np.load(self.path / ORDER, allow_pickle=False).astype(np.int64)  # type: ignore[no-any-return]

    def old(self) -> tuple[list[str], NDArray[np.float32]]:
        """Ids and vectors of all rows before. Raises InputError where the file is gone or damaged."""
        try:
            with (self.path / OLD).open("rb") as file, np.load(file, allow_pickle=False) as held:
                return [str(one) for one in held["id"]], held["vectors"]
        except Exception as error:  # numpy and zip have an error of their own for each kind of damage
            raise InputError(f"{self.path / OLD} is damaged: {' '.join(str(error).split())}") from error

    def write(self, **changes: Any) -> UpgradeJournal:
        """The same with `changes`, on the disk."""
        changed = replace(self, **changes)
        with write_aside(self.path / STATE) as file:
            file.write((json.dumps({"format": FORMAT, **asdict(changed)}, indent=1) + "\n").encode())
        return changed


def folder_of(index: Index) -> Path:
    """The folder of an index's journal. Raises InputError for an index that is no folder."""
    path = Path(index.path)
    if not path.is_dir():
        raise InputError(f"{index.path} is on a server: only an index in a folder can be upgraded in place so far")
    return path / FOLDER


def begin(index: Index, order_N: NDArray[np.int64], **facts: Any) -> UpgradeJournal:
    """Write down the way back, then the order, and last that an upgrade is under way: before that nothing counts."""
    folder = folder_of(index)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with write_aside(folder / OLD) as file:
        np.savez(file, id=np.array(index.ids, np.str_), vectors=index.vectors())
    with write_aside(folder / ORDER) as file:
        np.save(file, order_N)
    return UpgradeJournal(folder=str(folder), rows=len(order_N), **facts).write()


def read(index: Index) -> UpgradeJournal | None:
    """The upgrade that was begun last, or None. Raises InputError where its record is damaged or newer."""
    folder = folder_of(index)
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] > FORMAT:
            raise InputError(f"{path} was written by a newer version of likewise: upgrade likewise first")
        known = {field.name: found[field.name] for field in fields(UpgradeJournal) if field.name in found}
        for name in ("curve", "random"):
            known[name] = tuple((float(a), float(b)) for a, b in known.get(name, ()))
        return UpgradeJournal(**{**known, "folder": str(folder)})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}; remove the folder {folder} to begin anew") from error
