"""Two gloo processes compute what one does: the same losses, weights and memories, permuted keys included."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from likewise import methods
from likewise.encoders import Encoder, SyncBatchNorm, norms
from tests.contract.doubles import Mixed
from tests.contract.gauntlet import ALL, SIDE, batch_at, make, one_step, optimizer_of, student_of
from tests.processes import in_two

STEPS = 3


def can_split(name: str) -> bool:
    """Whether batch statistics can be those of a part of the batch, with the teacher's images permuted."""
    return "split_batch_norm" in {field.name for field in dataclasses.fields(methods.find(name).Settings)}


CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in ALL}
"""What is run: every method as it is, and those that can with a split batch norm; four groups of two images."""
CASES |= {f"{name}, split": (name, {"split_batch_norm": 4}) for name in ALL if can_split(name)}

CASES |= {
    "hiermatch, levels": ("hiermatch", {"levels": ("coarse",), "partial": True}),
    "uml, hard supports": ("uml", {"hard_supports": 3}),
}
IN_PARTS = {
    f"{name}, in parts": (name, {})
    for name in ("simclr", "barlow_twins", "nnclr", "fnc", "clipdistill")
    if methods.find(name).card.within_batch
}
"""Losses that compare the images of a batch, with an encoder that sees two parts of it (`--accumulate 2`)."""
CASES |= IN_PARTS


def in_parts(encoder: Encoder, parts: int) -> None:
    """Let an encoder see so many parts of a batch, with the running statistics: those of a part are not the batch's."""
    encoder.parts = parts
    for module in encoder.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def run(case: str, rank: int, world: int) -> dict[str, Any]:
    """A few steps in float64; mean losses over processes, and final state."""
    name, changes = CASES[case]
    method = make(name, dtype=torch.float64, **changes)
    if world > 1:
        norms.convert(method, sync=True)
    if case in IN_PARTS:  # one process sees the batch whole
        in_parts(student_of(method), parts=world)
    optimizer = optimizer_of(method)
    wrapped = DistributedDataParallel(method, broadcast_buffers=False) if world > 1 else method
    # Statistics of two images each blow rounding up a thousandfold a step.
    steps = STEPS - 1 if "split_batch_norm" in changes else STEPS
    losses = torch.stack([one_step(method, optimizer, s, wrapped, rank, world).loss.detach() for s in range(steps)])
    if world > 1:
        dist.all_reduce(losses)
    return {"losses": losses / world, "state": {k: v.clone() for k, v in method.state_dict().items()}}


def composed(rank: int, world: int) -> dict[str, Any]:
    """The views of a method that mixes images of the whole batch."""
    views, _ = batch_at(Mixed(SIDE), 2, rank=rank, world=world)
    return {role: view.image for role, view in views.items()}


def run_all(rank: int) -> dict[str, dict[str, Any]]:
    assert norms.see_a_part(torch.nn.BatchNorm1d(2))
    assert not norms.see_a_part(SyncBatchNorm(2))
    return {case: run(case, rank, 2) for case in CASES} | {"composed": composed(rank, 2)}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of both processes, run once for all methods."""
    return in_two(run_all, tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("case", CASES)
def test_two_processes_compute_what_one_does(case: str, two: list[dict[str, Any]]) -> None:
    one = run(case, 0, 1)
    for each in two:
        torch.testing.assert_close(each[case]["losses"], one["losses"], rtol=1e-7, atol=1e-9)
        for key, expected in one["state"].items():
            torch.testing.assert_close(each[case]["state"][key], expected, rtol=1e-5, atol=1e-7, msg=key)


def test_two_processes_compose_what_one_does(two: list[dict[str, Any]]) -> None:
    one = composed(0, 1)
    for rank, each in enumerate(two):
        away = {role: (each["composed"][role] - image[rank::2]).abs() for role, image in one.items()}
        assert float(away["first"].max()) < 1e-5
        assert float(away["second"].mean()) < 1e-3, "a value on the edge between two bytes may become either"
