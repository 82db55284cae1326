"""S2-BNN: the three regimes, the order of a step with contrast, and binarisation in two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from likewise.encoders import EncoderSpec, build
from likewise.encoders.own.binary import BinaryConv2d
from likewise.errors import InputError
from likewise.methods.method import Facts, Progress
from likewise.methods.s2bnn import S2BNN
from likewise.methods.whole import save_method
from likewise.runs import RunDirectory, plain
from likewise.similarity import contrast, unit
from tests.contract.gauntlet import BATCH, SIDE, batch_at, make, one_step, optimizer_of, teacher


def s2bnn(**changes: Any) -> S2BNN:
    method = make("s2bnn", **changes)
    assert isinstance(method, S2BNN)
    return method


def test_both_is_contrast_and_distillation_in_the_order_of_the_paper() -> None:
    method = s2bnn(regime="both", momentum=0.5).eval()
    with torch.no_grad():
        for weight in method.student.parameters():
            weight.add_(0.1)
    before = [weight.clone() for weight in method.teacher.parameters()]
    method.before_step(Progress(0, 0.0, 0))
    for slow, old, new in zip(method.teacher.parameters(), before, method.student.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.5 * (old + new))
    method.teacher.network.eval()
    views, batch = batch_at(method, 0)
    rows = method.queue.rows.clone()
    with torch.no_grad():
        q, y = unit(method.student(views["first"].image)), unit(method.frozen(views["first"].image))
        k = unit(method.teacher(views["second"].image))
        calibration = -((y / 0.2).softmax(1) * functional.log_softmax(q / 0.2, 1)).sum(1).mean()
        torch.testing.assert_close(method.step(views, batch).loss, calibration + contrast(q, k, rows, 0.2))
    torch.testing.assert_close(method.queue.rows[:BATCH], k)


def test_each_regime_has_only_what_it_needs() -> None:
    distil, contrasting = s2bnn(), s2bnn(regime="contrast", teacher="")
    assert list(distil.views) == ["first"]
    assert not hasattr(distil, "queue")
    assert not hasattr(contrasting, "frozen")
    for method in (distil, contrasting):
        loss = method(*batch_at(method, 0)).loss
        loss.backward()
        assert loss.isfinite()


def binary(name: str, **changes: Any) -> tuple[S2BNN, Facts, Any]:
    facts = Facts(images=96, batch_size=BATCH, image_size=SIDE)
    settings = S2BNN.Settings(regime="contrast", queue_size=16, **changes)
    torch.manual_seed(1)
    return S2BNN(build(EncoderSpec(name=name, image_size=SIDE), seed=2), settings, facts), facts, settings


def test_the_second_step_takes_over_all_networks_of_the_first_and_binarises(tmp_path: Path) -> None:
    first, facts, settings = binary("reactnet_small_real")
    one_step(first, optimizer_of(first), 0)
    save_method(first, facts, tmp_path)
    encoder = plain(EncoderSpec(name="reactnet_small_real", image_size=SIDE))
    RunDirectory(tmp_path).write(method="s2bnn", settings=plain(settings), encoder=encoder)
    second, _, _ = binary("reactnet_small", first_step=str(tmp_path))
    held = first.state_dict()
    assert all(value.equal(held[key]) for key, value in second.state_dict().items() if not key.startswith("queue"))
    assert all(conv.binary for conv in second.modules() if isinstance(conv, BinaryConv2d))
    assert not any(conv.binary for conv in first.modules() if isinstance(conv, BinaryConv2d))
    loss = second(*batch_at(second, 0)).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in second.student[0].parameters())


def test_a_first_step_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="first_step='no/such/run': no/such/run does not exist"):
        s2bnn(first_step="no/such/run")
    with pytest.raises(InputError, match=r"first_step='.*' does not fit: it has no student"):
        s2bnn(first_step=teacher(), regime="contrast", teacher="")
