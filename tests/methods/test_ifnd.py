"""IFND: nothing left to push away, none is not none, labels as of now; and what may change before backward."""

from __future__ import annotations

import pytest
import torch

from likewise.methods.ifnd import IFND
from likewise.methods.method import Facts, Progress
from likewise.similarity import contrast, unit
from likewise.similarity.kmeans import NONE
from likewise.similarity.positives.false_negatives import Strategy, contrast_without, false_negatives
from tests.contract.gauntlet import SPEC, batch_at, make, one_step, optimizer_of


def ifnd(**settings: object) -> IFND:
    made = make("ifnd", **settings)
    assert isinstance(made, IFND)
    return made


@pytest.mark.parametrize("strategy", ["elimination", "attraction"])
def test_an_anchor_without_negatives_costs_nothing(strategy: Strategy) -> None:
    q = torch.randn(3, 4, requires_grad=True)
    k, memory = torch.randn(3, 4), unit(torch.randn(6, 4))
    false = torch.zeros(3, 6, dtype=torch.bool)
    false[1] = True
    loss = contrast_without(q, k, memory, 0.2, false, strategy)
    loss.backward()
    torch.testing.assert_close(loss, contrast(q[[0, 2]], k[[0, 2]], memory, 0.2) * 2 / 3)
    assert q.grad is not None
    assert q.grad.isfinite().all()
    assert not q.grad[1].any()


def test_no_label_is_not_the_same_as_no_label() -> None:
    found = false_negatives(torch.tensor([NONE, 3]), torch.tensor([NONE, 3, 4]))
    assert found.tolist() == [[False, False, False], [False, True, False]]


def test_rows_of_the_queue_have_the_newest_label_of_their_image() -> None:
    method = ifnd()
    optimizer = optimizer_of(method)
    assert one_step(method, optimizer, 0).parts["false_negatives"] == 0
    for level in method.levels:
        level.labels.fill_(0)  # type: ignore[operator, union-attr]
    # Of 32 rows the 8 that were written carry the label, the noise carries none.
    assert method(*batch_at(method, 1)).parts["false_negatives"] == 0.25


def test_acceptance_grows_with_the_budget_and_starts_after_some_epochs() -> None:
    method = ifnd(refresh_every=3)
    assert [epoch for epoch in range(8) if method.refresh_due(epoch)] == [3, 6]
    features = torch.randn(96, 128, generator=torch.Generator().manual_seed(0))
    for fraction in (0.0, 0.25, 1.0):
        method.refresh(features, Progress(0, fraction, 0))
        assert [int(level.sizes().sum()) for level in method.levels] == [int(96 * fraction)] * len(method.levels)  # type: ignore[operator, union-attr]


def test_attraction_survives_that_its_memory_is_written_before_backward() -> None:
    method = ifnd(strategy="attraction", refresh_every=1, acceptance=(1.0, 1.0))
    optimizer = optimizer_of(method)
    for step in range(3):
        terms = one_step(method, optimizer, step)
    assert terms.parts["false_negatives"] > 0
    assert terms.loss.isfinite()


def test_numbers_of_clusters_come_from_the_number_of_images() -> None:
    from likewise.encoders import build

    for images, expected in ((50_000, [1000, 2000]), (96, [10]), (4, [4])):
        method = IFND(build(SPEC, seed=0), IFND.Settings(), Facts(images=images, batch_size=4, image_size=16))
        assert [len(level) for level in method.levels] == expected  # type: ignore[arg-type]
