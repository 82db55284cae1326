"""XMoCo: what its two terms are zero for, and that its forms train."""

from __future__ import annotations

import pytest
import torch

from likewise.methods.xmoco import cross_consistency, queue_consistency, uniformity
from likewise.similarity import unit
from tests.contract.gauntlet import make, one_step, optimizer_of


def test_equal_views_are_consistent() -> None:
    q = torch.randn(6, 8, dtype=torch.float64)
    for form in ("symmetric", "teacher"):
        assert cross_consistency(q, q, form=form).abs() < 1e-12  # type: ignore[arg-type]
    assert queue_consistency(q, q, unit(torch.randn(20, 8, dtype=torch.float64))).abs() < 1e-12


def test_an_images_own_pair_does_not_count() -> None:
    q, k = torch.eye(4, dtype=torch.float64)[:3], torch.eye(4, dtype=torch.float64)[:3]
    changed = k.clone()
    changed[0] = torch.tensor([0.0, 0.0, 0.0, 1.0])  # its own pair is not similar any more, all others are as before
    for form in ("symmetric", "teacher"):
        assert cross_consistency(q, changed, form=form) == 0  # type: ignore[arg-type]
    torch.testing.assert_close(uniformity(q, k, 0.1), torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(uniformity(q, changed, 0.1), torch.tensor(0.0, dtype=torch.float64))
    k[1] = k[0]
    assert uniformity(q, k, 0.1) > 1.0


def test_the_symmetric_form_has_gradient_on_both_sides() -> None:
    q, k = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)
    row, other = unit(q), unit(k)
    expected = ((row[0] * other[1]).sum() - (row[1] * other[0]).sum()).square()
    found = cross_consistency(q, k, form="symmetric")
    torch.testing.assert_close(found, expected)
    for loss in (found, expected):
        (gradient,) = torch.autograd.grad(loss, q, retain_graph=True)
        assert (gradient.abs().sum(1) > 0).all()
    torch.testing.assert_close(torch.autograd.grad(found, q)[0], torch.autograd.grad(expected, q)[0])


@pytest.mark.parametrize("changes", [{"consistency": "teacher"}, {"consistency": "queue"}, {"symmetric": True}])
def test_every_form_trains(changes: dict[str, object]) -> None:
    method = make("xmoco", **changes)
    optimizer = optimizer_of(method)
    losses = [one_step(method, optimizer, step).loss for step in range(3)]
    assert torch.stack(losses).isfinite().all()
    assert all(p.grad is not None for p in method.get_submodule("student").parameters())
