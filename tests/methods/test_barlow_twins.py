"""Barlow Twins: both forms of the sum, the rate of biases, and the start as identity."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.barlow_twins import BarlowTwins, cross_correlation, reduce_redundancy
from likewise.methods.method import Optimisation
from likewise.training.optimising import optimisers
from tests.contract.gauntlet import make


@pytest.mark.parametrize(("count", "dim"), [(2, 9), (6, 7), (7, 7), (40, 5)])
def test_the_sum_over_images_equals_the_sum_over_dimensions(count: int, dim: int) -> None:
    torch.manual_seed(count)
    first, second = (torch.randn(count, dim, dtype=torch.float64, requires_grad=True) for _ in range(2))
    c_DD = cross_correlation(first, second)
    expected = torch.zeros((), dtype=torch.float64)
    for i in range(dim):
        for j in range(dim):
            expected = expected + ((c_DD[i, j] - 1) ** 2 if i == j else 0.3 * c_DD[i, j] ** 2)
    found = reduce_redundancy(first, second, 0.3).loss
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, (first, second)),
        torch.autograd.grad(expected, (first, second)),
        rtol=1e-7,
        atol=1e-10,
    )


def test_equal_views_of_independent_dimensions_cost_nothing() -> None:
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    found = reduce_redundancy(z, z, 1.0)
    assert found.loss == pytest.approx(0.0, abs=1e-8)
    assert found.diagonal == pytest.approx(1.0, abs=1e-4)


def test_biases_and_norms_have_their_own_rate() -> None:
    method = make("barlow_twins", bias_rate=0.25)
    optimiser = optimisers.build(method.parameter_groups(), Optimisation(learning_rate=0.8))
    matrices, vectors = optimiser.param_groups
    assert (matrices["lr"], vectors["lr"]) == (0.8, 0.2)
    assert all(p.ndim > 1 for p in matrices["params"])
    assert all(p.ndim <= 1 for p in vectors["params"])
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(method.parameters()))


def test_the_official_start_makes_every_block_the_identity() -> None:
    def last_scales(**changes: bool) -> list[float]:
        parameters = make("barlow_twins", **changes).named_parameters()
        return [float(p.detach().abs().max()) for name, p in parameters if name.endswith("bn2.weight")]

    assert set(last_scales(zero_init=True)) == {0.0}
    assert set(last_scales()) == {1.0}


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match="embedding=1 is too small"):
        BarlowTwins.Settings(embedding=1)
    with pytest.raises(InputError, match="lambd=-1 is too small"):
        BarlowTwins.Settings(lambd=-1)
