"""FNC: both filters, elimination, and candidates out of a memory."""

from __future__ import annotations

import math

import pytest
import torch

from likewise.methods.fnc import FNC, detect, objective, own
from likewise.similarity import unit
from tests.contract.gauntlet import make, one_step, optimizer_of


def test_a_false_negative_is_among_the_best_and_above_the_threshold() -> None:
    views = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two views of one picture
    angles = torch.tensor([0.0, 5.0, 40.0, 50.0, 100.0, 135.0, 180.0]).deg2rad()
    candidates = torch.stack([angles.cos(), angles.sin()], 1)
    mine = torch.zeros(1, 7, dtype=torch.bool)
    mine[0, 0] = True
    assert detect(views, candidates, mine, 9, 0.7).tolist() == [[False, True, True, True, True, True, False]]
    assert detect(views, candidates, mine, 2, 0.7).tolist() == [[False, True, False, False, True, False, False]]


def test_elimination_is_the_contrast_without_them() -> None:
    views = torch.randn(2, 3, 4, dtype=torch.float64)
    columns, mine = unit(views.flatten(0, 1)), own(views, 3)
    false = torch.zeros(3, 6, dtype=torch.bool)
    false[0, 2] = false[1, 3] = True
    terms = []
    for v in range(2):
        for i in range(3):
            anchor, other = v * 3 + i, (1 - v) * 3 + i
            z = columns[anchor] @ columns.T / 0.1
            kept = [c for c in range(6) if c != anchor and not false[i, c]]
            terms.append(math.log(sum(math.exp(z[c]) for c in kept)) - z[other])
    expected = torch.stack(terms).mean() * 2  # over both anchors: the sum of two means, times 2/V
    torch.testing.assert_close(objective(views, columns, mine, false, 0.1, "elimination"), expected)


@pytest.mark.parametrize("strategy", ["attraction", "elimination"])
def test_candidates_may_come_from_a_memory(strategy: str) -> None:
    method = make("fnc", memory_batches=8, threshold=0.0, strategy=strategy)
    assert isinstance(method, FNC)
    assert method.queue is not None
    assert method.queue.size == 24
    optimizer = optimizer_of(method)
    found = []
    for step in range(3):
        terms = one_step(method, optimizer, step)
        found.append(float(terms.parts["false_negatives"]))
        assert terms.loss.isfinite()
    assert found[0] == 0  # the noise that fills the memory at the start is no picture
    assert found[1] > 0
    assert method.queue.column("index").tolist() == list(range(24))
