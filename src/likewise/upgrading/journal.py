"""The journal of an upgrade in progress, kept beside the vectors: how to undo it, the order, and the progress.

How far it is follows from the index itself, since each of its rows says which space its vector is of. So there is no
second record that could disagree with it after a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.index import Index
from likewise.index.stores.kept import Kept

T = TypeVar("T")
STATE, OLD, ORDER = "upgrade/state.json", "upgrade/old.npz", "upgrade/order.npy"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class UpgradeJournal:
    """One upgrade of an index."""

    kept: Kept = field(repr=False, compare=False)
    """Where it is written."""
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

    def ordered(self) -> NDArray[np.int64]:
        """(N,) rows in the order they are refreshed, as they were numbered when it began. Raises InputError."""
        return self._read(ORDER, lambda held: held.astype(np.int64))

    def old(self) -> tuple[list[str], NDArray[np.float32]]:
        """Ids and vectors of all rows before. Raises InputError where the file is gone or damaged."""
        return self._read(OLD, lambda held: ([str(one) for one in held["id"]], held["vectors"]))

    def _read(self, name: str, taken: Callable[[Any], T]) -> T:
        """What is taken from the arrays of a file. Raises InputError where it is gone or damaged."""
        with self.kept.file(name) as path:
            if path is None:
                raise InputError(f"{self.kept.told(name)} is gone: the upgrade can neither go on nor be taken back")
            try:
                with path.open("rb") as file:
                    return taken(np.load(file, allow_pickle=False))
            except Exception as error:  # numpy and zip have an error of their own for each kind of damage
                raise InputError(f"{self.kept.told(name)} is damaged: {' '.join(str(error).split())}") from error

    def write(self, **changes: Any) -> UpgradeJournal:
        """The same with `changes`, written down."""
        changed = replace(self, **changes)
        facts = {one.name: getattr(changed, one.name) for one in fields(changed) if one.name != "kept"}
        content = (json.dumps({"format": FORMAT, **facts}, indent=1) + "\n").encode()
        self.kept.put(STATE, lambda file: file.write(content))
        return changed


def begin(index: Index, order_N: NDArray[np.int64], **facts: Any) -> UpgradeJournal:
    """Write down the way back, then the order, and last that an upgrade is under way: before that nothing counts."""
    kept = index.store.kept
    kept.drop(STATE)
    ids, vectors_ND = np.array(index.ids, np.str_), index.vectors()
    kept.put(OLD, lambda file: np.savez(file, id=ids, vectors=vectors_ND))
    kept.put(ORDER, lambda file: np.save(file, order_N))
    return UpgradeJournal(kept=kept, rows=len(order_N), **facts).write()


def read(index: Index) -> UpgradeJournal | None:
    """The upgrade that was begun last, or None. Raises InputError where its record is damaged or newer."""
    kept = index.store.kept
    where = kept.told(STATE)
    try:
        with kept.file(STATE) as path:
            if path is None:
                return None
            found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] > FORMAT:
            raise InputError(f"{where} was written by a newer version of likewise: upgrade likewise first")
        known = {one.name: found[one.name] for one in fields(UpgradeJournal) if one.name in found}
        for name in ("curve", "random"):
            known[name] = tuple((float(a), float(b)) for a, b in known.get(name, ()))
        return UpgradeJournal(kept=kept, **known)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where} is damaged: {error}; remove it to begin anew") from error
