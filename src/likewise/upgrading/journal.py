"""The journal of an upgrade in progress, kept beside the vectors: how to undo it, the order, and the progress.

How far it is follows from the index itself, since each of its rows says which space its vector is of. So there is no
second record that could disagree with it after a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.index import Index
from likewise.index.stores.kept import Kept

T = TypeVar("T")
STATE, OLD, ORDER = "upgrade/state.json", "upgrade/old.npz", "upgrade/order.npy"
PAGE = "upgrade/plan.html"
FORMAT = 1


class OldRows(NamedTuple):
    """All rows before an upgrade."""

    ids: list[str]
    vectors_ND: NDArray[np.float32]
    """Of the length that they had."""
    content: list[str] | None
    """Digests of their images (`content_of`); None where an earlier version of likewise wrote this."""


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
    settings: dict[str, Any] = field(default_factory=dict)
    """What the plan was made by (`planning.PlanSettings`); empty where an earlier version of likewise made it."""

    def ordered(self) -> NDArray[np.int64]:
        """(N,) rows in the order they are refreshed, as they were numbered when it began. Raises InputError."""
        return self._read(ORDER, lambda held: held.astype(np.int64))

    def old(self) -> OldRows:
        """All rows before. Raises InputError where the file is gone or damaged."""

        def taken(held: Any) -> OldRows:
            content = held["content"].tolist() if "content" in held.files else None
            return OldRows(held["id"].tolist(), held["vectors"], content)

        return self._read(OLD, taken)

    @property
    def page(self) -> bytes | None:
        """The page of the plan; None where an earlier version of likewise began the upgrade."""
        with self.kept.file(PAGE) as path:
            return None if path is None else path.read_bytes()

    def _read(self, name: str, taken: Callable[[Any], T]) -> T:
        """What is taken from the arrays of a file. Raises InputError where it is gone or damaged."""
        with self.kept.file(name) as path:
            if path is None:
                raise InputError(f"{self.kept.place_of(name)} is gone: the upgrade can neither go on nor be taken back")
            try:
                with path.open("rb") as file:
                    return taken(np.load(file, allow_pickle=False))
            except Exception as error:  # numpy and zip have an error of their own for each kind of damage
                raise InputError(f"{self.kept.place_of(name)} is damaged: {' '.join(str(error).split())}") from error

    def write(self, **changes: Any) -> UpgradeJournal:
        """The same with `changes`, written down."""
        changed = replace(self, **changes)
        facts = {one.name: getattr(changed, one.name) for one in fields(changed) if one.name != "kept"}
        content = (json.dumps({"format": FORMAT, **facts}, indent=1) + "\n").encode()
        self.kept.put(STATE, lambda file: file.write(content))
        return changed


def begin(index: Index, order_N: NDArray[np.int64], page: bytes, **facts: Any) -> UpgradeJournal:
    """Write down the way back, then the order, and last that an upgrade is under way: before that nothing counts."""
    kept = index.store.kept
    kept.drop(STATE)
    ids, content = np.array(index.ids, np.str_), np.array(content_of(index), np.str_)
    vectors_ND = index.vectors() * index.norms[:, None]
    kept.put(OLD, lambda file: np.savez(file, id=ids, vectors=vectors_ND, content=content))
    kept.put(ORDER, lambda file: np.save(file, order_N))
    kept.put(PAGE, lambda file: file.write(page))
    return UpgradeJournal(kept=kept, rows=len(order_N), **facts).write()


def content_of(index: Index) -> list[str]:
    """(N,) digest of the file, or else of the pixels, that the vector of each row is of; empty where none is known."""
    table = index.store.table()
    facts = (table[name].to_pylist() for name in ("bytes", "pixels"))
    return [file or pixels or "" for file, pixels in zip(*facts, strict=True)]


def read(index: Index) -> UpgradeJournal | None:
    """The upgrade that was begun last, or None. Raises InputError where its record is damaged or newer."""
    kept = index.store.kept
    where = kept.place_of(STATE)
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
