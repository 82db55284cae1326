"""The plan of an upgrade of an index: a sample by the new encoder, the sheet of arms, the order, and the curve."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from likewise.errors import InputError, unknown
from likewise.index import Index
from likewise.index.embedding.held import NO_LABELS, classes_of
from likewise.report.numbers import percent
from likewise.terminal import paragraph, table
from likewise.upgrading.adapters import fit
from likewise.upgrading.examples import PageRows
from likewise.upgrading.images import Looker
from likewise.upgrading.measures import Truth, answerable, neighbours_of
from likewise.upgrading.order import Order, RefreshPoint, choose, order_of, scores
from likewise.upgrading.page import size
from likewise.upgrading.refreshing import BATCH
from likewise.upgrading.sheet import Cost, Sheet, plan_sheet

_ORDERS = ("best", *get_args(Order))


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """What a plan is made by; an upgrade keeps them until it is finished or taken back."""

    labels: str = "label"
    """Column that says what a query should find; without one, and with `none`, the neighbours by the new encoder."""
    gate: float = 0.0
    """Least change of what is found, at the lower end of its interval."""
    order: Order | Literal["best"] = "best"
    """In which order vectors are replaced."""
    sample: int = 10_000
    """Images that are looked at by the new encoder; a smaller index is planned whole."""
    seed: int = 0
    """Of the sample and of random order."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What is known before anything is changed."""

    sheet: Sheet
    order: Order
    order_N: Tensor
    """(N,) all rows."""
    curve: tuple[RefreshPoint, ...]
    random: tuple[RefreshPoint, ...]
    shown: PageRows


def plan_of(index: Index, looker: Looker, settings: PlanSettings) -> Planned:
    """Look at a sample by the new encoder, measure the arms, and choose the order.

    Raises InputError for a sample, an order or a column of labels that cannot be, and for too few images.
    """
    sample, order, seed = settings.sample, settings.order, settings.seed
    if sample < 20:
        raise InputError(f"sample={sample} is too small: allowed is 20 or more")
    if order not in _ORDERS:
        raise unknown("order", str(order), _ORDERS)
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
    labels_N = labels_of(index, settings.labels)
    labels_M = None if labels_N is None else labels_N[sample_M]
    sheet = plan_sheet(
        old_NS[sample_M],
        new_MT,
        labels_M,
        gate=settings.gate,
        cost=Cost(images=len(index), seconds_an_image=seconds),
        seed=seed,
    )
    own_Q = torch.arange(len(rows))
    own_Q = (own_Q if labels_M is None else answerable(own_Q, labels_M))[: sheet.queries]
    truth = neighbours_of(new_MT[own_Q], new_MT, own_Q) if labels_M is None else Truth(labels_M)
    by_order = scores(old_NS, fit("ridge", old_NS[sample_M], new_MT, seed=seed), seed=seed)
    shown = PageRows(
        sheet=sheet,
        rows=sample_M,
        old=old_NS[sample_M],
        new=new_MT,
        labels=labels_M,
        column=settings.labels,
        curve=(),
        random=(),
    )
    if old_NS.shape[1] != new_MT.shape[1]:  # old and new vectors are never in one search: no order is better
        taken: Order = "random" if order == "best" or order not in by_order else order
        return Planned(sheet=sheet, order=taken, order_N=order_of(by_order[taken]), curve=(), random=(), shown=shown)
    if order != "best" and order not in by_order:
        raise InputError(f"order={order}: allowed are best, {', '.join(by_order)}")
    if order != "best":  # nothing is chosen between
        by_order = {"random": by_order["random"], order: by_order[order]}
    chosen = choose(sample_M, old_NS, new_MT, own_Q, truth, by_order, taken=None if order == "best" else order)
    ahead, random = tuple(chosen.curve), tuple(chosen.random)
    return Planned(
        sheet=sheet,
        order=chosen.name,
        order_N=order_of(by_order[chosen.name]),
        curve=ahead,
        random=random,
        shown=replace(shown, curve=ahead, random=random),
    )


def labels_of(index: Index, column: str) -> Tensor | None:
    """(N,) numbers of the classes in a column, -1 where unknown.

    None for `none`, where there is no column `label`, and where a column has fewer than two classes. Raises InputError
    for another column that is not there.
    """
    if column == NO_LABELS:
        return None
    columns = index.columns
    if column not in columns:
        if column == "label":
            return None
        raise InputError(f"{index.path} has no column {column!r}: it has {', '.join(columns) or 'none'}")
    class_N, names = classes_of(columns[column])
    return None if len(names) < 2 else torch.from_numpy(class_N)


def sheet_lines(sheet: Sheet) -> list[str]:
    """The arms as a table for a terminal."""
    of = "" if sheet.images == sheet.of else f" (a sample of {sheet.of:,})"
    lines = [
        f"{sheet.measure}",
        f"{sheet.queries:,} queries among {sheet.images:,} images{of}; gate {100 * sheet.gate:+.1f} points",
        "",
    ]
    rows = [
        [
            arm.name,
            percent(arm.new_old),
            f"{100 * arm.low:.1f} to {100 * arm.high:.1f}",
            f"{100 * arm.difference.mean:+.1f}",
            f"{arm.gain:.2f}" if arm.gain == arm.gain else "-",
            percent(arm.negative_flips),
            f"{arm.seconds:.1f}",
            size(arm.bytes),
        ]
        for arm in sheet.arms
    ]
    lines += [table(["way", "found", "95 %", "change", "gain", "worse", "seconds", "written"], rows), ""]
    if refused := [arm.name for arm in sheet.arms if not arm.passes]:
        lines.append(paragraph(", ".join(refused), first="refused ", indent="        "))
    lines += [paragraph(one, first="note    ", indent="        ") for one in sheet.notes]
    lines.append(f"best    {sheet.best.name}")
    return lines
