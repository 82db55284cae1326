"""No step of the loop waits for the device: everything runs on `meta`, where no value exists that could be waited for.

Whatever would make the host wait for an accelerator (`.item()`, `float()` or `bool()` of a tensor, `nonzero`, a copy to
the host) raises there.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, get_args

import pytest
import torch

from likewise.methods.method import Batch, Method, Optimisation, Progress, UpdateRule
from likewise.training.finite import FiniteGuard
from likewise.training.loop import Averages
from likewise.training.optimising import optimisers
from likewise.training.planning.machine import keep_freed_memory
from likewise.training.watching.health import Health
from likewise.views import make_views
from tests.contract.gauntlet import BATCH, make, some_images


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none for `meta`; where the library turns it off, it computes in float32 anyway."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


FIRST = ("isd", "moco_v2", "msf", "byol")


def steps(method: Method, optimizer: torch.optim.Optimizer, count: int = 2) -> None:
    """What the loop does at every step, on the device of the method."""
    device = next(method.parameters()).device
    pixels, labels = some_images()
    averages, guard, health = Averages(), FiniteGuard(device), Health(every=1)
    for number in range(count):
        progress = Progress(number, number / 10, 0)
        index = torch.arange(BATCH, device=device)
        sizes = torch.full((BATCH, 2), 20)
        method.before_step(progress)
        views = make_views(method.views, pixels[:BATCH].to(device), sizes, seed=0, step=number)
        terms = method(views, Batch(index, labels[:BATCH].to(device)))
        guard.watch(terms.loss, index)
        terms.loss.backward()
        averages.add(terms)
        health.observe(progress, terms)
        guard.gradients(number, method.parameters())
        method.after_backward(progress)
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(progress)


@pytest.mark.parametrize("name", FIRST)
def test_a_step_waits_for_nothing(name: str) -> None:
    method = make(name).to("meta")
    steps(method, optimisers.build(method.parameter_groups(), Optimisation()))
    assert all(weight.device.type == "meta" for weight in method.state_dict().values())


@pytest.mark.parametrize("rule", get_args(UpdateRule))
def test_no_optimiser_waits(rule: UpdateRule) -> None:
    method = make("byol").to("meta")
    steps(method, optimisers.build(method.parameter_groups(), Optimisation(optimiser=rule)))


@pytest.mark.parametrize("wait", [float, bool, torch.nonzero, torch.Tensor.cpu, torch.Tensor.tolist])
def test_waiting_would_be_noticed(wait: Any) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        wait(torch.ones((), device="meta") if wait in {float, bool} else torch.ones(3, device="meta"))


def test_memory_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    assert not keep_freed_memory()
