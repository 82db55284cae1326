"""The loss over pairs of views against the plain loop, and the entropies of an assignment."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from likewise.similarity.prototypes.across_views import across_views, entropies


def inputs(views: int, coding: int, batch: int = 5, prototypes: int = 7) -> tuple[Tensor, Tensor]:
    torch.manual_seed(views)
    scores = torch.randn(views, batch, prototypes, dtype=torch.float64, requires_grad=True)
    return scores, torch.randn(coding, batch, prototypes, dtype=torch.float64).softmax(2)


@pytest.mark.parametrize(("views", "coding"), [(2, 1), (2, 2), (3, 2), (6, 2), (4, 4)])
def test_it_is_the_mean_over_ordered_pairs_of_different_views(views: int, coding: int) -> None:
    scores, targets = inputs(views, coding)
    terms = []
    for i in range(coding):
        for v in range(views):
            if v != i:
                log = (scores[v] / 0.1).log_softmax(1)
                terms += [-(targets[i, b] * log[b]).sum() for b in range(len(log))]
    expected = torch.stack(terms).mean()
    loss = across_views(scores, targets, 0.1)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, scores)[0], torch.autograd.grad(expected, scores)[0], rtol=1e-9, atol=1e-12
    )


def test_no_gradient_goes_to_the_targets_and_bfloat16_is_computed_in_float32() -> None:
    scores, targets = inputs(3, 2)
    targets.requires_grad_(True)
    loss = across_views(scores.bfloat16(), targets.float(), 0.1)
    assert loss.dtype == torch.float32
    loss.backward()
    assert targets.grad is None


def test_entropies_tell_sure_from_even_and_used_from_unused() -> None:
    sure = torch.eye(4).repeat(3, 1)
    assert entropies(sure).each == 0
    assert entropies(sure).mean == pytest.approx(math.log(4))
    one = sure[:1].repeat(6, 1).view(2, 3, 4)
    assert entropies(one) == (0.0, 0.0)
    even = torch.full((6, 4), 0.25)
    assert entropies(even).each == pytest.approx(math.log(4))


def test_the_mean_is_that_of_all_processes() -> None:
    first, second = torch.eye(2)[:1], torch.eye(2)[1:]
    found = entropies(first, lambda row: torch.cat([row, second]))
    assert found.mean == pytest.approx(math.log(2))
