"""The order in which images get new vectors, so that retrieval improves fastest while few have them.

An order is chosen by trying several on images whose vectors are known from both encoders. Shapes: N images of the
index, M of the sample, Q queries, S and T dimensions of old and new vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import unit
from likewise.upgrading.adapters import Adapter
from likewise.upgrading.measures import NEIGHBOURS, Truth, found_of, nearest

Order = Literal["random", "popular", "unpopular", "moved", "steady"]
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
_STEPS = tuple(sorted({step / 10 for step in range(11)} | set(FRACTIONS)))
ASKED = 1000
"""Images whose neighbours are looked up to see which others are found often."""


class RefreshPoint(NamedTuple):
    """Retrieval scores with a share of the images refreshed."""

    fraction: float
    found: float


class ChosenOrder(NamedTuple):
    """The order that was taken, and how such an order and random order did on the sample."""

    name: Order
    curve: list[RefreshPoint]
    """Of each half of the queries by the order that the other half would have taken, so that none is told of by those
    that chose it; where both agree with the whole, it is that of the order taken."""
    random: list[RefreshPoint]


def scores(old_NS: Tensor, adapter: Adapter | None, *, seed: int = 0) -> dict[Order, Tensor]:
    """(N,) how early each image comes in each of the orders, the highest first; what is known without new vectors.

    `popular`: how often an image is among the ten neighbours of others, so that what is shown most often is new first;
    `unpopular` the reverse. `moved`: how far the `adapter` from old to new vectors, fitted on a sample, carries an
    image's old vector, where both have the same dimensions; `steady` the reverse. `random`: a draw.
    """
    count, draw = len(old_NS), torch.Generator().manual_seed(seed)
    asked_Q = torch.randperm(count, generator=draw)[:ASKED]
    seen_N = torch.bincount(nearest(old_NS[asked_Q], old_NS, asked_Q, NEIGHBOURS).flatten(), minlength=count).double()
    seen_N += 1e-6 * torch.rand(count, generator=draw, dtype=torch.float64)
    by_order: dict[Order, Tensor] = {
        "random": torch.rand(count, generator=draw),
        "popular": seen_N,
        "unpopular": -seen_N,
    }
    if adapter is not None:
        mapped_NT = adapter.apply(old_NS)
        if mapped_NT.shape == old_NS.shape:
            moved_N = 1.0 - (mapped_NT * unit(old_NS.float())).sum(1)
            by_order |= {"moved": moved_N, "steady": -moved_N}
    return by_order


def order_of(score_N: Tensor) -> Tensor:
    """(N,) positions, the highest score first, equal ones as they come."""
    return score_N.argsort(descending=True, stable=True)


def curve(
    query_QT: Tensor,
    old_NT: Tensor,
    new_NT: Tensor,
    own_Q: Tensor,
    truth: Truth,
    order_N: Tensor,
    fractions: Sequence[float] = FRACTIONS,
) -> list[RefreshPoint]:
    """Retrieval by new queries while vectors are replaced in this order, each query's own image left out.

    Raises InputError where old and new vectors differ in dimensions: they would not be in one search.
    """
    return _means(_course(query_QT, old_NT, new_NT, own_Q, truth, order_N, fractions), fractions, fractions)


def _course(
    query_QT: Tensor,
    old_NT: Tensor,
    new_NT: Tensor,
    own_Q: Tensor,
    truth: Truth,
    order_N: Tensor,
    fractions: Sequence[float],
) -> Tensor:
    """(S, Q) what each query finds at each of the S fractions. Raises InputError as `curve`."""
    if old_NT.shape != new_NT.shape:
        raise InputError(f"old vectors are {tuple(old_NT.shape)} and new ones {tuple(new_NT.shape)}: map them first")
    found, gallery_NT = [], unit(old_NT.float())
    for fraction in fractions:
        done = order_N[: round(fraction * len(order_N))]
        gallery_NT[done] = unit(new_NT[done].float())
        found.append(found_of(query_QT, gallery_NT, own_Q, truth))
    return torch.stack(found)


def _means(found_SQ: Tensor, steps: Sequence[float], wanted: Sequence[float]) -> list[RefreshPoint]:
    """The means over queries at some of the steps."""
    return [RefreshPoint(one, float(found_SQ[steps.index(one)].mean())) for one in wanted]


def choose(
    sample_M: Tensor,
    old_NT: Tensor,
    new_MT: Tensor,
    own_Q: Tensor,
    truth: Truth,
    by_order: Mapping[Order, Tensor],
    *,
    taken: Order | None = None,
) -> ChosenOrder:
    """The order whose curve on the sample has the largest area, random where none is ahead of it; or that `taken`.

    `sample_M` are the images of the index whose new vectors are known, `new_MT` these; `own_Q` and `truth` count
    within the sample.
    """
    found: dict[Order, Tensor] = {}
    for name, score_N in by_order.items():
        order_M = order_of(score_N[sample_M])
        found[name] = _course(new_MT[own_Q], old_NT[sample_M], new_MT, own_Q, truth, order_M, _STEPS)

    def best(asked: Tensor) -> Order:
        if taken is not None:
            return taken
        return max(found, key=lambda one: (area(_means(found[one][:, asked], _STEPS, _STEPS)), one == "random"))

    every = torch.arange(len(own_Q))
    even, odd = every[::2], every[1::2]
    told_SQ = torch.cat([found[best(odd)][:, even], found[best(even)][:, odd]], 1)
    return ChosenOrder(best(every), _means(told_SQ, _STEPS, FRACTIONS), _means(found["random"], _STEPS, FRACTIONS))


def area(points: Sequence[RefreshPoint]) -> float:
    """Mean of what is found over the refresh, by trapezia."""
    whole = sum((b.fraction - a.fraction) * (a.found + b.found) / 2 for a, b in pairwise(points))
    return whole / (points[-1].fraction - points[0].fraction)
