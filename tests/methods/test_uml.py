"""UML: tasks of the views of a batch, each of its four parts on its own, no label looked at."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.method import Facts
from likewise.methods.uml import UML
from likewise.similarity.labelled.episodes import draw_tasks
from tests.contract.gauntlet import BATCH, batch_at, make

VIEWS = 6


def uml(**changes: Any) -> UML:
    method = make("uml", **{"tasks": 4, **changes})
    assert isinstance(method, UML)
    return method


def loss_of(**changes: Any) -> torch.Tensor:
    method = uml(**changes)
    torch.manual_seed(2)
    return method(*batch_at(method, 0)).loss  # type: ignore[no-any-return]


def test_the_loss_is_that_of_semi_normalised_prototypes() -> None:
    method = uml()
    views, batch = batch_at(method, 0)
    torch.manual_seed(2)
    found = method(views, batch).loss
    torch.manual_seed(2)
    tasks = draw_tasks(BATCH, tasks=4, way=5, shot=1, query=5)
    e = method.encoder(torch.cat([views[f"view_{number}"].image for number in range(VIEWS)]))  # one pass, in train mode
    losses = []
    for support, query in zip(tasks.support, tasks.query, strict=True):
        images = support[0] % BATCH
        assert ((query % BATCH) == images).all(), "queries are other views of the same images"
        prototype = torch.nn.functional.normalize(e[support].mean(0), dim=1)
        logits = e[query] @ prototype.T
        losses.append(torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(5).repeat(5)))
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_each_part_is_a_switch_of_its_own() -> None:
    plain = loss_of()
    for changes in (
        {"tasks": 1},
        {"similarity": "cosine"},
        {"hard_supports": 3},
        {"projection_heads": 1},
        {"hard_supports": 3, "projection_heads": 1},
    ):
        found = loss_of(**changes)
        assert found.isfinite()
        assert found != plain, changes
    assert loss_of(hard_supports=3) > plain, "more to be told apart from"
    assert loss_of(hard_supports=1000).isfinite(), "as many as there are rows of other images"


def test_the_projection_learns_at_its_own_rate_and_is_left_behind() -> None:
    method = uml(projection_heads=2, projection_dim=0, projection_rate=10.0)
    assert method.projection is not None
    assert method.projection.head_dim == method.encoder.features
    assert [group.get("rate", 1.0) for group in method.parameter_groups()] == [1.0, 10.0]
    assert list(method.encoders()) == ["student"]
    method(*batch_at(method, 0)).loss.backward()
    assert all(p.grad is not None for p in method.projection.parameters())


def test_views_of_an_image_are_mirrored_together_and_cropped_apart() -> None:
    views, _ = batch_at(uml(), 0)
    assert set(views) == {f"view_{number}" for number in range(VIEWS)}
    first, second = views["view_0"], views["view_1"]
    assert first.flip is not None
    assert second.flip is not None
    assert first.flip.equal(second.flip)
    assert len(set(first.flip.tolist())) == 2
    assert not first.box.equal(second.box)  # type: ignore[union-attr]


def test_labels_reach_nothing() -> None:
    losses = []
    for labels in (None, torch.zeros(BATCH, dtype=torch.int64)):
        method = uml(hard_supports=3)
        views, batch = batch_at(method, 0)
        torch.manual_seed(2)
        losses.append(method(views, batch._replace(labels=labels)).loss)
    assert losses[0] == losses[1]


def test_a_task_of_more_images_than_a_batch_has_is_refused() -> None:
    encoder = make("uml").encoders()["student"]
    with pytest.raises(InputError, match="way=9 images in a task, and a batch has 8"):
        UML(encoder, UML.Settings(way=9), Facts(images=96, batch_size=8, image_size=16))  # type: ignore[arg-type]
