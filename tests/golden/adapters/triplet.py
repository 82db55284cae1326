"""Truncated triplet: the band, the median, and a hinge that is partly closed, with gradients."""

from __future__ import annotations

from typing import Any

from adapters import Vectors, same
from likewise.methods.triplet import truncated_triplet


def check(v: Vectors, name: str, **settings: Any) -> None:
    prediction = v.leaf("prediction")
    loss = truncated_triplet(prediction, v["target"], low=v.number("rank_low"), high=v.number("rank_high"), **settings)
    loss.backward()
    same(loss, v[f"loss_{name}"])
    assert prediction.grad is not None
    same(prediction.grad, v[f"grad_prediction_{name}"])


def check_truncated(v: Vectors) -> None:
    check(v, "truncated", margin=v.number("margin"), gamma=v.number("gamma"))


def check_median(v: Vectors) -> None:
    check(v, "median", margin=v.number("margin"), gamma=v.number("gamma"), negatives="median")


def check_hinge(v: Vectors) -> None:
    check(v, "hinge", margin=v.number("margin_hinge"), gamma=v.number("gamma_hinge"))
