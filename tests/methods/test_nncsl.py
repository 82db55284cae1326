"""NNCSL and its chain: filtering, imitation of the previous network, the buffer, and going on after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likewise.cli import main
from likewise.data import open_source
from likewise.encoders import build
from likewise.errors import InputError
from likewise.methods.nncsl import NNCSL
from likewise.methods.whole import restore
from likewise.recipes import carry_out, names
from likewise.recipes.nncsl import Recipe, data_of, kept_in, stages
from tests.contract.gauntlet import BATCH, CLASSES, SPEC, batch_at, facts_of, make, one_step, optimizer_of

FAST: dict[str, Any] = {
    "width": 8, "image_size": 16, "batch_size": 8, "device": "cpu", "precision": "float32", "quiet": True,
    "report": False, "loggers": (), "online_probe": False, "small_crops": 0, "support_views": 1, "per_class": 2,
}  # fmt: skip


def nncsl(**changes: Any) -> NNCSL:
    method = make("nncsl", **{"per_class": 2, "small_crops": 1, **changes})
    assert isinstance(method, NNCSL)
    return method


def test_unlabelled_images_are_of_the_current_task_and_supports_of_all() -> None:
    method = nncsl(current=(1, 2), total=5)
    for step in range(3):
        _, batch = batch_at(method, step)
        assert batch.labels is not None
        assert not (batch.labels == 0).any(), "class 0 is old"
        assert len(batch.ids) == BATCH
        support = batch.others["support"].labels
        assert support is not None
        assert set(support.tolist()) == set(range(CLASSES))


def test_filtering_changes_the_loss_and_the_classifier_sees_all() -> None:
    filtered, every = nncsl(current=(1, 2)), nncsl(current=(1, 2), every_support=True)
    found = [method(*batch_at(method, 0)) for method in (filtered, every)]
    assert found[0].parts["consistency"] != found[1].parts["consistency"]
    assert found[0].parts["classification"] == found[1].parts["classification"]
    assert filtered.known.tolist() == [True, True, True]


def test_classes_that_never_came_are_never_answered() -> None:
    method = nncsl(total=6)
    one_step(method, optimizer_of(method), 0)
    views, _ = batch_at(method, 0)
    logits = method.eval().logits(views["large_0"].image)
    assert logits.shape == (BATCH, 6)
    assert torch.isinf(logits[:, CLASSES:]).all()


def test_a_task_without_labels_is_refused() -> None:
    method = nncsl(current=(4,), total=5)
    with pytest.raises(InputError, match="no image with a label is of the current classes"):
        method(*batch_at(nncsl(), 0))


def test_one_class_is_nothing_to_tell_apart() -> None:
    facts = replace(facts_of(), classes=1)
    with pytest.raises(InputError, match="labels of two classes or more"):
        NNCSL(build(SPEC, seed=0), NNCSL.Settings(), facts)


def test_the_buffer_keeps_classes_equal_and_fills_up_from_the_new() -> None:
    labels = np.repeat(np.arange(4), 10)
    old, new = np.arange(0, 20), np.arange(20, 40)
    assert kept_in(old[:5], new[:5], labels, [0, 1, 2, 3], 10).tolist() == [0, 1, 2, 3, 4, 20, 21, 22, 23, 24]
    kept = kept_in(old, new, labels, [0, 1, 2, 3], 10)
    assert np.bincount(labels[kept]).tolist() == [2, 2, 2, 4]
    assert {38, 39} <= set(kept.tolist())


def test_a_chain_trains_each_task_once_and_forgets_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (80, 16, 16, 3)).astype(np.uint8)
    data = tmp_path / "images.npz"
    np.savez(data, images=pixels, labels=np.arange(80) % 4)
    recipe = Recipe(
        data=str(data), out=str(tmp_path / "runs"), tasks=2, share=0.2, buffer=4, epochs=1, encoder="resnet10t"
    )
    runs = carry_out(recipe.out, stages(recipe, **FAST))
    assert [run.name for run in runs] == ["task-1", "task-2"]
    first, second = (restore(run.path) for run in runs)
    assert isinstance(first, NNCSL)
    assert isinstance(second, NNCSL)
    assert second.previous is not None
    assert "distillation" in runs[1].metrics()[-1], "old classes were imitated"
    assert set(second.settings.current).isdisjoint(first.settings.current)
    assert second.known.all(), "the buffer brought the old classes"
    began = [run.read()["finished"] for run in runs]
    again = carry_out(recipe.out, stages(recipe, **FAST))
    assert [run.read()["finished"] for run in again] == began, "nothing is trained twice"
    runs[1].write(status="running")
    assert carry_out(recipe.out, stages(recipe, **FAST))[1].read()["status"] == "finished"
    with pytest.raises(InputError, match="was trained by nncsl, not byol"):
        carry_out(recipe.out, [stage._replace(asked={"method": "byol"}) for stage in stages(recipe)])


def test_hidden_labels_reach_no_stage(tmp_path: Path) -> None:
    data = tmp_path / "images.npz"
    np.savez(data, images=np.zeros((40, 8, 8, 3), np.uint8), labels=np.arange(40) % 4)
    recipe = Recipe(data=str(data), out=str(tmp_path), tasks=2, share=0.2)
    for stage in stages(recipe):
        labels = stage.data.labels
        assert (labels >= 0).sum() <= 8
        assert set(labels[labels >= 0].tolist()) >= set(stage.asked["current"])
    source = open_source(data)
    assert data_of(source, np.arange(4), np.array([1])).labels.tolist() == [-1, 1, -1, -1]  # type: ignore[union-attr]


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert "nncsl" in capsys.readouterr().out
    assert "nncsl" in names()
    assert main(["recipes", "nncls"]) == 2
    assert "nncsl" in capsys.readouterr().err
