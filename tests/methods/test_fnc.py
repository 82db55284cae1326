"""FNC: both filters, elimination, and candidates out of a memory."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.fnc import FNC, detect, objective, own
from likewise.similarity import unit
from tests.contract.gauntlet import batch_at, make, one_step, optimizer_of


def test_a_false_negative_is_among_the_best_and_above_the_threshold() -> None:
    views = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two views of one image
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
    assert method.queue.size == 64
    assert not method.queue.rows.any()  # nothing was written, so nothing is found
    optimizer = optimizer_of(method)
    for step in range(3):
        terms = one_step(method, optimizer, step)
        assert terms.loss.isfinite()
        assert float(terms.parts["false_negatives"]) > 0
    assert method.queue.column("index").tolist() == [*range(16, 24)] * 4 + [*range(8, 16)] * 4


def test_a_memory_has_room_for_all_views() -> None:
    with pytest.raises(InputError, match=r"memory_batches=3 .*4"):
        FNC.Settings(memory_batches=3)


def test_with_a_memory_the_slow_copy_stands_for_all_but_the_anchor() -> None:
    """Literal loops of the official order: written first, scored by the copy, compared with the memory alone."""
    method = make("fnc", dtype=torch.float64, memory_batches=6, support=0, topk=2, threshold=0.0)
    assert isinstance(method, FNC)
    assert method.teacher is not None
    assert method.queue is not None
    for parameter in method.teacher.parameters():  # a copy that is not the network
        parameter.add_(0.05 * torch.randn_like(parameter))
    twin = copy.deepcopy(method)
    memory: list[torch.Tensor] = []
    for step in range(2):
        views, batch = batch_at(method, step)
        images = torch.cat([view.image for view in views.values()])
        with torch.no_grad():
            fast = unit(twin.student(images)).unflatten(0, (2, -1))
            slow = unit(twin.teacher(images)).unflatten(0, (2, -1))
        count = fast.shape[1]
        memory = [*slow.flatten(0, 1), *memory]
        rows = torch.stack([*memory, *[torch.zeros_like(memory[0])] * (6 * count - len(memory))])
        terms = []
        for anchor in range(2):
            for image in range(count):
                mine = [view * count + image for view in range(2)]
                scores = [max(float(slow[v, image] @ row) for v in range(2)) for row in rows]
                others = sorted((c for c in range(len(memory)) if c not in mine), key=lambda c: -scores[c])
                false = [c for c in others[:2] if scores[c] > 0]
                z = rows @ fast[anchor, image] / 0.1
                positive = [c for c in mine if c != anchor * count + image] + false
                kept = [c for c in range(len(rows)) if c != anchor * count + image]
                terms.append(z[kept].logsumexp(0) - z[positive].mean())
        torch.testing.assert_close(method.step(views, batch).loss.detach(), torch.stack(terms).mean() * 2)


def test_the_copy_moves_after_the_optimiser() -> None:
    method = make("fnc", memory_batches=8, momentum=0.0)
    assert isinstance(method, FNC)
    assert method.teacher is not None
    one_step(method, optimizer_of(method), 0)
    for trained, copied in zip(method.student.parameters(), method.teacher.network.parameters(), strict=True):
        torch.testing.assert_close(copied, trained)
