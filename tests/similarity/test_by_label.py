"""Images drawn by label: the right labels, each as likely as it should be, and never an endless loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.similarity import unit
from likewise.similarity.labelled.by_label import STRATEGIES, Negatives, Strategy, draw_negatives, draw_positives


def draw(labels: torch.Tensor, anchors: int, count: int, strategy: Strategy, pool: int, seed: int = 0) -> Negatives:
    generator = torch.Generator().manual_seed(seed)
    bank = unit(torch.randn(len(labels), 3, generator=generator))
    columns = pool if strategy in {"semihard", "semieasy"} else count
    uniform = torch.rand(anchors, columns, generator=generator)
    return draw_negatives(bank[:anchors], bank, labels[:anchors], labels, count, strategy, uniform)


@settings(max_examples=80, deadline=None)
@given(
    size=st.integers(2, 20), kinds=st.integers(1, 4), pool=st.integers(1, 20), count=st.integers(1, 12),
    strategy=st.sampled_from(STRATEGIES), seed=st.integers(0, 99),
)  # fmt: skip
def test_what_counts_has_another_label(
    size: int, kinds: int, pool: int, count: int, strategy: Strategy, seed: int
) -> None:
    labels = torch.randint(kinds, (size,), generator=torch.Generator().manual_seed(seed))
    count = min(count, size)
    found = draw(labels, min(4, size), count, strategy, min(pool, size), seed)
    own = labels[: min(4, size)].unsqueeze(1)
    assert found.rows.shape == found.counted.shape == (min(4, size), count)
    assert ((labels[found.rows] != own) | ~found.counted).all()
    if strategy == "random":
        assert found.counted.eq((labels != own).any(1, keepdim=True)).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_label_only_leaves_nothing_to_draw(strategy: Strategy) -> None:
    assert not draw(torch.zeros(9, dtype=torch.int64), 3, 4, strategy, 6).counted.any()


def test_a_pool_gives_each_row_once_while_it_lasts() -> None:
    labels = torch.tensor([0] * 10 + [1] * 10)
    for row in draw(labels, 4, 8, "semihard", 20).rows:
        assert len(row.unique()) == 8
    twice = draw(labels, 4, 15, "semieasy", 20).rows
    assert all(len(row.unique()) == 10 for row in twice)


def test_positives_are_uniform_over_the_members_of_the_class() -> None:
    labels = torch.tensor([2, 0, 2, 1, 2, 0])
    uniform = torch.arange(6).div(6) + 1 / 12
    assert draw_positives(torch.full((6,), 2), labels, uniform).tolist() == [0, 0, 2, 2, 4, 4]
    assert draw_positives(torch.tensor([1]), labels, torch.tensor([1.0])).tolist() == [3]


def test_random_negatives_are_uniform_over_the_others() -> None:
    labels = torch.tensor([2, 0, 2, 1, 2, 0])
    uniform = (torch.arange(4).div(4) + 1 / 8).unsqueeze(0)
    bank = unit(torch.randn(6, 3))
    found = draw_negatives(bank[:1], bank, torch.tensor([0]), labels, 4, "random", uniform)
    assert found.rows.tolist() == [[3, 0, 2, 4]]
