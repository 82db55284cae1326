"""Teachers follow, stay, or look up; none of them ever learns by gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from likewise.errors import InputError
from likewise.teachers import Cached, Frozen, Momentum, with_statistics_of


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def moved(student: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter))
    return student


def test_momentum_moves_parameters_by_the_formula() -> None:
    student = network()
    teacher = Momentum(student)
    before = [p.clone() for p in teacher.parameters()]
    moved(student)
    teacher.update(student, 0.9)
    for old, new, target in zip(before, teacher.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * target)


@pytest.mark.parametrize("buffers", ["own", "copied"])
def test_running_statistics_are_its_own_or_copied(buffers: str) -> None:
    student = network()
    teacher = Momentum(student, buffers=buffers)  # type: ignore[arg-type]
    student(torch.randn(8, 4))
    teacher.update(student, 0.5)
    same = teacher.network[1].running_mean.equal(student[1].running_mean)  # type: ignore[index, operator, union-attr]
    assert same == (buffers == "copied")


def test_momentum_keeps_its_mode_and_gives_no_gradient() -> None:
    teacher = Momentum(network())
    teacher.eval()
    assert teacher.network.training
    assert not Momentum(network(), mode="eval").train().network.training
    out = teacher(torch.randn(5, 4, requires_grad=True))
    assert not out.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())


def test_momentum_out_of_range_is_one_line() -> None:
    student = network()
    with pytest.raises(InputError, match="not between 0"):
        Momentum(student).update(student, 1.5)


def test_frozen_stays_in_eval_mode() -> None:
    teacher = Frozen(network())
    teacher.train()
    x = torch.randn(5, 4)
    assert teacher(x).equal(teacher(x))
    assert not teacher.network.training
    assert not any(p.requires_grad for p in teacher.parameters())


def test_cached_looks_up_and_is_not_saved() -> None:
    table = torch.randn(10, 3)
    teacher = Cached(table)
    assert teacher(torch.tensor([3, 1])).equal(table[[3, 1]])
    assert not teacher.state_dict()
    with pytest.raises(InputError, match="shape"):
        Cached(torch.zeros(3))


def test_with_statistics_of_takes_buffers_only() -> None:
    student = network()
    teacher = moved(network())
    student(torch.randn(8, 4))
    combined = with_statistics_of(teacher, student)
    assert combined[1].running_mean.equal(student[1].running_mean)  # type: ignore[index, operator, union-attr]
    assert combined[0].weight.equal(teacher[0].weight)  # type: ignore[index, operator]
