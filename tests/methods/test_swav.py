"""SwAV where no official numbers are: frozen prototypes, queues before they are full, several processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.methods.method import Progress
from likewise.methods.swav import SwAV, codes
from tests.contract.gauntlet import BATCH, batch_at, make, one_step, optimizer_of


def swav(**changes: Any) -> SwAV:
    method = make("swav", **changes)
    assert isinstance(method, SwAV)
    return method


def test_prototypes_stay_while_they_are_frozen() -> None:
    """In the second step of the gauntlet a tenth of the budget is used: no momentum or decay may have been gathered."""
    method = swav(frozen=0.1)
    optimizer = optimizer_of(method)
    before = method.prototypes.weight.detach().clone()
    one_step(method, optimizer, 0)
    assert method.prototypes.weight not in optimizer.state
    torch.testing.assert_close(method.prototypes.weight.detach(), before)
    one_step(method, optimizer, 1)
    assert not torch.allclose(method.prototypes.weight.detach(), before)


def test_prototypes_are_unit_before_each_step_and_not_after() -> None:
    method = swav()
    optimizer = optimizer_of(method)
    one_step(method, optimizer, 0)
    assert not torch.allclose(method.prototypes.weight.norm(dim=1), torch.tensor(1.0), atol=1e-6)
    method.before_step(Progress(1, 0.1, 0))
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(method.settings.prototypes))


def test_a_queue_fills_from_its_share_of_the_budget_and_counts_once_it_is_full() -> None:
    filling, without = swav(queue_size=2 * BATCH, queue_from=0.5), swav(queue_size=0)
    without.load_state_dict(filling.state_dict(), strict=False)
    used = []
    for step, fraction in enumerate((0.4, 0.5, 0.6, 0.7)):
        for method in (filling, without):
            method.before_step(Progress(step, fraction, 0))
        rows = [int(queue.filled) for queue in filling.queues]
        losses = [method(*batch_at(method, step)).loss for method in (filling, without)]
        used.append((*rows, bool(losses[0] != losses[1])))
    assert used == [(0, 0, False), (0, 0, False), (8, 8, False), (16, 16, True)]


def test_a_queue_holds_the_embeddings_of_its_own_view() -> None:
    method = swav(queue_size=BATCH, queue_from=0.0)
    method.before_step(Progress(0, 0.0, 0))
    terms = method(*batch_at(method, 0))
    assert terms.embedding is not None
    torch.testing.assert_close(method.queues[0].rows, terms.embedding)
    assert not torch.allclose(method.queues[1].rows, terms.embedding, atol=1e-3)  # type: ignore[arg-type]


class Meeting:
    """Gathers rows between threads, as `likewise.distributed.gather` does between processes."""

    def __init__(self, members: int) -> None:
        self.rows: list[Tensor] = [torch.empty(0)] * members
        self.barrier = threading.Barrier(members, timeout=60)

    def gather(self, member: int, row: Tensor) -> Tensor:
        self.rows[member] = row
        self.barrier.wait()
        together = torch.cat(self.rows)
        self.barrier.wait()
        return together


def test_processes_that_share_a_queue_make_the_codes_of_one() -> None:
    """Each takes every second row, also of an odd number of rows."""
    torch.manual_seed(0)
    scores, queued = torch.randn(10, 6).double(), torch.randn(7, 6).double()
    how = {"epsilon": 0.5, "iterations": 3}
    meeting = Meeting(2)
    with ThreadPoolExecutor(2) as pool:
        parts = list(
            pool.map(
                lambda r: codes(scores[r::2], queued[r::2], gather=lambda row: meeting.gather(r, row), **how),  # type: ignore[arg-type]
                range(2),
            )
        )
    together = codes(scores, queued, **how)  # type: ignore[arg-type]
    for r, part in enumerate(parts):
        torch.testing.assert_close(part, together[r::2])


def test_codes_use_all_prototypes_where_a_softmax_does_not() -> None:
    crowded = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    crowded[:, 0] += 4
    balanced, plain = (codes(crowded, crowded[:0], epsilon=0.5, iterations=n).mean(0) for n in (3, 0))
    assert plain[0] > 0.8
    assert balanced[0] < 0.2


@pytest.mark.parametrize("crops", [0, 3])
def test_the_number_of_small_crops_is_free(crops: int) -> None:
    method = swav(small_crops=crops)
    assert len(method.views) == 2 + crops
    assert method(*batch_at(method, 0)).loss.isfinite()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": 0.0}, "epsilon=0.0 must be greater than 0"),
        ({"prototypes": 1}, "prototypes=1 is too small: allowed is 2 or more"),
        ({"frozen": 1.5}, "frozen=1.5 is out of range: allowed is 0.0 to 1.0"),
        ({"queue_size": -1}, "queue_size=-1 is too small"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SwAV.Settings(**changes)
