"""Replacement of rows' vectors while the index is in use, a batch at a time, and its undoing.

Each batch is one change of the index, all or nothing. Readers see the index before it or after it, and are never
without an answer. A process that ends at any moment, by kill -9 too, leaves rows of two versions, which is a state like
any other; the next call goes on with what is still old.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.index import Index
from likewise.index.encoders import ranges_shown
from likewise.index.space import Space
from likewise.upgrading.images import Looker, RowImages
from likewise.upgrading.journal import UpgradeJournal, content_of

BATCH = 256
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of one call: rows or seconds; without either, all of it."""

    rows: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str | None, rows: int) -> Budget:
        """`1000` rows, `25%` of `rows`, `90s` or `10m`. Raises InputError for anything else."""
        if text is None:
            return cls()
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|s|m|)\s*", text)
        value = float(found[1]) if found else 0.0
        if found is None or value <= 0 or (found[2] == "%" and value > 100):
            raise InputError(f"budget={text!r}: allowed are rows (1000), a share (25%), seconds (90s) or minutes (10m)")
        if found[2] in {"s", "m"}:
            return cls(seconds=value * (60.0 if found[2] == "m" else 1.0))
        return cls(rows=max(1, round(rows * value / 100) if found[2] == "%" else int(value)))


class RefreshCounts(NamedTuple):
    """The result of a call."""

    refreshed: int
    """Rows that have new vectors now and had none before the call."""
    new: int
    """All rows with new vectors."""
    rows: int
    lost: int
    """Rows whose image could not be had; they keep their old vectors."""
    seconds: float
    paused: bool
    """Whether rows are left to do."""


def refresh(
    index: Index,
    journal: UpgradeJournal,
    space: Space,
    looker: Looker,
    budget: Budget,
    *,
    batch: int = BATCH,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> RefreshCounts:
    """Give rows vectors of `space` in the order of the journal until all have one, or the budget is used up.

    `stop` is asked after each batch. Raises InputError where another process writes to the index; DiskFull, with the
    index whole.
    """
    began, refreshed, lost = time.perf_counter(), 0, 0
    with index.writing():
        old_ids = journal.old().ids
        row_of = {one: row for row, one in enumerate(index.ids)}
        order = [row_of[old_ids[row]] for row in journal.ordered().tolist() if old_ids[row] in row_of]
        number, versions = _number(index, space), index.versions
        known = set(order)  # and last what was added by the old encoder since
        order += [row for row in range(len(versions)) if row not in known and versions[row] != number]
        left = [row for row in order if number is None or versions[row] != number]
        done_before = len(order) - len(left)
        ids = index.ids
        at = 0
        while at < len(left) and not _used_up(budget, refreshed, time.perf_counter() - began):
            size = batch if budget.rows is None else min(batch, budget.rows - refreshed)
            some = left[at : at + size]
            at += len(some)
            rows_B, vectors_BD = looker.look(some)
            lost += len(some) - len(rows_B)
            if rows_B:
                index.replace([ids[row] for row in rows_B], vectors_BD.numpy(), space, encoder=looker.encoder)
                if not refreshed:
                    index.keep_ranges(ranges_shown(looker.images.source), index.number_of(space))
                refreshed += len(rows_B)
                looker.forget(rows_B)
            if progress is not None:
                progress(done_before + refreshed, len(order))
            if stop():
                break
        paused = at < len(left)
        if not paused:
            journal.write(status="finished", space=index.number_of(space) if refreshed else journal.space)
    return RefreshCounts(refreshed, done_before + refreshed, len(order), lost, time.perf_counter() - began, paused)


def _number(index: Index, space: Space) -> int | None:
    """Number of a space in the index, None where it has none of its vectors yet."""
    found = [number for number, one in enumerate(index.spaces) if one.fingerprint == space.fingerprint]
    return found[0] if found else None


def _used_up(budget: Budget, rows: int, seconds: float) -> bool:
    return (budget.rows is not None and rows >= budget.rows) or (
        budget.seconds is not None and seconds >= budget.seconds
    )


def roll_back(index: Index, journal: UpgradeJournal, data: Any = None) -> int:
    """Give all rows their old vectors back, in one change, and return how many there were.

    Rows that were added meanwhile by the new encoder, and those of other images than then, are embedded by the old one,
    by their paths or from `data`. Raises InputError where that cannot be done.
    """
    with index.writing():
        number = [place for place, one in enumerate(index.spaces) if one.fingerprint == journal.to]
        old, ids, content = journal.old(), index.ids, content_of(index)
        at = {one: place for place, one in enumerate(old.ids)}
        back = [row for row, version in enumerate(index.versions.tolist()) if version in number]

        def is_fresh(row: int) -> bool:
            place = at.get(ids[row])
            return place is None or (old.content is not None and old.content[place] != content[row])

        fresh = [row for row in back if is_fresh(row)]
        if back:
            vector_of = dict(zip(fresh, _by_old(index, journal, fresh, data), strict=True))
            vectors = [vector_of[row] if row in vector_of else old.vectors_ND[at[ids[row]]] for row in back]
            index.replace([ids[row] for row in back], np.stack(vectors), index.spaces[journal.before])
        journal.write(status="rolled back")
    return len(back)


def _by_old(index: Index, journal: UpgradeJournal, rows: list[int], data: Any) -> list[NDArray[np.float32]]:
    """Vectors by the old encoder of rows that have none. Raises InputError where one cannot be had."""
    if not rows:
        return []
    first = f"{len(rows)} rows of {index.path}, such as {index.ids[rows[0]]!r}, are newer than the old vectors"
    try:
        images = RowImages(index, journal.data if data is None else data, index.ranges(journal.before))
        looker = Looker(index.encoder(journal.before), images)
        found = [looker.look(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    except InputError as error:
        raise InputError(f"{first}, and cannot be embedded by the old encoder ({error})") from error
    if sum(len(seen) for seen, _ in found) < len(rows):
        raise InputError(f"{first}, and not all of their images can be read: name the data with --data, or remove them")
    return [vector_D.numpy() for _, vectors_BD in found for vector_D in vectors_BD]
