"""ReSSL: cross-entropy and not divergence, five crops with one target, and what is refused."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.ressl import ReSSL, relate
from likewise.similarity import distill, unit
from tests.contract.gauntlet import batch_at, make


def test_the_value_has_the_teachers_entropy_in_it() -> None:
    torch.manual_seed(0)
    student, teacher, memory = (torch.randn(n, 4, dtype=torch.float64) for n in (5, 5, 30))
    told = distill(student, teacher, unit(memory), 0.1, 0.04)
    found = relate(student, teacher, unit(memory), 0.1, 0.04)
    torch.testing.assert_close(found.loss, told.loss + told.teacher_entropy)


def test_five_crops_fall_in_size_and_share_one_target() -> None:
    method = make("ressl", crops=5)
    views, batch = batch_at(method, 0)
    assert [views[role].image.shape[-1] for role in method.views if role != "teacher"] == [16, 12, 12, 8, 8]
    queue = method.get_submodule("queue").get_buffer("rows").clone()
    terms = method(views, batch)
    again = make("ressl", crops=5)
    key = again.get_submodule("teacher")(views["teacher"].image)
    student = again.get_submodule("student")
    losses = [
        relate(student(views[role].image), key, queue, 0.1, 0.04).loss for role in method.views if role != "teacher"
    ]
    torch.testing.assert_close(terms.loss, torch.stack(losses).mean())
    assert len({round(loss.item(), 6) for loss in losses}) == 5


def test_the_teachers_momentum_can_rise() -> None:
    from likewise.methods.method import Progress

    for schedule, moves in (("constant", True), ("cosine", False)):
        method = make("ressl", momentum=0.9, momentum_schedule=schedule)
        with torch.no_grad():
            for parameter in method.get_submodule("student").parameters():
                parameter.add_(1.0)
        teacher = method.get_submodule("teacher")
        before = [p.clone() for p in teacher.parameters()]
        method.before_step(Progress(10, 1.0, 1))  # the end of the budget
        assert all(p.equal(old) != moves for p, old in zip(teacher.parameters(), before, strict=True))


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match=r"temperature_teacher=0.2 is too large: allowed is up to"):
        ReSSL.Settings(temperature_teacher=0.2)
    with pytest.raises(InputError, match="crops=3"):
        ReSSL.Settings(crops=3)  # type: ignore[arg-type]
