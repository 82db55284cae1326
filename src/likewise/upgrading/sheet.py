"""A sheet of all ways to a new encoder: the gain and cost of each, and whether it is allowed.

Everything is computed from vectors of both encoders of the same images. Shapes: N images, Q queries, S and T dimensions
of old and new vectors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation.compatibility import update_gain
from likewise.upgrading.adapters import FORMS, Form, held_out
from likewise.upgrading.measures import (
    MeanInterval,
    Truth,
    answerable,
    bootstrap,
    found_of,
    neighbours_of,
    or_none,
)

KEEP, AS_IT_IS, ALL = "keep", "compatible", "re-embed"
QUERIES = 2000
"""Images that are asked for; more would narrow the intervals little."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The quantities that the costs of an arm are computed from."""

    images: int
    """All images of the index, of which the vectors here may be a sample."""
    seconds_an_image: float = 0.0
    """For the new encoder to look at one."""


@dataclass(frozen=True, kw_only=True)
class UpgradeArm:
    """One way to change, measured."""

    name: str
    """keep; compatible: new queries on the old vectors as they are; orthogonal, ridge, mlp: new queries mapped to old
    vectors; the same with `-gallery`: old vectors mapped to where new ones lie; re-embed."""
    new_old: float
    """What queries find this way."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    old_old: float
    """What they find today."""
    new_new: float
    """What they would find if all images were embedded anew."""
    gain: float
    """(new_old - old_old) / (new_new - old_old): 1 is all that re-embedding would bring. Not a number where that brings
    nothing."""
    difference: MeanInterval
    """new_old - old_old over the same queries."""
    negative_flips: float
    """Share of queries that find less than before."""
    positive_flips: float
    """Share of queries that find more."""
    seconds: float
    """Until the index is changed: fitting, mapping, embedding."""
    bytes: int
    """Written for it: a map, or vectors."""
    passes: bool
    """Whether the lower end of `difference` is at or above the gate; keeping the old passes always."""

    def record(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "name": self.name,
            "new_old": self.new_old,
            "old_old": self.old_old,
            "new_new": self.new_new,
            "gain": or_none(self.gain),
            "seconds": self.seconds,
            "low": self.low,
            "high": self.high,
            "difference": list(self.difference),
            "negative_flips": self.negative_flips,
            "positive_flips": self.positive_flips,
            "bytes": self.bytes,
            "passes": self.passes,
        }


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All arms, and what may be done."""

    arms: tuple[UpgradeArm, ...]
    measure: str
    """In words."""
    gate: float
    """Least change of the measure, at the lower end of its interval, that is let through."""
    queries: int
    images: int
    """Whose vectors were compared."""
    of: int
    """Images of the index."""
    notes: tuple[str, ...] = field(default=())
    """What was left out and why."""

    def arm(self, name: str) -> UpgradeArm | None:
        """The arm of that name, where it was measured."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @property
    def allows_all(self) -> bool:
        """Whether re-embedding everything passes the gate, without which no upgrade is begun."""
        return any(arm.name == ALL and arm.passes for arm in self.arms)

    @property
    def best(self) -> UpgradeArm:
        """Of the arms that pass, the one that finds most; of those within its interval the cheapest."""
        passing = [arm for arm in self.arms if arm.passes]
        top = max(passing, key=lambda arm: arm.new_old)
        return min((arm for arm in passing if arm.new_old >= top.low), key=lambda arm: (arm.seconds, arm.bytes))

    def record(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "arms": [arm.record() for arm in self.arms],
            "gate": {
                "least": self.gate,
                "passed": [arm.name for arm in self.arms if arm.passes],
                "best": self.best.name,
            },
            "measure": self.measure,
            "queries": self.queries,
            "images": self.images,
            "of": self.of,
            "notes": list(self.notes),
        }


class _Tried(NamedTuple):
    """An arm before it is judged."""

    found_Q: Tensor
    seconds: float
    bytes: int


def plan_sheet(
    old_NS: Tensor,
    new_NT: Tensor,
    labels_N: Tensor | None = None,
    *,
    gate: float = 0.0,
    cost: Cost | None = None,
    forms: tuple[Form, ...] = FORMS,
    queries: int = QUERIES,
    seed: int = 0,
) -> Sheet:
    """Measure every arm on the same queries, each against all other images.

    With `labels_N` (-1 where unknown) the measure is whether the nearest other image is of the query's class; without,
    how many of the ten neighbours are found that the new encoder gives where all images are embedded by it. Adapters
    map each image by a fit that did not see it. Raises InputError where vectors are not of the same images or not
    finite, and for fewer than 20 of them.
    """
    _check(old_NS, new_NT, labels_N, gate)
    count = len(old_NS)
    own_Q = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    own_Q = (own_Q if labels_N is None else answerable(own_Q, labels_N))[:queries].sort().values
    truth = neighbours_of(new_NT[own_Q], new_NT, own_Q) if labels_N is None else Truth(labels_N)
    cost = cost or Cost(images=count)
    notes: list[str] = []
    tried = {KEEP: _Tried(found_of(old_NS[own_Q], old_NS, own_Q, truth), 0.0, 0)}
    if old_NS.shape[1] == new_NT.shape[1]:
        tried[AS_IT_IS] = _Tried(found_of(new_NT[own_Q], old_NS, own_Q, truth), 0.0, 0)
    else:
        notes.append(
            f"new vectors have {new_NT.shape[1]} dimensions and old ones {old_NS.shape[1]}: not comparable as they are"
        )
    for form in forms:
        tried |= _adapted(form, old_NS, new_NT, own_Q, truth, cost, seed)
    every = cost.images
    tried[ALL] = _Tried(
        found_of(new_NT[own_Q], new_NT, own_Q, truth), cost.seconds_an_image * every, every * new_NT.shape[1] * 4
    )
    base_Q, whole = tried[KEEP].found_Q, float(tried[ALL].found_Q.mean())
    return Sheet(
        arms=tuple(_judged(name, one, base_Q, whole, gate) for name, one in tried.items()),
        measure=truth.words,
        gate=gate,
        queries=len(own_Q),
        images=count,
        of=every,
        notes=tuple(notes),
    )


def _adapted(
    form: Form, old_NS: Tensor, new_NT: Tensor, own_Q: Tensor, truth: Truth, cost: Cost, seed: int
) -> dict[str, _Tried]:
    """Both directions of an adapter."""
    mapped_NS, back = held_out(form, new_NT, old_NS, seed=seed)
    queries = _Tried(found_of(mapped_NS[own_Q], old_NS, own_Q, truth), back.seconds, back.bytes)
    mapped_NT, forth = held_out(form, old_NS, new_NT, seed=seed)
    each = timed(lambda: forth.apply(old_NS)) / len(old_NS)
    gallery = _Tried(
        found_of(new_NT[own_Q], mapped_NT, own_Q, truth),
        forth.seconds + each * cost.images,
        forth.bytes + cost.images * new_NT.shape[1] * 4,
    )
    return {form: queries, f"{form}-gallery": gallery}


def _judged(name: str, tried: _Tried, base_Q: Tensor, whole: float, gate: float) -> UpgradeArm:
    found, base = tried.found_Q.numpy(), base_Q.numpy()
    here, difference = bootstrap(found), bootstrap(found - base)
    before = float(base.mean())
    return UpgradeArm(
        name=name,
        new_old=here.mean,
        low=here.low,
        high=here.high,
        old_old=before,
        new_new=whole,
        gain=update_gain(here.mean, before, whole),
        difference=difference,
        negative_flips=_share(found < base),
        positive_flips=_share(found > base),
        seconds=tried.seconds,
        bytes=tried.bytes,
        passes=name == KEEP or difference.low >= gate,
    )


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean())


def timed(action: Callable[[], object]) -> float:
    """Seconds that `action` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _check(old_NS: Tensor, new_NT: Tensor, labels_N: Tensor | None, gate: float) -> None:
    if old_NS.ndim != 2 or new_NT.ndim != 2 or len(old_NS) != len(new_NT):
        raise InputError(
            f"old vectors are {tuple(old_NS.shape)} and new ones {tuple(new_NT.shape)}: a row for each image is needed"
        )
    if len(old_NS) < 20:
        raise InputError(f"{len(old_NS)} images are too few to plan with: 20 or more are needed")
    if labels_N is not None and len(labels_N) != len(old_NS):
        raise InputError(f"{len(labels_N)} labels of {len(old_NS)} images: one each is needed")
    for name, vectors in (("old", old_NS), ("new", new_NT)):
        if not bool(vectors.isfinite().all()):
            raise InputError(f"{name} vectors are not all finite numbers")
    if not -1.0 <= gate <= 1.0 or math.isnan(gate):
        raise InputError(f"gate={gate} is out of range: allowed is -1 (let all through) to 1")
