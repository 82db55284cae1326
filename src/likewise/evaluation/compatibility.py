"""Compatibility of a new encoder with an old one: gain, flips, and the curve while a gallery is refreshed.

M(a, b) is a retrieval metric with queries by encoder a and gallery by encoder b (BCT, arXiv 2003.11942, section 3).
Shapes: Q queries, N images of the gallery, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation.probes.retrieval import rank


def update_gain(new_old: float, old_old: float, paragon: float) -> float:
    """G = (M(new, old) - M(old, old)) / (M(paragon, paragon) - M(old, old)).

    1: all of the new encoder's benefit without touching the gallery; 0 or less: not compatible. Not a number where the
    paragon, the new encoder trained freely, is no better than the old one.
    """
    return (new_old - old_old) / (paragon - old_old) if paragon > old_old else math.nan


class Flips(NamedTuple):
    """Changes of single queries' results when the encoder of the queries changed."""

    negative: float
    """Share of queries that were right before and are wrong now."""
    positive: float
    """Share of queries that were wrong before and are right now."""


def flips(before_Q: Tensor, now_Q: Tensor) -> Flips:
    """Flips between two results of the same queries, right or not. Raises InputError where their numbers differ."""
    if len(before_Q) != len(now_Q):
        raise InputError(f"{len(before_Q)} queries before and {len(now_Q)} now: flips compare the same queries")
    return Flips(float((before_Q & ~now_Q).double().mean()), float((~before_Q & now_Q).double().mean()))


class Refreshed(NamedTuple):
    """Retrieval scores with a share of the gallery refreshed."""

    fraction: float
    average_precision: float
    rank1: float


def refresh_curve(
    query_QD: Tensor,
    old_ND: Tensor,
    new_ND: Tensor,
    query_labels_Q: Tensor,
    labels_N: Tensor,
    order_N: Tensor,
    fractions: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> list[Refreshed]:
    """mAP and rank-1 of new queries while the gallery's vectors are replaced in the order `order_N`, old by new.

    At fraction f the first round(f N) images of the order have their new vectors. Raises InputError where old and new
    vectors differ in shape, and as `rank` does.
    """
    if old_ND.shape != new_ND.shape:
        raise InputError(f"old vectors are {tuple(old_ND.shape)} and new ones {tuple(new_ND.shape)}: fit them first")
    curve = []
    for fraction in fractions:
        gallery_ND = old_ND.clone()
        done = order_N[: round(fraction * len(order_N))]
        gallery_ND[done] = new_ND[done]
        found = rank(query_QD, gallery_ND, query_labels_Q, labels_N)
        precision, first = found.precision_Q.double(), (found.first_Q == 1).double()
        curve.append(Refreshed(fraction, float(precision.mean()), float(first.mean())))
    return curve
