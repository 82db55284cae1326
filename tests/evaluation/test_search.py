"""The fast selection of the search against the plain one, on rows that are made to break it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.similarity import knn, nearest
from likewise.similarity.nearest import neighbours

ROWS = 1500
"""Long enough for the sieve at k up to 10."""


def rows(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(7, ROWS, generator=generator)
    return {
        "random": values,
        "rising": values.sort(dim=1).values,
        "falling": values.sort(dim=1, descending=True).values,
        "all equal": torch.full((7, ROWS), 0.25),
        "three values": values.mul(1.2).round().clamp(-1, 1),
        "best at the end": values.index_fill(1, torch.arange(ROWS - 5, ROWS), 9.0),
        "best in one group": values.index_fill(1, torch.arange(3, ROWS, ROWS // 8), 9.0),
        "minus infinity": values.where(values > 1, -torch.inf),
    }[kind]


@pytest.mark.parametrize("k", [1, 4, 10])
@pytest.mark.parametrize(
    "kind",
    [
        "random",
        "rising",
        "falling",
        "all equal",
        "three values",
        "best at the end",
        "best in one group",
        "minus infinity",
    ],
)
def test_the_sieve_loses_nothing(kind: str, k: int) -> None:
    values_CR = rows(kind)
    values, columns = map(torch.from_numpy, nearest._best(values_CR.numpy(), k))
    assert values.equal(values_CR.topk(k, dim=1).values)
    assert values_CR.gather(1, columns).equal(values)
    assert all(len(set(row.tolist())) == k for row in columns)


def test_the_sieve_keeps_few_and_gives_up_on_equal_values() -> None:
    sieved = nearest._sieve(rows("random").numpy(), 10)
    assert sieved is not None
    assert sieved[0].shape[1] < 40
    assert nearest._sieve(rows("all equal").numpy(), 10) is None


def test_equally_similar_images_come_in_the_order_of_the_bank() -> None:
    bank = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    for tile_rows in (1, 2, 5):
        found = neighbours(torch.tensor([[3.0, 0.0]]), bank, 5, tile_rows=tile_rows)
        assert found.rows.tolist() == [[1, 3, 4, 2, 0]]


def test_zero_vectors_are_similar_to_nothing() -> None:
    bank = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    found = neighbours(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), bank, 3)
    assert found.rows[0].tolist() == [2, 0, 1]
    assert found.similarity[0].tolist() == [1.0, 0.0, -1.0]
    assert found.similarity[1].tolist() == [0.0, 0.0, 0.0]


def test_double_precision_stays() -> None:
    query = torch.randn(3, 4, dtype=torch.float64)
    assert neighbours(query, query.float(), 2).similarity.dtype == torch.float64
    assert neighbours(query.float(), query.half(), 2).similarity.dtype == torch.float32


def test_an_infinite_similarity_weight_does_not_overflow() -> None:
    query = torch.randn(5, 8)
    found = neighbours(query, query, 5)
    labels = torch.arange(5)
    assert knn.weighted(found, labels, 5, temperature=1e-4).equal(labels)
