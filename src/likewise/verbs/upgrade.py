"""`likewise.upgrade`: what a new encoder would bring to an index, and giving it the new vectors while it is in use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.evaluation.subject import Run, open_subject
from likewise.files import write_aside
from likewise.index import Index, Space, open_index
from likewise.report.numbers import percent
from likewise.upgrading import journal as journals
from likewise.upgrading.adapters import fit
from likewise.upgrading.examples import Shown, page_of
from likewise.upgrading.images import Looker, RowImages
from likewise.upgrading.journal import Journal
from likewise.upgrading.measures import Truth, answerable, neighbours_of
from likewise.upgrading.order import FRACTIONS, Order, Point, choose, curve, order_of, scores
from likewise.upgrading.page import size
from likewise.upgrading.refreshing import BATCH, Budget, Done, Progress, refresh, roll_back
from likewise.upgrading.sheet import ALL, AS_IT_IS, Cost, Sheet, plan_sheet

SAMPLE = 10_000
"""Images that a plan looks at by the new encoder; a smaller index is planned whole."""


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What `upgrade` did or would do."""

    path: str
    """The index."""
    fingerprint: str
    """Of the space that the index is in now, or that it would go to."""
    sheet: Sheet | None
    """The plan; None where an upgrade goes on, and after a rollback."""
    order: Order | str | None
    """In which order vectors are replaced."""
    curve: tuple[Point, ...]
    """What is found with a share of the vectors replaced in that order, on the images of the plan."""
    random: tuple[Point, ...]
    """The same in random order."""
    done: Done | None
    """What was refreshed; None for a plan and a rollback."""
    rolled_back: int | None = None
    """Vectors that were taken back."""
    compatible: bool = False
    """Whether new queries are compared with old vectors while both are in the index."""

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        told: dict[str, Any] = {"path": self.path, "fingerprint": self.fingerprint}
        if self.sheet is not None:
            told |= self.sheet.record()
        if self.curve:
            told |= {
                "order": self.order,
                "curve": [list(p) for p in self.curve],
                "random": [list(p) for p in self.random],
            }
        if self.done is not None:
            told |= {**self.done._asdict(), "compatible": self.compatible}
        if self.rolled_back is not None:
            told["rolled_back"] = self.rolled_back
        return told

    def __str__(self) -> str:
        """Lines for people."""
        lines = [] if self.sheet is None else sheet_lines(self.sheet)
        if self.curve:
            names = " ".join(f"{100 * point.fraction:>6.0f}%" for point in self.curve)
            lines += ["", f"{'refreshed':<20}{names}"]
            for name, points in ((f"{self.order} order", self.curve), ("random order", self.random)):
                lines.append(f"{name:<20}" + " ".join(f"{100 * point.found:>6.1f}%" for point in points))
        if self.done is not None:
            done = self.done
            lines.append(f"{done.refreshed:,} refreshed, {done.new:,} of {done.rows:,} rows are new")
            if done.lost:
                lines.append(f"note    {done.lost:,} images could not be had; their rows keep their old vectors")
            if done.paused and not self.compatible:
                lines.append(
                    "note    old and new vectors are not compatible: meanwhile images are searched by both encoders"
                )
        if self.rolled_back is not None:
            lines.append(f"{self.rolled_back:,} rows have their old vectors back")
        return "\n".join(lines)


def upgrade(
    index: str | Path | Index,
    *,
    to: Run | None = None,
    plan: bool = False,
    rollback: bool = False,
    data: Any = None,
    labels: str | None = "label",
    gate: float = 0.0,
    budget: str | None = None,
    order: Order | Literal["best"] = "best",
    sample: int = SAMPLE,
    which: Literal["student", "teacher"] | None = None,
    pretrained: bool = False,
    html: str | Path | None = None,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> Upgrade:
    """Change the encoder of an index: measure every way to it (`plan`), or replace the vectors while it is in use.

    `to` is the new encoder: a run, a weights file, or a timm name with `pretrained`. Images are found by the paths of
    the rows, or by their ids in `data`. `labels` is the column that says what a query should find; without one the
    neighbours by the new encoder are that. The plan is made first, and where re-embedding does not pass the `gate` (the
    least change, at the lower end of its interval) nothing is changed. Vectors are replaced in the order that raised
    what is found fastest on `sample` images, until all are, or the `budget` is used up (`1000` rows, `25%`, `90s`,
    `10m`), or `stop` says so after a batch. The same call goes on, after an end at any moment. `rollback` gives all
    rows their old vectors back, in one change.

    Raises InputError for an index or encoder that is not there, where the gate is not passed, where another upgrade is
    under way, and where another process writes; DiskFull, with the index whole.
    """
    opened = index if isinstance(index, Index) else open_index(index)
    begun = journals.read(opened)
    if rollback:
        return _rolled_back(opened, begun)
    if to is None:
        raise InputError("name the new encoder with --to, or take the old vectors back with --rollback")
    subject = open_subject(to, which, pretrained=pretrained)
    encoder = subject.encoder.eval()
    space = Space.of_encoder(encoder)
    budgeted = Budget.parse(budget, len(opened))
    under_way = begun if begun is not None and begun.status == "running" else None
    _check_goal(opened, under_way, space)
    if under_way is not None and plan:
        raise InputError(f"{opened.path} is between two encoders: finish the upgrade, or take it back, to plan another")
    where = data if data is not None or under_way is None else under_way.data
    looker = Looker(encoder, RowImages(opened, where, subject.ranges()))
    if under_way is not None:
        return _refreshed(opened, under_way, space, encoder, looker, budgeted, stop=stop, progress=progress)
    planned = _planned(opened, looker, labels, gate=gate, sample=sample, order=order, seed=seed)
    if html is not None:
        with write_aside(Path(html)) as file:
            file.write(page_of(opened, looker.images, planned.shown).encode())
    told = Upgrade(
        path=opened.path,
        fingerprint=space.fingerprint,
        sheet=planned.sheet,
        order=planned.order if planned.curve else None,
        curve=planned.curve,
        random=planned.random,
        done=None,
    )
    if plan:
        return told
    _check_gate(planned.sheet)
    fitting = planned.sheet.arm(AS_IT_IS)
    compatible = fitting is not None and fitting.difference.mean >= 0  # whatever the gate lets through
    started = journals.begin(
        opened,
        planned.order_N.numpy(),
        to=space.fingerprint,
        before=opened.current,
        space=len(opened.spaces),
        encoder=str(to),
        data=str(data) if isinstance(data, str | Path) else None,
        order=planned.order,
        curve=planned.curve,
        random=planned.random,
        measure=planned.sheet.measure,
        compatible=compatible,
        sheet=planned.sheet.record(),
    )
    done = _refreshed(opened, started, space, encoder, looker, budgeted, stop=stop, progress=progress)
    return replace(told, done=done.done, compatible=compatible)


def _check_goal(index: Index, under_way: Journal | None, space: Space) -> None:
    """Refuse an empty index, a second upgrade beside one, and one to where the index is."""
    if not len(index):
        raise InputError(f"{index.path} is empty: embed into it by the new encoder at once")
    if under_way is not None and under_way.to != space.fingerprint:
        raise InputError(
            f"an upgrade of {index.path} to {under_way.encoder} is under way: go on with --to {under_way.encoder}, or "
            "take it back with --rollback"
        )
    held = index.held_spaces()
    if under_way is None and len(held) == 1 and not index.spaces[held[0]].differences(space):
        raise InputError(f"the vectors of {index.path} are of this encoder already ({space.fingerprint})")
    if under_way is None and len(held) > 1:
        raise InputError(f"{index.path} holds vectors of {len(held)} spaces and no upgrade is under way: embed it anew")


def _check_gate(sheet: Sheet) -> None:
    whole = sheet.arm(ALL)
    assert whole is not None
    if not whole.passes:
        low, mean = 100 * whole.difference.low, 100 * whole.difference.mean
        raise InputError(
            f"refused: re-embedding changes what is found by {mean:+.1f} points, at worst {low:+.1f}, and the gate is "
            f"{100 * sheet.gate:+.1f}; nothing was changed (--gate sets another, -1 lets all through)"
        )


def _rolled_back(index: Index, begun: Journal | None) -> Upgrade:
    if begun is None or begun.status == "rolled back":
        raise InputError(f"{index.path} has no upgrade that could be taken back")
    count = roll_back(index, begun)
    return Upgrade(
        path=index.path,
        fingerprint=index.fingerprint,
        sheet=None,
        order=None,
        curve=(),
        random=(),
        done=None,
        rolled_back=count,
    )


def _refreshed(
    index: Index,
    journal: Journal,
    space: Space,
    encoder: Encoder,
    looker: Looker,
    budget: Budget,
    *,
    stop: Callable[[], bool],
    progress: Progress | None,
) -> Upgrade:
    if journal.compatible:
        space = space.following(index.spaces[journal.before])
    done = refresh(index, journal, space, encoder, looker, budget, stop=stop, progress=progress)
    return Upgrade(
        path=index.path,
        fingerprint=space.fingerprint,
        sheet=None,
        order=journal.order,
        curve=tuple(Point(*pair) for pair in journal.curve),
        random=tuple(Point(*pair) for pair in journal.random),
        done=done,
        compatible=journal.compatible,
    )


# The plan ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """What is known before anything is changed."""

    sheet: Sheet
    order: Order
    order_N: Tensor
    """(N,) all rows."""
    curve: tuple[Point, ...]
    random: tuple[Point, ...]
    shown: Shown


def _planned(
    index: Index,
    looker: Looker,
    labels: str | None,
    *,
    gate: float,
    sample: int,
    order: Order | Literal["best"],
    seed: int,
) -> _Planned:
    """Look at a sample by the new encoder, measure the arms, and choose the order."""
    if sample < 20:
        raise InputError(f"sample={sample} is too small: allowed is 20 or more")
    there = torch.from_numpy(np.flatnonzero(looker.images.position_N >= 0))
    drawn = there[torch.randperm(len(there), generator=torch.Generator().manual_seed(seed))[:sample]].sort().values
    began = time.perf_counter()
    rows: list[int] = []
    for some in torch.split(drawn, BATCH):
        rows += looker.look(some.tolist())[0]
    seconds = (time.perf_counter() - began) / max(1, len(rows))
    if len(rows) < 20:
        raise InputError(f"{len(rows)} images of {index.path} can be read: a plan needs 20 or more")
    sample_M, new_MT = torch.tensor(rows), looker.look(rows)[1]
    old_NS = torch.from_numpy(np.array(index.vectors(), np.float32))
    labels_N = labels_of(index, labels)
    labels_M = None if labels_N is None else labels_N[sample_M]
    sheet = plan_sheet(
        old_NS[sample_M],
        new_MT,
        labels_M,
        gate=gate,
        cost=Cost(images=len(index), seconds_an_image=seconds),
        seed=seed,
    )
    own_Q = torch.arange(len(rows))
    own_Q = (own_Q if labels_M is None else answerable(own_Q, labels_M))[: sheet.queries]
    truth = neighbours_of(new_MT[own_Q], new_MT, own_Q) if labels_M is None else Truth(labels_M)
    told = scores(old_NS, fit("ridge", old_NS[sample_M], new_MT, seed=seed), seed=seed)
    shown = Shown(sheet=sheet, rows=sample_M, old=old_NS[sample_M], new=new_MT, labels=labels_M, curve=(), random=())
    if old_NS.shape[1] != new_MT.shape[1]:  # old and new vectors are never in one search: no order is better
        taken: Order = "random" if order == "best" or order not in told else order
        return _Planned(sheet=sheet, order=taken, order_N=order_of(told[taken]), curve=(), random=(), shown=shown)
    if order == "best":
        taken = choose(sample_M, old_NS, new_MT, own_Q, truth, told).name
    elif order in told:
        taken = order
    else:
        raise InputError(f"order={order}: allowed are best, {', '.join(told)}")
    curves = [
        tuple(curve(new_MT[own_Q], old_NS[sample_M], new_MT, own_Q, truth, order_of(told[name][sample_M]), FRACTIONS))
        for name in (taken, "random")
    ]
    shown = replace(shown, curve=curves[0], random=curves[1])
    return _Planned(
        sheet=sheet, order=taken, order_N=order_of(told[taken]), curve=curves[0], random=curves[1], shown=shown
    )


def labels_of(index: Index, column: str | None) -> Tensor | None:
    """(N,) numbers of the classes in a column, -1 where unknown; None where there is no column `label`.

    Raises InputError for another column that is not there, and for one where no two rows agree.
    """
    if column is None:
        return None
    columns = index.columns
    if column not in columns:
        if column == "label":
            return None
        raise InputError(f"{index.path} has no column {column!r}: it has {', '.join(columns) or 'none'}")
    values = [None if value is None or value in {"", -1} else str(value) for value in columns[column].tolist()]
    number = {name: place for place, name in enumerate(sorted({one for one in values if one is not None}))}
    if len(number) < 2:
        return None
    return torch.tensor([-1 if one is None else number[one] for one in values])


def sheet_lines(sheet: Sheet) -> list[str]:
    """The arms as a table for a terminal."""
    of = "" if sheet.images == sheet.of else f" (a sample of {sheet.of:,})"
    lines = [
        f"{sheet.measure}",
        f"{sheet.queries:,} queries among {sheet.images:,} images{of}; gate {100 * sheet.gate:+.1f} points",
        "",
        f"{'way':<20}{'found':>8}{'95 %':>16}{'change':>9}{'gain':>7}{'worse':>8}{'seconds':>10}{'written':>10}",
    ]
    for arm in sheet.arms:
        gain = f"{arm.gain:.2f}" if arm.gain == arm.gain else "-"
        interval = f"{100 * arm.low:.1f} to {100 * arm.high:.1f}"
        lines.append(
            f"{arm.name:<20}{percent(arm.new_old):>8}{interval:>16}{100 * arm.difference.mean:>+9.1f}{gain:>7}"
            f"{percent(arm.negative_flips):>8}{arm.seconds:>10.1f}{size(arm.bytes):>10}"
            f"{'' if arm.passes else '  refused'}"
        )
    lines += [f"note    {one}" for one in sheet.notes]
    lines.append(f"best    {sheet.best.name}")
    return lines
