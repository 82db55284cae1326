"""Dynamic distillation in its order: teacher first, two streams in one pass, two stages, no label of the target."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from likewise.errors import InputError
from likewise.methods.dyndistill import DynDistill
from likewise.methods.method import Facts, Progress
from likewise.methods.whole import restore
from likewise.recipes import carry_out
from likewise.recipes.dyndistill import Recipe, stages
from likewise.schedules import clipped_ramp
from likewise.teachers import Momentum
from likewise.verbs.learning.train import train
from tests.contract.gauntlet import BATCH, batch_at, make, one_step, optimizer_of

FAST: dict[str, Any] = {
    "image_size": 16, "batch_size": 8, "device": "cpu", "precision": "float32", "quiet": True, "report": False,
    "loggers": (), "online_probe": False,
}  # fmt: skip


def dyndistill(**changes: Any) -> DynDistill:
    method = make("dyndistill", **changes)
    assert isinstance(method, DynDistill)
    return method


def teacher_of(method: DynDistill) -> Momentum:
    assert method.teacher is not None
    return method.teacher


def test_the_teacher_begins_as_the_student_and_moves_before_the_passes() -> None:
    method = dyndistill()
    with torch.no_grad():
        for parameter in teacher_of(method).parameters():
            parameter.zero_()
    method.before_step(Progress(0, 0.0, 0))
    pairs = list(zip(teacher_of(method).parameters(), method.student.parameters(), strict=True))
    assert all(slow.equal(fast) for slow, fast in pairs)
    with torch.no_grad():
        for _, fast in pairs:
            fast.add_(1.0)
    before = [slow.clone() for slow, _ in pairs]
    method.before_step(Progress(1, 0.1, 0))
    for (slow, fast), old in zip(pairs, before, strict=True):
        torch.testing.assert_close(slow, 0.99 * old + 0.01 * fast)


@pytest.mark.parametrize("centre", [False, True])
def test_the_loss_is_that_of_the_paper(centre: bool) -> None:
    method = dyndistill(centre=centre)
    progress = Progress(3, 0.25, 1)
    if centre:
        method.mean.add_(0.3 * torch.arange(3))
    method.before_step(progress)
    views, batch = batch_at(method, 3)
    student, teacher = copy.deepcopy(method.student), copy.deepcopy(teacher_of(method))
    shift = method.mean.clone() if centre else 0.0
    terms = method(views, batch)
    logits = student(torch.cat([views["base"].image, views["strong"].image]))  # in train mode: shared statistics
    told = teacher(views["weak"].image)
    target = ((told - shift) / 0.1).softmax(1)
    distilled = -(target * logits[BATCH:].log_softmax(1)).sum(1).mean()
    expected = F.cross_entropy(logits[:BATCH], batch.others["base"].labels) + clipped_ramp(0.25) * distilled  # type: ignore[arg-type]
    torch.testing.assert_close(terms.loss, expected)
    if centre:
        torch.testing.assert_close(method.mean, 0.9 * shift + 0.1 * (told - shift).mean(0, keepdim=True))
    buffers = zip(teacher_of(method).buffers(), method.student.buffers(), strict=True)
    assert any(not own.equal(other) for own, other in buffers), "statistics of the teacher are its own"


def test_labels_of_the_target_reach_nothing() -> None:
    losses = []
    for labels in (None, torch.full((BATCH,), 2)):
        method = dyndistill()
        method.before_step(Progress(3, 0.5, 1))
        views, batch = batch_at(method, 0)
        losses.append(method(views, batch._replace(labels=labels)).loss)
    assert losses[0] == losses[1]


def test_a_fixed_teacher_stays_what_the_student_was_at_first() -> None:
    method = dyndistill(momentum=1.0)
    optimizer = optimizer_of(method)
    first = [parameter.clone() for parameter in method.student.parameters()]
    for step in range(3):
        one_step(method, optimizer, step)
    assert all(a.equal(b) for a, b in zip(teacher_of(method).parameters(), first, strict=True))
    assert not all(a.equal(b) for a, b in zip(method.student.parameters(), first, strict=True))


def test_the_stage_before_has_labelled_images_alone() -> None:
    method = dyndistill(stage="base")
    views, batch = batch_at(method, 0)
    assert set(views) == {"base"}
    assert method.views["base"].colour is not None
    assert dyndistill().views["base"].colour is None
    terms = method(views, batch)
    expected = F.cross_entropy(copy.deepcopy(method.student)(views["base"].image), batch.labels)  # type: ignore[arg-type]
    torch.testing.assert_close(terms.loss, expected)
    assert set(method.encoders()) == {"student"}
    with pytest.raises(InputError, match="they have no labels"):
        method(views, batch._replace(labels=None))


def test_without_a_labelled_set_beside_it_is_refused() -> None:
    encoder = make("dyndistill").encoders()["student"]
    facts = Facts(images=96, batch_size=8, image_size=16, classes=3)
    with pytest.raises(InputError, match="name them with --beside and --beside-labels"):
        DynDistill(encoder, DynDistill.Settings(), facts)  # type: ignore[arg-type]


def test_the_chain_goes_on_from_encoder_and_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    for name in ("base", "target"):
        labels = {"labels": np.arange(32) % 4} if name == "base" else {}
        np.savez(tmp_path / f"{name}.npz", images=draw.integers(0, 256, (32, 16, 16, 3)).astype(np.uint8), **labels)
    recipe = Recipe(
        data=str(tmp_path / "target.npz"), base=str(tmp_path / "base.npz"), out=str(tmp_path / "runs"), base_epochs=2,
        epochs=1, encoder="resnet10t", width=8, subset="share:0.5",
    )  # fmt: skip
    slow = [
        stage._replace(asked={**stage.asked, "learning_rate": 1e-9}) if stage.name == "target" else stage
        for stage in stages(recipe, **FAST)
    ]
    runs = carry_out(recipe.out, slow)
    first, second = (restore(run.path) for run in runs)
    assert isinstance(first, DynDistill)
    assert isinstance(second, DynDistill)
    for network in (second.student, teacher_of(second).network):
        for before, after in zip(first.student.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(before, after)
    assert runs[1].read()["data"]["images"] == 16, "half of the target"
    with pytest.raises(InputError, match="name it with --beside"):
        train(recipe.data, method="dyndistill", out=str(tmp_path / "alone"), **FAST)
