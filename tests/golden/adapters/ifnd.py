"""IFND: assignments, confidence and acceptance at each granularity, both objectives; and FNC, whose keys lie here."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from adapters import Vectors, same
from adapters.fnc import check_false_negatives as check_fnc_pairs
from adapters.fnc import check_objective as check_fnc_objective
from likewise.similarity import contrast, unit
from likewise.similarity.positives.false_negatives import Strategy, accept, assign, contrast_without, false_negatives

__all__ = ["check_fnc_objective", "check_fnc_pairs"]


def levels(v: Vectors) -> list[str]:
    """Names of the granularities in the file."""
    return sorted(key.removeprefix("centroids_") for key in v.arrays if re.fullmatch(r"centroids_level\d+", key))


def accepted(v: Vectors, level: str) -> tuple[Tensor, Tensor]:
    """Accepted labels of the anchors and of the queue, as the library finds them."""
    rows = torch.cat([unit(v["key"]), v["queue"]])
    found = accept(
        assign(rows, v[f"centroids_{level}"], v.number("confidence_temperature")), v.number("acceptance_rate")
    )
    return found[: len(v["key"])], found[len(v["key"]) :]


def check_assignments(v: Vectors) -> None:
    rows = torch.cat([unit(v["key"]), v["queue"]])
    for level in levels(v):
        found = assign(rows, v[f"centroids_{level}"], v.number("confidence_temperature"))
        assert found.labels.equal(v[f"labels_{level}"])
        same(found.confidence, v[f"confidence_{level}"], 1e-8)
        assert torch.cat(accepted(v, level)).equal(v[f"accepted_{level}"])


def losses(v: Vectors, query: Tensor, strategy: Strategy) -> dict[str, Tensor]:
    """The loss at each granularity."""
    return {
        level: contrast_without(
            query, v["key"], v["queue"], v.number("temperature"), false_negatives(*accepted(v, level)), strategy
        )
        for level in levels(v)
    }


def strategy_agrees(v: Vectors, strategy: Strategy) -> None:
    query = v.leaf("query")
    found = losses(v, query, strategy)
    for level, loss in found.items():
        same(loss, v[f"loss_{strategy}_{level}"], 1e-8)
    mean = torch.stack(list(found.values())).mean()
    mean.backward()
    same(mean, v[f"loss_{strategy}"], 1e-8)
    assert query.grad is not None
    same(query.grad, v[f"grad_query_{strategy}"], 1e-8)


def check_elimination(v: Vectors) -> None:
    strategy_agrees(v, "elimination")


def check_attraction(v: Vectors) -> None:
    strategy_agrees(v, "attraction")


def check_nothing_accepted_is_moco(v: Vectors) -> None:
    query, key, queue, temperature = v["query"], v["key"], v["queue"], v.number("temperature")
    nothing = torch.zeros(len(query), len(queue), dtype=torch.bool)
    for strategy in ("elimination", "attraction"):
        same(contrast_without(query, key, queue, temperature, nothing, strategy), v["loss_infonce"], 1e-8)
    same(contrast(query, key, queue, temperature), v["loss_infonce"], 1e-8)
