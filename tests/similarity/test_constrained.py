"""Neighbours among candidates against the plain search, also where there are too few."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from likewise.similarity import (
    Neighbours,
    among,
    average,
    average_of_all,
    neighbours,
    outside,
    purity,
    ranks,
    unit,
)


def vectors(rows: int, seed: int) -> torch.Tensor:
    return unit(torch.randn(rows, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 6), rows=st.integers(3, 40), k=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_group_is_searched_as_if_the_others_were_not_there(batch: int, rows: int, k: int, seed: int) -> None:
    query, memory = vectors(batch, seed), vectors(rows, seed + 100)
    generator = torch.Generator().manual_seed(seed)
    groups_B = torch.randint(-1, 3, (batch,), generator=generator)
    groups_K = torch.randint(-1, 3, (rows,), generator=generator)
    found = neighbours(query, memory, k, exclude=outside(groups_B, groups_K), tile=7)
    target, everyone = average(memory, found), average_of_all(query, memory, outside(groups_B, groups_K))
    for i, group in enumerate(groups_B.tolist()):
        members = memory if group == -1 else memory[groups_K == group]
        expected = members[(members @ query[i]).argsort(descending=True)[:k]]
        assert int(found.there[i].sum()) == len(expected)
        mean = expected.mean(0) if len(expected) else torch.zeros(6, dtype=torch.float64)
        assert_close(target[i], mean)
        assert_close(everyone[i], members.mean(0) if len(members) else torch.zeros(6, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 5), rows=st.integers(4, 30), seed=st.integers(0, 99))
def test_rows_by_list_are_searched_as_if_the_others_were_not_there(batch: int, rows: int, seed: int) -> None:
    query, memory, k = vectors(batch, seed), vectors(rows, seed + 100), 2
    candidates = neighbours(vectors(batch, seed + 200), memory, 4)
    found = among(query, memory, candidates, k)
    for i in range(batch):
        listed = candidates.rows[i]
        expected = listed[(memory[listed] @ query[i]).argsort(descending=True)[:k]]
        assert found.rows[i].equal(expected)


def test_candidates_that_are_not_there_are_never_found() -> None:
    memory = torch.eye(4)
    candidates = Neighbours(torch.tensor([[0.9, -torch.inf, -torch.inf]]), torch.tensor([[2, 0, 1]]))
    found = among(torch.tensor([[1.0, 0.5, 0.1, 0.0]]), memory, candidates, 2)
    assert found.rows[0, 0] == 2
    assert found.there.tolist() == [[True, False]]
    assert_close(average(memory, found), memory[2:3])
    assert_close(average(memory, found, "any")[0, 2], torch.tensor(0.5))


def test_ranks_count_the_nearer_rows_of_the_whole_memory() -> None:
    query, memory = vectors(5, 0), vectors(50, 1)
    order = (query @ memory.T).argsort(dim=1, descending=True)
    assert ranks(query, memory, order[:, [0, 3, 17]]).equal(torch.tensor([0, 3, 17]).expand(5, 3))


def test_purity_counts_only_what_is_there() -> None:
    labels, found = torch.tensor([1, 2]), torch.tensor([[1, 0], [0, 2]])
    assert purity(labels, found) == 0.5
    assert purity(labels, found, torch.tensor([[True, False], [False, True]])) == 1.0
    assert purity(labels, found, torch.zeros(2, 2, dtype=torch.bool)) == 0.0
