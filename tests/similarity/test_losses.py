"""The losses against the formulas as one would first write them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from likewise.similarity import contrast, cross_entropy, distill, pull, read, unit

SHAPES = [(8, 64, 16), (16, 257, 32), (1, 1, 3), (5, 3000, 8)]


def naive_isd(student: Tensor, teacher: Tensor, memory: Tensor, t_student: float, t_teacher: float) -> Tensor:
    seen = functional.log_softmax(functional.normalize(student, dim=1) @ memory.T / t_student, dim=1)
    told = functional.softmax(functional.normalize(teacher, dim=1) @ memory.T / t_teacher, dim=1)
    return functional.kl_div(seen, told, reduction="batchmean")


def pair(batch: int, rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(batch + rows)
    raw = [torch.randn(n, dim, dtype=torch.float64) for n in (batch, batch, rows)]
    return raw[0].requires_grad_(True), raw[1].requires_grad_(True), unit(raw[2])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperatures", [(0.02, 0.02), (0.1, 0.01), (0.2, 0.02)])
def test_distill_is_the_kl_divergence(shape: tuple[int, int, int], temperatures: tuple[float, float]) -> None:
    student, teacher, memory = pair(*shape)
    expected = naive_isd(student, teacher.detach(), memory, *temperatures)
    (gradient,) = torch.autograd.grad(expected, student)
    told = distill(student, teacher, memory, *temperatures)
    told.loss.backward()
    torch.testing.assert_close(told.loss, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(student.grad, gradient, rtol=1e-9, atol=1e-12)
    assert teacher.grad is None


def test_distill_reports_the_teachers_entropy() -> None:
    student, teacher, memory = pair(6, 40, 5)
    told = (unit(teacher) @ memory.T / 0.1).softmax(1)
    entropy = -(told * told.log()).sum(1).mean()
    torch.testing.assert_close(distill(student, teacher, memory, 0.1, 0.1).teacher_entropy, entropy.detach())


@pytest.mark.parametrize("two_memories", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_distill_over_two_memories_and_a_row_of_ones_own(two_memories: bool, own: bool) -> None:
    torch.manual_seed(3)
    batch, rows, wide, narrow = 5, 70, 9, 4 if two_memories else 9
    student = torch.randn(batch, narrow, dtype=torch.float64, requires_grad=True)
    teacher, key = torch.randn(2, batch, wide, dtype=torch.float64)
    student_key = torch.randn(batch, narrow, dtype=torch.float64) if two_memories else key
    memory = unit(torch.randn(rows, wide, dtype=torch.float64))
    student_memory = unit(torch.randn(rows, narrow, dtype=torch.float64)) if two_memories else memory
    seen, told = unit(student) @ student_memory.T / 0.2, unit(teacher) @ memory.T / 0.05
    if own:
        seen = torch.cat([(unit(student) * unit(student_key)).sum(1, keepdim=True) / 0.2, seen], 1)
        told = torch.cat([(unit(teacher) * unit(key)).sum(1, keepdim=True) / 0.05, told], 1)
    target = told.softmax(1)
    expected = functional.kl_div(seen.log_softmax(1), target, reduction="batchmean")
    (gradient,) = torch.autograd.grad(expected, student)
    found = distill(
        student,
        teacher,
        memory,
        0.2,
        0.05,
        student_memory_KD=student_memory if two_memories else None,
        own_BE=key if own else None,
        student_own_BD=student_key if own and two_memories else None,
    )
    found.loss.backward()
    torch.testing.assert_close(found.loss, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(student.grad, gradient, rtol=1e-9, atol=1e-12)
    entropy = -(target * target.log()).sum(1).mean()
    torch.testing.assert_close(found.cross_entropy, expected + entropy)


def test_gradient_is_the_difference_of_two_reads() -> None:
    student, teacher, memory = pair(6, 40, 5)
    q = unit(student.detach()).requires_grad_(True)
    distill(q, teacher, memory, 0.2, 0.05).loss.backward()
    seen, told = read(unit(q), memory, 0.2).mean, read(unit(teacher), memory, 0.05).mean
    raw = (seen - told) / 0.2 / len(q)
    torch.testing.assert_close(q.grad, (raw - (raw * q).sum(1, keepdim=True) * q).detach())


@pytest.mark.parametrize("shape", SHAPES)
def test_contrast_is_cross_entropy_with_the_positive_first(shape: tuple[int, int, int]) -> None:
    query, key, memory = pair(*shape)
    q, k = unit(query), unit(key).detach()
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ memory.T], 1) / 0.2
    expected = functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    (gradient,) = torch.autograd.grad(expected, query)
    loss = contrast(query, key, memory, 0.2)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(query.grad, gradient)
    assert key.grad is None


def test_pull_is_the_squared_distance() -> None:
    student, target = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    expected = (unit(student) - unit(target)).square().sum(1).mean()
    torch.testing.assert_close(pull(student, unit(target)), expected)
    pull(student, unit(target)).backward()
    assert target.grad is None


def test_cross_entropy_with_and_without_mask() -> None:
    logits, target = torch.randn(3, 5), torch.rand(3, 5)
    torch.testing.assert_close(cross_entropy(logits, target), -(target * logits.log_softmax(1)).sum(1))
    mask = torch.tensor([[1, 1, 0, 1, 0]] * 3, dtype=torch.bool)
    kept = cross_entropy(logits[:, mask[0]], target[:, mask[0]])
    torch.testing.assert_close(cross_entropy(logits, target, mask_BK=mask), kept)


@pytest.mark.parametrize("excluded", [[True, False, False], [True, True, True]])
def test_a_query_without_rows_has_no_target_and_adds_nothing(excluded: list[bool]) -> None:
    student, teacher, memory = pair(3, 20, 6)
    without = torch.tensor(excluded)
    exclude = lambda start, stop: without.unsqueeze(1).expand(-1, stop - start)  # noqa: E731
    told = distill(student, teacher, memory, 0.1, 0.05, exclude=exclude, top=2)
    told.loss.backward()
    assert student.grad is not None
    assert torch.equal(student.grad[without], torch.zeros_like(student.grad[without]))
    expected = torch.zeros((), dtype=torch.float64)
    if not without.all():
        expected = naive_isd(student[~without], teacher[~without], memory, 0.1, 0.05) * 2 / 3
        (gradient,) = torch.autograd.grad(expected, student)
        torch.testing.assert_close(student.grad, gradient)
    torch.testing.assert_close(told.loss, expected)
    assert told.teacher_entropy.isfinite()
    assert told.cross_entropy.isfinite()


def test_a_row_of_its_own_is_a_target_where_all_others_are_excluded() -> None:
    student, teacher, memory = pair(3, 20, 6)
    exclude = lambda start, stop: torch.ones(3, stop - start, dtype=torch.bool)  # noqa: E731
    told = distill(student, teacher, memory, 0.1, 0.05, exclude=exclude, own_BE=teacher)
    told.loss.backward()
    torch.testing.assert_close(told.loss, torch.zeros_like(told.loss))
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros_like(student.grad))


@pytest.mark.parametrize("with_own", [None, [False, False, True]])
def test_contrast_without_negatives_is_zero_and_so_is_its_gradient(with_own: list[bool] | None) -> None:
    query, key, memory = pair(3, 20, 6)
    alone = torch.tensor([True, False, True])
    given: dict[str, Any] = {"exclude": lambda start, stop: alone.unsqueeze(1).expand(-1, stop - start)}
    if with_own is not None:
        given |= {"own_negative_BD": key.detach().roll(1, 0), "with_own_B": torch.tensor(with_own)}
    loss = contrast(query, key, memory, 0.2, **given)
    loss.backward()
    q = unit(query.detach())
    positive = (q * unit(key.detach())).sum(1, keepdim=True) / 0.2
    expected = functional.cross_entropy(
        torch.cat([positive[1:2], q[1:2] @ memory.T / 0.2], 1), torch.zeros(1, dtype=torch.int64)
    )
    if with_own is not None:
        own = (q[2:] * unit(key.detach().roll(1, 0)[2:])).sum(1, keepdim=True) / 0.2
        expected = expected + functional.cross_entropy(torch.cat([positive[2:], own], 1), torch.zeros(1).long())
    torch.testing.assert_close(loss, expected / 3)
    assert query.grad is not None
    assert query.grad.isfinite().all()
    assert torch.equal(query.grad[0], torch.zeros_like(query.grad[0]))
