"""Neighbours and votes against scikit-learn and against the obvious loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor
from torch.nn.functional import normalize

from likewise.errors import InputError
from likewise.similarity import knn, nearest
from likewise.similarity.nearest import neighbours


def points(count: int, seed: int, dim: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    centres = torch.randn(4, dim, generator=torch.Generator().manual_seed(0))
    return centres[labels] + torch.randn(count, dim, generator=generator), labels


@pytest.mark.parametrize("k", [1, 7, 50])
def test_neighbours_equal_scikit_learn(k: int) -> None:
    (query, _), (bank, _) = points(40, 1), points(300, 2)
    exact = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(bank.numpy())
    distance, index = exact.kneighbors(query.numpy())
    found = neighbours(query, bank, k)
    np.testing.assert_allclose(1 - found.similarity.numpy(), distance, atol=1e-5)
    assert (found.rows.numpy() == index).mean() > 0.99


@pytest.mark.parametrize(("rows", "size"), [(7, 2**20), (64, 2048), (1, 2**20), (300, 4096)])
def test_tiles_change_nothing(rows: int, size: int) -> None:
    (query, _), (bank, _) = points(33, 3), points(300, 4)
    whole, tiled = neighbours(query, bank, 9), neighbours(query, bank, 9, tile_rows=rows, tile_bytes=size)
    torch.testing.assert_close(tiled.similarity, whole.similarity)
    assert tiled.rows.equal(whole.rows)


@pytest.mark.parametrize("threads", [2, 5, 40])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (query, _), (bank, _) = points(33, 3), points(300, 4)
    alone = neighbours(query, bank, 9)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    shared = neighbours(query, bank, 9)
    torch.testing.assert_close(shared.similarity, alone.similarity)
    assert shared.rows.equal(alone.rows)


def test_an_accelerator_finds_the_same() -> None:
    query, bank = normalize(points(33, 3)[0]), normalize(points(300, 4)[0])
    here, there = (look(query, bank, 9, 4096) for look in (nearest._by_processor, nearest._by_accelerator))
    torch.testing.assert_close(there.similarity, here.similarity)
    assert there.rows.equal(here.rows)


def test_majority_equals_scikit_learn_where_nothing_ties() -> None:
    (query, _), (bank, labels) = points(60, 5), points(400, 6)
    unit_bank, unit_query = normalize(bank).numpy(), normalize(query).numpy()
    for k in (1, 5):
        judge = KNeighborsClassifier(k, algorithm="brute").fit(unit_bank, labels.numpy())
        votes = judge.predict_proba(unit_query)
        clear = (votes == votes.max(1, keepdims=True)).sum(1) == 1
        ours = knn.majority(neighbours(query, bank, k), labels, k).numpy()
        assert (ours[clear] == judge.predict(unit_query)[clear]).all()


def test_ties_go_to_the_nearest_member() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.3], [0.7, 0.5]])
    found = neighbours(torch.tensor([[1.0, 0.0]]), bank, 4)
    assert knn.majority(found, torch.tensor([2, 1, 1, 2]), 4).item() == 2
    assert knn.majority(found, torch.tensor([1, 2, 2, 1]), 4).item() == 1
    assert knn.majority(found, torch.tensor([0, 2, 2, 1]), 4).item() == 2


def test_weighted_votes_are_the_formula() -> None:
    (query, _), (bank, labels) = points(10, 7), points(80, 8)
    similarity = normalize(query) @ normalize(bank).T
    values, rows = similarity.topk(20, dim=1)
    expected = torch.zeros(10, 4)
    for q in range(10):
        for value, row in zip(values[q], rows[q], strict=True):
            expected[q, labels[row]] += (value / 0.1).exp()
    scores = knn.weighted_scores(query, bank, labels, k=20, temperature=0.1, classes=4)
    torch.testing.assert_close(scores / scores.sum(1, keepdim=True), expected / expected.sum(1, keepdim=True))


def test_what_cannot_be_is_one_line() -> None:
    (query, _), (bank, _) = points(4, 9), points(8, 10)
    with pytest.raises(InputError, match="k=9"):
        neighbours(query, bank, 9)
    query[2, 3] = float("nan")
    with pytest.raises(InputError, match="query"):
        neighbours(query, bank, 1)
