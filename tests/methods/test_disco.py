"""DisCo: the order of a step, both losses, the two reductions and the teacher's modes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from likewise.encoders import EncoderSpec, build
from likewise.errors import InputError
from likewise.methods.disco import DisCo, distilled
from likewise.methods.hsakd import HSAKD
from likewise.methods.method import Facts, Progress
from likewise.methods.parts.taught import head_of
from likewise.methods.simclr import SimCLR
from likewise.similarity import contrast, unit
from tests.contract.gauntlet import BATCH, batch_at, make, one_step, optimizer_of

SPEC = EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16)


def disco(**changes: Any) -> DisCo:
    method = make("disco", **{"split_batch_norm": 1, "distill_weight": 32.0, **changes})
    assert isinstance(method, DisCo)
    return method


def test_a_step_is_key_encoder_then_logits_then_queue() -> None:
    method = disco(momentum=0.5).eval()
    with torch.no_grad():
        for weight in method.student.parameters():
            weight.add_(0.1)  # so that student and key encoder differ
    before = [weight.clone() for weight in method.teacher.parameters()]
    method.before_step(Progress(0, 0.0, 0))
    for slow, old, new in zip(method.teacher.parameters(), before, method.student.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.5 * (old + new))
    views, batch = batch_at(method, 0)
    first, second = views["first"].image, views["second"].image
    rows = method.queue.rows.clone()
    s1, s2, t1, t2 = method.student(first), method.student(second), method.frozen(first), method.frozen(second)
    with torch.no_grad():
        k2 = unit(method.teacher.network.eval()(second))
        expected = contrast(s1, k2, rows, 0.2) + 32 * (
            (unit(s1) - unit(t1)).square().sum(1).mean() + (unit(s2) - unit(t2)).square().sum(1).mean()
        )
        found = method.step(views, batch).loss
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(method.queue.rows[:BATCH], k2)


def test_a_sum_over_the_batch_is_the_mean_times_its_images() -> None:
    student, teacher = torch.randn(6, 5), torch.randn(6, 5)
    torch.testing.assert_close(
        distilled(student, teacher, reduction="sum"), 6 * distilled(student, teacher, reduction="mean")
    )
    both = [disco(reduction=how, loss="distil").eval() for how in ("mean", "sum")]
    mean, total = (method.step(*batch_at(method, 0)).loss for method in both)
    torch.testing.assert_close(total, BATCH * mean)


def test_the_distance_alone_needs_neither_key_encoder_nor_queue() -> None:
    method = disco(loss="distil")
    assert not hasattr(method, "queue")
    assert not hasattr(method, "teacher")
    terms = method(*batch_at(method, 0))
    torch.testing.assert_close(terms.loss.detach(), 32 * terms.parts["distance"])


def test_the_teachers_statistics_move_in_train_mode_alone() -> None:
    for mode, moves in (("eval", False), ("train", True)):
        method = disco(teacher_mode=mode)
        before = {key: value.clone() for key, value in method.frozen.named_buffers()}
        one_step(method, optimizer_of(method), 0)
        after = dict(method.frozen.named_buffers())
        assert any(not before[key].equal(after[key]) for key in before) == moves
        assert not method.frozen.network.training


def test_a_wrong_teacher_is_one_line() -> None:
    with pytest.raises(InputError, match=r"embedding=64, and the vectors of teacher=.* have 128 dimensions"):
        make("disco", embedding=64)
    with pytest.raises(InputError, match=r"teacher='resnet18.a1_in1k' has no projection head"):
        DisCo.Settings(teacher="resnet18.a1_in1k")
    with pytest.raises(InputError, match="a trained teacher with its projection head is needed"):
        make("disco", teacher="")


def test_the_projection_head_of_simclr_teaches_and_a_classifier_is_none() -> None:
    network, facts = build(SPEC, seed=0), Facts(images=16, batch_size=8, image_size=16, classes=4)
    found = head_of(SimCLR(network, SimCLR.Settings(embedding=24), facts), "runs/one")
    assert found[0] is network
    assert found[2] == 24
    with pytest.raises(InputError, match="no projection head"):
        head_of(HSAKD(build(SPEC, seed=0), HSAKD.Settings(role="teacher"), facts), "runs/two")
