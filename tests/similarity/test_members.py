"""Sums over clusters: what they are, and that nothing in them depends on an order of addition."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from likewise.similarity.members import sums_of_members


class Recorder(TorchDispatchMode):
    """Names of all operations that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called.append(str(func))
        return func(*args, **(kwargs or {}))


def test_sums_are_those_of_the_members_and_rows_without_a_cluster_are_in_none() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0], [torch.inf, 1.0]])
    assert sums_of_members(rows, torch.tensor([0, 0, 2, -1]), 3).tolist() == [[1.0, 1.0], [0.0, 0.0], [3.0, 3.0]]


def test_off_the_processor_no_addition_is_scattered() -> None:
    rows, labels = torch.empty(5, 2, device="meta"), torch.empty(5, dtype=torch.int64, device="meta")
    with Recorder() as recorder:
        sums = sums_of_members(rows, labels, 3)
    assert sums.shape == (3, 2)
    assert any("mm" in name for name in recorder.called)
    assert not any("index_add" in name or "scatter_add" in name for name in recorder.called)
