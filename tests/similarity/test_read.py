"""The streaming read against the plain formula, in every way it can be asked."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from likewise.errors import InputError
from likewise.similarity import neighbours, purity, read, similarities, unit


def plain(query: Tensor, memory: Tensor, temperature: float, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and log-sum-exp the obvious way."""
    logits = query @ memory.T / temperature
    if mask is not None:
        logits = logits.masked_fill(mask, -torch.inf)
    return logits.softmax(1) @ memory, logits.logsumexp(1)


sizes = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 9),
    rows=sizes,
    dim=st.integers(1, 12),
    tile=sizes,
    seed=st.integers(0, 99),
    temperature=st.sampled_from([0.01, 0.1, 1.0]),
)
def test_equals_the_plain_formula(batch: int, rows: int, dim: int, tile: int, seed: int, temperature: float) -> None:
    torch.manual_seed(seed)
    query = unit(torch.randn(batch, dim, dtype=torch.float64))
    memory = unit(torch.randn(rows, dim, dtype=torch.float64))
    found = read(query, memory, temperature, top=min(3, rows), tile=tile)
    mean, log_sum_exp = plain(query, memory, temperature)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.log_sum_exp, log_sum_exp)
    values, _ = (query @ memory.T).topk(min(3, rows), dim=1)
    assert found.top_values is not None
    assert found.top_index is not None
    torch.testing.assert_close(found.top_values, values)
    torch.testing.assert_close((query @ memory.T).gather(1, found.top_index), values)


@pytest.mark.parametrize("tile", [1, 7, 50])
def test_a_second_memory_is_carried_along_with_the_weights_of_the_first(tile: int) -> None:
    torch.manual_seed(0)
    query, memory, values = (torch.randn(n, d, dtype=torch.float64) for n, d in ((4, 5), (30, 5), (30, 8)))
    found = read(query, memory, 0.3, values=values, tile=tile)
    torch.testing.assert_close(found.carried, (query @ memory.T / 0.3).softmax(1) @ values)
    assert read(query, memory, 0.3).carried is None
    with pytest.raises(InputError, match="30 and 29 rows"):
        read(query, memory, 0.3, values=values[1:])


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 6), rows=st.integers(2, 30), tile=sizes, seed=st.integers(0, 99))
def test_excluded_rows_do_not_count(batch: int, rows: int, tile: int, seed: int) -> None:
    torch.manual_seed(seed)
    query, memory = torch.randn(batch, 5, dtype=torch.float64), torch.randn(rows, 5, dtype=torch.float64)
    mask = torch.rand(batch, rows) < 0.5
    mask[:, 0] = False
    found = read(query, memory, 0.5, exclude=lambda start, stop: mask[:, start:stop], tile=tile)
    mean, log_sum_exp = plain(query, memory, 0.5, mask)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.log_sum_exp, log_sum_exp)


def test_a_query_with_everything_excluded_reads_nothing() -> None:
    query, memory = torch.randn(3, 4), torch.randn(10, 4)
    mask = torch.zeros(3, 10, dtype=torch.bool)
    mask[1] = True
    found = read(query, memory, 0.1, exclude=lambda start, stop: mask[:, start:stop], tile=3)
    assert found.mean[1].eq(0).all()
    assert found.log_sum_exp[1] == -torch.inf
    assert found.mean[0].isfinite().all()


def test_gradient_is_that_of_the_plain_formula() -> None:
    raw = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    memory = unit(torch.randn(50, 6, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: read(x, memory, 0.3, tile=8).log_sum_exp, raw)


def test_memory_may_be_overwritten_before_backward() -> None:
    raw = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    memory = unit(torch.randn(20, 6, dtype=torch.float64))
    (expected,) = torch.autograd.grad(plain(raw, memory, 0.1)[1].sum(), raw)
    loss = read(raw, memory, 0.1).log_sum_exp.sum()
    memory.zero_()
    loss.backward()
    torch.testing.assert_close(raw.grad, expected)


def test_backward_saves_no_more_than_the_mean() -> None:
    saved: list[int] = []

    def pack(x: Tensor) -> Tensor:
        saved.append(x.numel())
        return x

    query = torch.randn(8, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        read(query, torch.randn(1000, 16), 0.1).log_sum_exp.sum()
    assert max(saved) <= 8 * 16


def test_half_precision_is_read_in_float32() -> None:
    query, memory = unit(torch.randn(16, 32)), unit(torch.randn(200, 32))
    exact = read(query, memory, 0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = read(query, memory, 0.01)
    assert found.log_sum_exp.dtype == torch.float32
    torch.testing.assert_close(found.log_sum_exp, exact.log_sum_exp)


def test_a_temperature_per_query() -> None:
    query, memory = torch.randn(2, 4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    found = read(query, memory, torch.tensor([[0.1], [2.0]], dtype=torch.float64), top=2)
    for row, temperature in enumerate((0.1, 2.0)):
        alone = read(query[row : row + 1], memory, temperature, top=2)
        torch.testing.assert_close(found.log_sum_exp[row : row + 1], alone.log_sum_exp)
        assert found.top_values is not None
        assert alone.top_values is not None
        torch.testing.assert_close(found.top_values[row : row + 1], alone.top_values)


@pytest.mark.parametrize("tile", [1, 3, 64, None])
def test_neighbours_equal_topk(tile: int | None) -> None:
    query, memory = torch.randn(5, 8), torch.randn(64, 8)
    found = neighbours(query, memory, 7, tile=tile)
    values, index = (query @ memory.T).topk(7, dim=1)
    torch.testing.assert_close(found.similarity, values)
    assert found.rows.equal(index)


def test_too_many_neighbours_is_one_line() -> None:
    with pytest.raises(InputError, match="k=9 neighbours asked of a memory of 8 rows"):
        neighbours(torch.randn(2, 3), torch.randn(8, 3), 9)
    with pytest.raises(InputError, match="top=9"):
        read(torch.randn(2, 3), torch.randn(8, 3), 1.0, top=9)


def test_similarities_and_purity() -> None:
    query, memory = torch.randn(3, 4), torch.randn(6, 4)
    torch.testing.assert_close(similarities(query, memory, 0.5), query @ memory.T / 0.5)
    labels = torch.tensor([1, 2, 3])
    near = torch.tensor([[1, 1], [2, 0], [-1, 0]])
    assert purity(labels, near) == pytest.approx(3 / 6)


def test_unit_of_half_precision_is_full_precision() -> None:
    x = torch.randn(4, 9, dtype=torch.bfloat16)
    torch.testing.assert_close(unit(x), functional.normalize(x.float(), dim=1))
