"""HIERMATCH in its order: guesses, one mixture for all levels, own batches with partial labels, average, decay."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from likewise.data.batches.streams import order_of
from likewise.errors import InputError
from likewise.methods import find
from likewise.methods.hiermatch import HierMatch, drawn_mixture
from likewise.methods.method import Batch, Facts, Progress
from likewise.methods.whole import restore
from likewise.similarity.labelled.mixmatch import guessed, interleaved, mixed
from likewise.verbs.learning.train import train
from tests.contract.gauntlet import BATCH, CLASSES, Data, batch_at, facts_of, make, one_step, optimizer_of
from tests.recipes.reader import Published, plan_of

HALF = Progress(5, 0.5, 2)


def hiermatch(**changes: Any) -> HierMatch:
    method = make("hiermatch", **{"levels": ("coarse",), **changes})
    assert isinstance(method, HierMatch)
    method.before_step(HALF)
    return method


def garbled(batch: Batch) -> Batch:
    """The batch with nonsense for everything that is known of its unlabelled images."""
    wrong = {name: torch.full_like(column, 7) for name, column in batch.columns.items()}
    labels = None if batch.labels is None else torch.full_like(batch.labels, 2)
    others = {name: garbled(other) if name.startswith("unlabelled") else other for name, other in batch.others.items()}
    return batch._replace(labels=labels, columns=wrong, others=others)


def test_the_loss_is_mixmatch_at_every_level_by_one_mixture() -> None:
    method = hiermatch().eval()  # no batch statistics, so that rows may be embedded in any order
    views, batch = batch_at(method, 0)
    torch.manual_seed(4)
    terms = method(views, batch)
    torch.manual_seed(4)
    share, order = drawn_mixture(0.75, 3 * BATCH, torch.device("cpu"))
    assert share >= 0.5
    known, images = batch.others["labelled"], [views[role].image for role in ("labelled", "first", "second")]
    assert known.labels is not None
    rows = torch.cat(interleaved(interleaved(list(mixed(torch.cat(images), order, share).chunk(3)))))
    out, told = method.network(rows), [method.network(image) for image in images[1:]]
    loss = torch.zeros(())
    for level, (labels, classes) in enumerate(((known.labels, CLASSES), (known.columns["coarse"], 8))):
        guess = guessed(torch.stack([each[level] for each in told]), 0.5)
        target = mixed(torch.cat([F.one_hot(labels, classes).float(), guess, guess]), order, share)
        sure = -(target[:BATCH] * out[level][:BATCH].log_softmax(1)).sum(1).mean()
        free = (out[level][BATCH:].softmax(1) - target[BATCH:]).square().mean()
        loss = loss + sure + 75.0 * 0.5 * free
    torch.testing.assert_close(terms.loss, loss)


@pytest.mark.parametrize("changes", [{}, {"partial": True}, {"form": "fixmatch", "partial": True}])
def test_what_is_known_of_unlabelled_images_reaches_no_loss(changes: dict[str, Any]) -> None:
    losses = []
    for garble in (False, True):
        method = hiermatch(**changes)
        views, batch = batch_at(method, 0)
        torch.manual_seed(0)
        losses.append(method(views, garbled(batch) if garble else batch).loss)
    assert losses[0] == losses[1]


def test_with_partial_labels_each_level_draws_its_own_images() -> None:
    data = Data(("coarse",), few=True)
    data.columns["coarse"].values[48:] = -1  # the second half has no coarse label
    settings = HierMatch.Settings(levels=("coarse",), partial=True)
    streams = HierMatch.streams(settings, facts_of(("coarse",)))
    drawn = {
        name: np.unique([order_of(name, stream, data, BATCH, 0).batch(step) for step in range(40)])  # type: ignore[arg-type]
        for name, stream in streams.items()
    }
    assert (data.labels[drawn["labelled"]] >= 0).all()
    assert (data.labels[drawn["main"]] < 0).all()
    assert drawn["labelled_1"].tolist() == list(range(48))
    assert drawn["unlabelled_1"].tolist() == list(range(48, 96))
    data.columns["coarse"].values[:] = 1
    every = order_of("unlabelled_1", streams["unlabelled_1"], data, BATCH, 0)  # type: ignore[arg-type]
    assert len(np.unique([every.batch(step) for step in range(12)])) == 96, "where all are labelled, all are free"


def test_levels_with_their_own_images_use_their_own_heads_alone() -> None:
    method = hiermatch(partial=True)
    views, batch = batch_at(method, 0)
    fine = views | {role: views[role]._replace(image=torch.zeros_like(views[role].image)) for role in ("labelled_1",)}
    torch.manual_seed(0)
    before = method(views, batch).parts
    torch.manual_seed(0)
    after = copy.deepcopy(method).eval()(fine, batch).parts
    assert before["labelled"] != after["labelled"]
    assert set(method.views) == {"labelled", "first", "second", "labelled_1", "first_1", "second_1"}


def test_the_average_takes_the_weights_before_they_shrink() -> None:
    method = hiermatch(shrink=0.5, momentum=0.0)
    views, batch = batch_at(method, 0)
    method(views, batch)  # moves the running statistics
    before = {key: value.clone() for key, value in method.network.state_dict().items()}
    method.after_step(HALF)
    for key, value in method.network.state_dict().items():
        average = method.teacher.network.state_dict()[key]
        if value.is_floating_point():
            torch.testing.assert_close(average, before[key])
            torch.testing.assert_close(value, 0.5 * before[key])
        else:
            assert value.equal(before[key])


def test_fixmatch_believes_sure_guesses_and_has_fewer_labelled_images() -> None:
    method = hiermatch(form="fixmatch", levels=(), threshold=0.34, unlabelled_weight=1.0, ratio=4).eval()
    views, batch = batch_at(method, 0)
    assert len(batch.others["labelled"].ids) == BATCH // 4
    x, weak, strong = (method.network(views[role].image)[0] for role in ("labelled", "first", "second"))
    labels = batch.others["labelled"].labels
    assert labels is not None
    sure = weak.softmax(1).amax(1) > 0.34
    assert sure.sum() > 0, "the test is about images that count"
    free = (F.cross_entropy(strong, weak.argmax(1), reduction="none") * sure).mean()
    torch.testing.assert_close(method(views, batch).loss, F.cross_entropy(x, labels) + free)
    assert method.views["first"].operations is None
    assert method.views["second"].operations is not None


def test_logits_are_fine_ones_of_the_average() -> None:
    method = hiermatch()
    one_step(method, optimizer_of(method), 0)
    views, _ = batch_at(method, 0)
    image = views["first"].image
    logits = method.logits(image)
    assert logits.shape == (BATCH, CLASSES)
    assert logits.equal(method.teacher.network.eval()(image)[0])
    assert not logits.requires_grad


def test_a_level_without_classes_is_refused() -> None:
    facts = Facts(images=96, batch_size=8, image_size=16, classes=3)
    encoder = make("hiermatch").encoders()["student"]
    with pytest.raises(InputError, match="two classes or more at every level, and coarse has 0"):
        HierMatch(encoder, HierMatch.Settings(levels=("coarse",)), facts)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="names a column twice"):
        HierMatch.Settings(levels=("coarse", "coarse"))


def test_views_of_whole_images_are_not_made_smaller() -> None:
    on = Published(images=5000, side=32, classes=10, encoder="resnet18", features=512)
    assert plan_of("hiermatch", HierMatch, "small", on).optimisation.first_size == 1.0
    assert plan_of("nncsl", find("nncsl"), "small", on).optimisation.first_size == 0.75


def test_nested_folders_are_a_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    for fine in range(4):
        folder = tmp_path / "images" / f"family-{fine // 2}" / f"kind-{fine}"
        folder.mkdir(parents=True)
        for number in range(6):
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")
    run = train(
        tmp_path / "images", method="hiermatch", labels="folders:2", levels=("folders:1",), partial=True,
        subset="labels:perclass:2", encoder="resnet10t", width=8, image_size=16, batch_size=8, epochs=1, device="cpu",
        precision="float32", quiet=True, report=False, loggers=(), online_probe=False, out=str(tmp_path / "run"),
    )  # fmt: skip
    method = restore(run)
    assert isinstance(method, HierMatch)
    assert method.classes == [4, 2]
    assert method.logits(torch.zeros(2, 3, 16, 16)).shape == (2, 4)
