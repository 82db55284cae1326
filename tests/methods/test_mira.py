"""MIRA where no official numbers are: whose prototypes, the schedules, and how a network begins."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.method import Progress
from likewise.methods.mira import MIRA
from tests.contract.gauntlet import batch_at, make, one_step, optimizer_of


def mira(**changes: Any) -> MIRA:
    method = make("mira", **changes)
    assert isinstance(method, MIRA)
    return method


def test_the_teacher_scores_with_the_students_prototypes_and_has_none() -> None:
    method = mira()
    assert not any("prototypes" in name for name, _ in method.teacher.named_parameters())
    before = method(*batch_at(method, 0)).parts["teacher_entropy"]
    with torch.no_grad():
        method.prototypes.weight_v[:64] = method.prototypes.weight_v[:1]
    assert not torch.isclose(method(*batch_at(method, 0)).parts["teacher_entropy"], before, rtol=1e-4)


def test_gradient_reaches_the_prototypes_through_the_student_alone() -> None:
    method = mira(frozen=0.1)
    optimizer = optimizer_of(method)
    before = method.prototypes.weight_v.detach().clone()
    one_step(method, optimizer, 0)
    assert method.prototypes.weight_v.equal(before)
    one_step(method, optimizer, 1)
    assert not method.prototypes.weight_v.equal(before)


def test_beta_and_momentum_follow_their_cosines() -> None:
    method = mira(beta=0.75, final_beta=2 / 3)
    betas = []
    for fraction in (0.0, 0.5, 1.0):
        method.before_step(Progress(0, fraction, 0))
        betas.append(method.beta)
    assert betas == pytest.approx([0.75, (0.75 + 2 / 3) / 2, 2 / 3])
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in method.teacher.parameters()]
    method.before_step(Progress(0, 1.0, 0))
    assert all(p.equal(old) for p, old in zip(method.teacher.parameters(), before, strict=True))


def test_the_teacher_moves_before_the_step() -> None:
    method = mira(momentum=0.0)
    one_step(method, optimizer_of(method), 0)
    student, teacher = (next(method.encoders()[role].parameters()) for role in ("student", "teacher"))
    assert not teacher.equal(student)
    method.before_step(Progress(1, 0.0, 0))
    assert next(method.encoders()["teacher"].parameters()).equal(student)


def test_prototypes_may_be_of_unequal_size_but_are_all_used() -> None:
    """Without mutual information the targets are the teacher's own, and an untrained teacher tells little apart."""
    informed, plain = mira(), mira(beta=0.0, final_beta=0.0)
    found = [method(*batch_at(method, 0)).parts for method in (informed, plain)]
    information = [parts["prototype_entropy"] - parts["teacher_entropy"] for parts in found]
    assert information[0] > 2 * information[1]


def test_residual_blocks_may_begin_as_the_identity() -> None:
    last = {name: p for name, p in mira(zero_init_residual=True).named_parameters() if "bn2.weight" in name}
    assert last
    assert all(not p.any() for p in last.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beta": 1.0}, "beta=1.0 is out of range: allowed is 0 to below 1"),
        ({"final_beta": -0.1}, "final_beta=-0.1 is out of range"),
        ({"temperature_teacher": 0.0}, "temperature_teacher=0.0 must be greater than 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MIRA.Settings(**changes)
