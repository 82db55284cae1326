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
from typing import NamedTuple

import numpy as np

from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.index import Index
from likewise.index.space import Space
from likewise.upgrading.images import Looker
from likewise.upgrading.journal import UpgradeJournal

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
    encoder: Encoder,
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
        old_ids, _ = journal.old()
        row_of = {one: row for row, one in enumerate(index.ids)}
        order = [row_of[old_ids[row]] for row in journal.ordered().tolist() if old_ids[row] in row_of]
        number, versions = _number(index, space), index.versions
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
                index.replace([ids[row] for row in rows_B], vectors_BD.numpy(), space, encoder=encoder)
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


def roll_back(index: Index, journal: UpgradeJournal) -> int:
    """Give all rows their old vectors back, in one change, and return how many there were.

    Raises InputError where rows were added meanwhile that never had an old vector.
    """
    with index.writing():
        number = [place for place, one in enumerate(index.spaces) if one.fingerprint == journal.to]
        old_ids, old_ND = journal.old()
        at = {one: place for place, one in enumerate(old_ids)}
        ids, versions = index.ids, index.versions
        back = [one for one, version in zip(ids, versions.tolist(), strict=True) if version in number]
        strange = [one for one in back if one not in at]
        if strange:
            raise InputError(
                f"{len(strange)} rows of {index.path}, such as {strange[0]!r}, were added after the upgrade began and "
                "have no old vector: remove them first, or embed them by the old encoder"
            )
        if back:
            places = np.array([at[one] for one in back], np.int64)
            index.replace(back, old_ND[places], index.spaces[journal.before])
        journal.write(status="rolled back")
    return len(back)
