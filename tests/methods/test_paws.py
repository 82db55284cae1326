"""PAWS in its order: targets of the other view, supports of the step and of the memory, no label of an image used."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.paws import PAWS
from likewise.similarity.labelled.support import consistency, mean_entropy, smoothed, soft_neighbours, swapped_targets
from tests.contract.gauntlet import BATCH, CLASSES, batch_at, make


def paws(**changes: Any) -> PAWS:
    method = make("paws", **{"per_class": 2, "small_crops": 1, **changes})
    assert isinstance(method, PAWS)
    return method


def test_the_loss_is_that_of_the_paper_on_supports_and_large_views_together() -> None:
    method = paws(support_views=2).eval()  # no batch statistics, so that views may be embedded one by one
    views, batch = batch_at(method, 0)
    terms = method(views, batch)
    support = batch.others["support"]
    assert support.labels is not None

    def embedded(role: str) -> torch.Tensor:
        return method.projector(method.encoder(views[role].image))  # type: ignore[no-any-return]

    supports = torch.cat([embedded("support_0"), embedded("support_1")])
    anchors = torch.cat([embedded("large_0"), embedded("large_1"), embedded("small_0")])
    rows = smoothed(support.labels.repeat(2), CLASSES, 0.1)
    p = soft_neighbours(anchors, supports, rows, 0.1)
    expected = consistency(p, swapped_targets(p[: 2 * BATCH], 0.25, 1)) + mean_entropy(p, 0.25)
    torch.testing.assert_close(terms.loss, expected)
    assert len(method.recent.rows[method.recent.column("label") >= 0]) == 12


def test_labels_of_the_images_themselves_reach_nothing() -> None:
    losses = []
    for labels in (None, torch.full((BATCH,), -1)):
        method = paws()
        views, batch = batch_at(method, 0)
        losses.append(method(views, batch if labels is None else batch._replace(labels=labels)).loss)
    assert losses[0] == losses[1]


def test_gradient_reaches_the_supports_and_not_the_targets() -> None:
    method = paws(prediction_head=True)
    views, batch = batch_at(method, 0)
    method(views, batch).loss.backward()
    assert method.predictor is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.predictor[2].parameters())


def test_earlier_supports_count_where_that_is_asked_for() -> None:
    plain, remembering = paws(), paws(support_memory=6)
    losses = []
    for method in (plain, remembering):
        first, second = (method(*batch_at(method, step)).loss for step in range(2))
        losses.append((float(first.detach()), float(second.detach())))
    assert losses[0][0] == losses[1][0], "nothing is remembered yet"
    assert losses[0][1] != losses[1][1]
    assert int(remembering.recent.filled) == 12


def test_logits_are_the_soft_classes_of_the_remembered() -> None:
    method = paws().eval()
    views, batch = batch_at(method, 0)
    method(views, batch)
    logits = method.logits(views["large_0"].image)
    assert logits.shape == (BATCH, CLASSES)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(BATCH))


def test_without_labels_there_is_nothing_to_support() -> None:
    method = paws()
    views, batch = batch_at(method, 0)
    bare = batch.others["support"]._replace(labels=None)
    with pytest.raises(InputError, match="the data has no labels"):
        method(views, batch._replace(others={"support": bare}))
