"""BYOL: both forms of the loss, and the official schedules."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise import schedules
from likewise.similarity import pull, unit


def check_asymmetric(v: Vectors) -> None:
    prediction = v.leaf("prediction_view1")
    loss = pull(prediction, unit(v["projection_view2"]))
    loss.backward()
    same(loss, v["loss_asymmetric"])
    assert prediction.grad is not None
    same(prediction.grad, v["grad_prediction_view1_asymmetric"])


def check_symmetric(v: Vectors) -> None:
    first, second = v.leaf("prediction_view1"), v.leaf("prediction_view2")
    loss = pull(first, unit(v["projection_view2"])) + pull(second, unit(v["projection_view1"]))
    loss.backward()
    same(loss, v["loss_symmetric"])
    assert first.grad is not None
    assert second.grad is not None
    same(first.grad, v["grad_prediction_view1"])
    same(second.grad, v["grad_prediction_view2"])


def check_schedules(v: Vectors) -> None:
    steps, total = v["schedule_step"].tolist(), v.number("schedule_max_steps")
    rates = [
        schedules.byol_learning_rate(
            step,
            max_steps=total,
            warmup_steps=v.number("schedule_warmup_steps"),
            base=v.number("schedule_base_lr"),
            batch_size=v.number("schedule_batch"),
        )
        for step in steps
    ]
    same(torch.tensor(rates, dtype=torch.float64), v["schedule_lr"])
    base = v.number("schedule_base_ema")
    momenta = [schedules.rising_momentum(base, step / total) for step in steps]
    same(torch.tensor(momenta, dtype=torch.float64), v["schedule_ema"])
