"""Comparison of all strategies at one budget: the selected rows, and their quality without and with labels.

Shapes: N images of the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from likewise.selection.picking import STRATEGIES, Picks, pick
from likewise.selection.pool import Pool
from likewise.selection.proof import Draw, Expected, LabelledScore, expect, measure, rests_on

TRAINED = "usl_t"
"""The strategy that is a trained run."""
DRAWS = 10
"""Random draws that the real accuracy of `random` is the mean of."""


def rows_of(pool: Pool, labels: int, by: str, found: Picks, seed: int) -> dict[str, Draw]:
    """The labelled rows of each strategy at this budget, covered ones included; random ones drawn anew each time.

    `found` are the picks of the strategy `by`, which are not made again.
    """

    def with_covered(rows: Tensor) -> Tensor:
        return torch.cat([pool.taken, rows])

    fixed: dict[str, Tensor] = {
        name: with_covered(found.rows if name == by else pick(pool, labels, name, seed=seed).rows)
        for name in STRATEGIES
        if name != "random"
    }
    if by == TRAINED:
        fixed[by] = with_covered(found.rows)
    draws: dict[str, Draw] = {name: partial(_the_same, rows) for name, rows in fixed.items()}
    draws["random"] = lambda world: with_covered(pick(pool, labels, "random", seed=seed + world).rows)
    return draws


def _the_same(rows: Tensor, world: int) -> Tensor:
    return rows


def foretold(
    pool: Pool, labels: int, strategies: Mapping[str, Draw], classes: int | None, seed: int
) -> tuple[str, dict[str, Expected]]:
    """The assumptions of the estimate, and the estimate; nothing where all images will be labelled."""
    budget = labels + pool.covered_contents
    guess = max(2, min(budget // 4, len(pool) // 2)) if classes is None else classes
    if len(pool) <= max(4, budget):
        return "", {}
    return rests_on(guess), expect(pool.features_ND, strategies, classes=guess, seed=seed)


def measured_by(pool: Pool, labels_N: Tensor, strategies: Mapping[str, Draw], seed: int) -> dict[str, LabelledScore]:
    """The score of each strategy by the true labels (N,), -1 where unknown. Raises InputError as `measure` does."""
    result = {}
    for name, draw in strategies.items():
        draws = DRAWS if name == "random" else 1
        each = [measure(pool.features_ND, labels_N, draw(world), seed=seed) for world in range(draws)]
        linear = [one.linear for one in each if one.linear is not None]
        result[name] = LabelledScore(
            float(np.mean([one.nearest for one in each])),
            float(np.mean(linear)) if linear else None,
            round(float(np.mean([one.classes for one in each]))),
            each[0].of_classes,
            float(np.mean([one.spread for one in each])),
        )
    return result
