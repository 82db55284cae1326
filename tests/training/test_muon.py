"""Muon against its formula, written out with singular value decompositions and with the published iteration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from likewise.methods.method import Optimisation
from likewise.training.optimising.muon import QUINTIC, STEPS, Muon, orthogonal
from likewise.training.optimising.optimisers import build, set_rate


def published(matrix: Tensor) -> Tensor:
    """The iteration on the matrix itself, in float64."""
    a, b, c = QUINTIC
    x = matrix.double() / matrix.double().norm()
    x = x.T if x.shape[0] > x.shape[1] else x
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("rows", "columns"), [(16, 27), (64, 576), (48, 16), (1, 9), (9, 1)])
def test_orthogonal_is_the_published_iteration(rows: int, columns: int) -> None:
    matrices = random(3, rows, columns)
    expected = torch.stack([published(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonal(matrices), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(orthogonal(matrices.float()), expected.float(), rtol=1e-3, atol=1e-3)


def test_orthogonal_moves_singular_values_and_keeps_their_vectors() -> None:
    left, right = torch.linalg.qr(random(32, 32))[0], torch.linalg.qr(random(288, 32, seed=1))[0].T
    values = torch.logspace(0, -1.5, 32, dtype=torch.float64)
    found = orthogonal(((left * values) @ right)[None].float())[0].double()
    core = left.T @ found @ right.T
    assert 0.67 < float(core.diagonal().min()) < float(core.diagonal().max()) < 1.21
    assert float((core - core.diagonal().diag()).abs().max()) < 2e-3


def test_orthogonal_in_float32_where_directions_are_far_apart() -> None:
    """Squares of singular values are what it works with: four decades between them still come out right."""
    matrix = (random(64, 64) * torch.logspace(0, -4, 64, dtype=torch.float64)) @ random(64, 576, seed=1)
    expected = published(matrix)
    assert float((orthogonal(matrix[None].float())[0] - expected).norm() / expected.norm()) < 1e-3


def test_zero_stays_zero_and_half_precision_is_widened() -> None:
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))
    assert orthogonal(torch.ones(1, 3, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_step_follows_the_formula_while_the_rate_changes() -> None:
    """A kernel and a vector, in one group as a model hands them over."""
    kernel, vector = nn.Parameter(random(6, 2, 3, 3)), nn.Parameter(random(6))
    optimiser = build(
        [{"params": [kernel, vector]}],
        Optimisation(optimiser="muon", learning_rate=0.1, weight_decay=0.3, momentum=0.8),
    )
    w, v = kernel.detach().clone(), vector.detach().clone()
    mu, nu = torch.zeros_like(w), torch.zeros_like(v)
    for number, lr in enumerate((0.1, 0.3, 0.05)):
        kernel.grad, vector.grad = random(6, 2, 3, 3, seed=number), random(6, seed=number)
        set_rate(optimiser, lr)
        optimiser.step()
        mu = 0.8 * mu + kernel.grad
        w = (1 - lr * 0.3) * w - lr * published((kernel.grad + 0.8 * mu).flatten(1)).view_as(w)
        nu = 0.8 * nu + vector.grad + 0.3 * v
        v = v - lr * nu
    torch.testing.assert_close(kernel.detach(), w, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(vector.detach(), v, rtol=1e-12, atol=1e-14)


def test_a_tall_matrix_takes_longer_steps() -> None:
    """By the root of rows over columns, so that its outputs change as much as those of a wide one."""
    parameter = nn.Parameter(torch.zeros(64, 4))
    parameter.grad = torch.eye(64, 4)
    Muon([parameter], lr=1.0).step()
    expected = published(torch.eye(64, 4)).float()
    torch.testing.assert_close(parameter.detach(), -4.0 * expected, rtol=1e-4, atol=1e-5)


def test_the_layout_of_kernels_in_memory_changes_nothing() -> None:
    def stepped(layout: Any) -> Tensor:
        kernel = nn.Parameter(random(8, 4, 3, 3).contiguous(memory_format=layout))
        kernel.grad = random(8, 4, 3, 3, seed=1).contiguous(memory_format=layout)
        Muon([kernel], lr=0.1).step()
        assert kernel.is_contiguous(memory_format=layout)
        return kernel.detach()

    torch.testing.assert_close(stepped(torch.channels_last), stepped(torch.contiguous_format), rtol=1e-12, atol=1e-14)


def test_tensors_of_one_shape_do_not_mix() -> None:
    """They are stacked for speed; each moves as it would alone."""
    together = [nn.Parameter(random(4, 6, seed=number)) for number in range(3)]
    alone = [nn.Parameter(parameter.detach().clone()) for parameter in together]
    for number, (one, other) in enumerate(zip(together, alone, strict=True)):
        one.grad = other.grad = random(4, 6, seed=10 + number)
        Muon([other], lr=0.1).step()
    Muon(together, lr=0.1).step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-12, atol=1e-14)


def test_gradients_and_parameters_without_gradients_are_left_alone() -> None:
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    used.grad = torch.eye(2)
    optimiser = Muon([used, unused], lr=0.1, weight_decay=0.1)
    assert optimiser.step(lambda: 3.0) == 3.0
    assert torch.equal(used.grad, torch.eye(2))
    assert torch.equal(unused.detach(), torch.ones(2, 2))
    assert unused not in optimiser.state
