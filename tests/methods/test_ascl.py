"""ASCL: the loss with nothing of size batch x memory against the plain formula, and the form without a queue."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.methods.ascl import ASCL
from likewise.similarity import contrast, cross_entropy, own_columns, similarities, unit
from likewise.similarity.positives.adaptive import Target, adaptive_contrast, batch_targets, soft_labels
from tests.contract.gauntlet import batch_at, make, one_step, optimizer_of


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 5),
    rows=st.integers(5, 30),
    neighbours=st.integers(1, 5),
    sharpness=st.sampled_from([0.01, 0.05, 1.0]),
    target=st.sampled_from(["ascl", "ahcl", "hard", "normal"]),
    seed=st.integers(0, 99),
)
def test_equals_the_plain_formula(
    batch: int, rows: int, neighbours: int, sharpness: float, target: Target, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k, memory = (unit(torch.randn(n, 4, dtype=torch.float64, generator=generator)) for n in (batch, batch, rows))
    q.requires_grad_(True)
    p = similarities(k, memory, sharpness).softmax(1)
    confidence = 1 - torch.special.entr(p).sum(1) / math.log(rows)
    labels = torch.cat([torch.ones(batch, 1), soft_labels(p, confidence, neighbours, target)], 1)
    v = unit(q)
    logits = torch.cat([(v * k).sum(1, keepdim=True), v @ memory.T], 1) / 0.1
    expected = cross_entropy(logits, labels / labels.sum(1, keepdim=True)).mean()
    found = adaptive_contrast(q, k, memory, 0.1, sharpness, neighbours=neighbours, target=target)
    torch.testing.assert_close(found.confidence, confidence)
    torch.testing.assert_close(found.loss, expected)
    gradients = [torch.autograd.grad(loss, q)[0] for loss in (found.loss, expected)]
    torch.testing.assert_close(*gradients)


def test_labels_of_the_batch_leave_the_image_itself_out() -> None:
    keys = unit(torch.randn(6, 4, dtype=torch.float64))
    labels, confidence = batch_targets(keys, keys, own_columns(keys, 6), 0.05, neighbours=3)
    torch.testing.assert_close(labels.sum(1), torch.ones(6, dtype=torch.float64))
    assert (labels.diagonal() >= 1 / (1 + 3) - 1e-9).all()
    assert ((confidence >= -1e-9) & (confidence <= 1 + 1e-9)).all()


@pytest.mark.parametrize("batch", [2, 6])
def test_kappa_may_be_the_whole_batch(batch: int) -> None:
    """The adaptive target multiplies by kappa as it is given; only targets of the kappa nearest are limited."""
    keys = unit(torch.randn(batch, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
    own = own_columns(keys, batch)
    labels, confidence = batch_targets(keys, keys, own, 0.5, neighbours=batch)
    p = similarities(keys, keys, 0.5).masked_fill(own, -torch.inf).softmax(1)
    entropy = -p.masked_fill(own, 1.0).mul(p.masked_fill(own, 1.0).log()).sum(1)
    torch.testing.assert_close(confidence, 1 - entropy / math.log(max(2, batch - 1)))
    expected = (batch * confidence.unsqueeze(1) * p).clamp(max=1.0).masked_fill(own, 1.0)
    torch.testing.assert_close(labels, expected / expected.sum(1, keepdim=True))
    hard, _ = batch_targets(keys, keys, own, 0.5, neighbours=batch, target="hard")
    torch.testing.assert_close(hard, torch.full_like(hard, 1 / batch))


def test_kappa_may_be_more_than_the_memory_has_rows() -> None:
    q, k, memory = (unit(torch.randn(n, 4, dtype=torch.float64)) for n in (3, 3, 5))
    p = similarities(k, memory, 0.5).softmax(1)
    confidence = 1 - torch.special.entr(p).sum(1) / math.log(5)
    labels = torch.cat([torch.ones(3, 1), (7 * confidence.unsqueeze(1) * p).clamp(max=1.0)], 1)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ memory.T], 1) / 0.1
    expected = cross_entropy(logits, labels / labels.sum(1, keepdim=True)).mean()
    torch.testing.assert_close(adaptive_contrast(q, k, memory, 0.1, 0.5, neighbours=7).loss, expected)


def test_the_form_without_a_queue_trains() -> None:
    method = make("ascl", form="byol")
    assert isinstance(method, ASCL)
    assert not any("queue" in name for name in method.state_dict())
    optimizer = optimizer_of(method)
    losses = [one_step(method, optimizer, step).loss for step in range(3)]
    assert torch.stack(losses).isfinite().all()
    assert method(*batch_at(method, 0, size=2)).loss.isfinite()
    assert method(*batch_at(method, 0)).loss.isfinite()
    assert all(p.grad is not None for p in method.predictor.parameters())


def test_without_neighbours_it_is_moco() -> None:
    q, k, memory = torch.randn(4, 8), torch.randn(4, 8), unit(torch.randn(20, 8))
    found = adaptive_contrast(q, k, memory, 0.1, 0.05, neighbours=5, target="normal").loss
    torch.testing.assert_close(found, contrast(q, k, memory, 0.1))
