"""A memory that a batch enters before it is looked at has room for that batch, whatever length was asked for."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from likewise.memory import Queue
from likewise.similarity import unit
from tests.contract.gauntlet import BATCH, batch_at, make


@pytest.mark.parametrize("name", ["isd", "msf", "cmsf", "cmsf_semi"])
def test_every_image_of_a_batch_finds_its_own_row(name: str) -> None:
    changes = {} if name == "isd" else {"topk": 1}
    method = make(name, queue_size=3, **changes)
    queue = cast("Queue", method.queue)
    assert queue.size == BATCH
    views, batch = batch_at(method, 0)
    method(views, batch)
    with torch.no_grad():
        own_BD = unit(method.teacher(views["teacher"].image))
    torch.testing.assert_close(queue.rows, own_BD)


def test_msf_pulls_to_the_own_vector_first() -> None:
    method = make("msf", queue_size=3, topk=1)
    views, batch = batch_at(method, 0)
    assert method(views, batch).parts["purity"] == 1
