"""Losses and gradients that are no numbers never reach the weights, and are told with their step and images."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from likewise.errors import TrainingStopped
from likewise.training.finite import FiniteGuard, NonFinite

NAMES = [f"{number:03}.jpg" for number in range(300)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_names_step_and_images(value: float) -> None:
    guard = FiniteGuard(names=NAMES)
    guard.watch(torch.tensor(value), torch.tensor([7, 3, 9]))
    with pytest.raises(NonFinite, match=rf"loss of step 120 is {value},.*batch: 007.jpg, 003.jpg, 009.jpg$") as caught:
        guard.check(120)
    assert isinstance(caught.value, TrainingStopped)
    assert caught.value.exit_status == 3
    assert (caught.value.step, caught.value.images) == (120, (7, 3, 9))


def test_large_batches_are_named_in_part_and_known_in_full() -> None:
    stopped = NonFinite("the loss of step 1 is nan", 1, range(256), NAMES)
    assert str(stopped).endswith("006.jpg, 007.jpg and 248 more")
    assert len(stopped.images) == 256
    assert "\n" not in str(stopped)


def test_finite_losses_and_gradients_pass() -> None:
    guard, weight = FiniteGuard(), nn.Parameter(torch.ones(3))
    weight.grad = torch.full((3,), 1e18)
    guard.watch(torch.tensor(1e30), torch.arange(4))
    guard.check(1)
    guard.gradients(1, [weight, nn.Parameter(torch.ones(2))])


def test_guard_stops_before_the_update_and_names_the_pass_at_fault() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimiser = torch.optim.SGD([weight], lr=0.1)
    guard = FiniteGuard()

    def step(number: int, factors: list[float]) -> None:
        for part, factor in enumerate(factors):
            loss = (weight * factor).sum()
            guard.watch(loss, torch.tensor([10 * part, 10 * part + 1]))
            loss.backward()
        guard.check(number)
        optimiser.step()
        optimiser.zero_grad()

    step(0, [1.0, 2.0])
    before = weight.detach().clone()
    with pytest.raises(NonFinite, match="step 1 is nan") as caught:
        step(1, [1.0, math.nan, 2.0])
    assert caught.value.images == (10, 11)
    assert torch.equal(weight.detach(), before)
    guard.check(2)  # nothing is left over from the step that failed


def steps(guard: FiniteGuard, gradients: list[Tensor]) -> nn.Parameter:
    """A finite loss and one of `gradients` at each step, through an optimiser with momentum."""
    weight = nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    for number, gradient in enumerate(gradients):
        guard.watch(torch.tensor(1.0), torch.tensor([0]))
        guard.check(number)
        weight.grad = gradient.clone()
        try:
            guard.gradients(number, [weight])
        except NonFinite:
            assert weight.isfinite().all()
            raise
        optimiser.step()
        assert weight.isfinite().all()
    guard.check(len(gradients))
    return weight


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # only where flags are read differs: the tensors are not there
@pytest.mark.parametrize("bad_step", [1, 2])
def test_a_bad_gradient_under_a_finite_loss_stops_with_good_weights(device: str, bad_step: int) -> None:
    good, bad = torch.ones(2), torch.tensor([1.0, math.inf])
    guard = FiniteGuard(device, names=NAMES, batch=lambda step: [10 * step, 10 * step + 1])
    gradients = [good, good, good]
    gradients[bad_step] = bad
    wanted = f"norm of the gradient of step {bad_step} is not finite.*: 0{bad_step}0.jpg, 0{bad_step}1.jpg$"
    with pytest.raises(NonFinite, match=wanted) as caught:
        steps(guard, gradients)
    assert caught.value.step == bad_step


def test_float16_skips_some_overflows_but_not_for_ever() -> None:
    good, bad = torch.ones(1), torch.tensor([math.inf])
    weight = nn.Parameter(torch.ones(1))
    guard = FiniteGuard(overflows=3)
    for number, gradient in enumerate([bad, bad, bad, good, bad, bad, bad]):
        weight.grad = gradient
        guard.gradients(number, [weight])
    weight.grad = bad
    with pytest.raises(NonFinite, match="gradient of step 7 is not finite, nor were those of 3 steps before it"):
        guard.gradients(7, [weight])


def _two_processes(rank: int, folder: str) -> None:
    """One of two processes, of which only the second has a loss that is no number."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    guard, said = FiniteGuard(), "nothing"
    for step in range(3):
        bad = rank == 1 and step == 1
        guard.watch(torch.tensor(math.nan if bad else 1.0), torch.tensor([rank]))
        try:
            guard.check(step)
        except NonFinite as error:
            said = f"{error.step} {list(error.images)}"
            break
    Path(folder, f"said-{rank}").write_text(said)
    dist.destroy_process_group()


@pytest.mark.skipif(os.name == "nt", reason="gloo meets over a file on POSIX")
def test_all_processes_stop_at_the_same_step(tmp_path: Path) -> None:
    spawn: Any = mp.spawn
    spawn(_two_processes, args=(str(tmp_path),), nprocs=2)
    assert (tmp_path / "said-0").read_text() == "1 []"
    assert (tmp_path / "said-1").read_text() == "1 [1]"
