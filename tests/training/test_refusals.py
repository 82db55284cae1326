"""What is refused before the first step leaves nothing behind, and nothing of an earlier run changed."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from likewise.data.caching.locking import exclusive
from likewise.errors import InputError
from likewise.runs import RunDirectory
from likewise.training.assembling import check_rows
from likewise.training.loop import Loop
from likewise.training.watching.loggers import LOGGERS
from likewise.verbs.learning.train import train


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


PIXELS = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)


def options(out: Path, **more: Any) -> dict[str, Any]:
    common = {"encoder": "resnet18", "width": 8, "batch_size": 8, "epochs": 0.2, "out": str(out), "quiet": True}
    return {**common, "precision": "float32", "report": False, "loggers": (), **more}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"loggers": ("tensorbord",)}, "unknown logger 'tensorbord': did you mean 'tensorboard'"),
        ({"loggers": ("tensorboard", "wandb")}, "logging to wandb needs the package wandb"),
        ({"seed": -1}, "seed=-1 must not be negative"),
        ({"encoder": "resnet81"}, "unknown encoder 'resnet81'"),
        ({"method": "seed_kd", "teacher": "runs/nowhere"}, "teacher='runs/nowhere' is no run directory"),
        ({"method": "interclr", "clusters": 41}, "clusters=41 of 40"),
        ({"keep_checkpoints": 0}, "at least one checkpoint must be kept"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes=-1 must be at least 0"),
        ({"warmup": 10.0}, r"warmup=10 is out of range: allowed is 0 to 1, a share of the budget"),
        ({"weight_decay": -0.1}, r"weight_decay=-0.1 is out of range: allowed is 0"),
    ],
)
def test_a_refused_start_does_not_block_the_corrected_one(
    more: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with pytest.raises(InputError, match=message):
        train(PIXELS, **options(tmp_path / "run", **more))
    assert not (tmp_path / "run").exists()


def test_a_refusal_that_comes_late_ends_what_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    logger = SimpleNamespace(log=lambda *_: None, close=lambda: closed.append(True))
    monkeypatch.setitem(LOGGERS, "tensorboard", lambda *_: logger)

    def refuse(*_: Any) -> None:
        raise InputError("the table lacks images")

    monkeypatch.setattr("likewise.verbs.learning.train.fill_teachers", refuse)
    with pytest.raises(InputError, match="the table lacks images"):
        train(PIXELS, **options(tmp_path / "run", loggers=("tensorboard",)))
    assert closed == [True]
    assert not (tmp_path / "run").exists()


def test_what_fails_in_the_first_step_leaves_nothing_and_later_steps_leave_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Loop._step
    for failing in (0, 1):

        def step(self: Loop, loaded: Any, failing: int = failing) -> None:
            if self.clock.step == failing:
                raise MemoryError("no room")
            whole(self, loaded)

        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_step", step)
            with pytest.raises(MemoryError):
                train(PIXELS, **options(tmp_path / "run", epochs=0.4))
        assert (tmp_path / "run").exists() is bool(failing)
    assert (tmp_path / "run" / "checkpoints").is_dir()


def test_a_run_that_another_process_began_meanwhile_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    monkeypatch.setattr(RunDirectory, "create", lambda *_: RunDirectory(out))  # both found it empty
    with exclusive(out / ".lock", "the run"):
        (out / "run.json").write_text("{}")
        with pytest.raises(InputError, match="another process is busy with"):
            train(PIXELS, **options(out))
    assert (out / "run.json").exists()


def test_a_refused_resume_changes_nothing(tmp_path: Path) -> None:
    run = train(PIXELS, **options(tmp_path / "run"))
    before = run.settings_file.read_text()
    with pytest.raises(InputError, match="unknown logger"):
        train(PIXELS, **options(tmp_path / "run", resume=True, loggers=("tensorbord",)))
    assert run.settings_file.read_text() == before
    assert json.loads(before)["status"] == "finished"


@pytest.mark.parametrize("method", ["isd", "byol", "moco_v2"])
def test_one_image_at_a_time_is_refused(method: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"batch_size=8 .*(leaves batch norm 1 image at a time|is too small)"
    ) as caught:
        train(PIXELS, **options(tmp_path / "run", batch_size=8, accumulate=8, method=method))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("batch_size", "processes", "sync", "accumulate", "nearest"),
    [
        (8, 8, True, 1, None),  # one image a process, and batch norm over all of them
        (8, 4, True, 2, None),
        (8, 8, False, 1, "batch_size=16"),
        (8, 4, False, 2, "accumulate=1"),
        (24, 2, False, 12, "accumulate=6"),
        (6, 2, False, 3, "accumulate=1"),
        (8, 1, True, 4, None),
        (8, 1, True, 8, "accumulate=4"),
        (12, 1, True, 12, "accumulate=6"),
        (3, 1, True, 3, "accumulate=1"),
    ],
)
def test_images_that_a_batch_norm_sees_at_a_time(
    batch_size: int, processes: int, sync: bool, accumulate: int, nearest: str | None
) -> None:
    plan: Any = SimpleNamespace(batch_size=batch_size, accumulate=accumulate, sync_batch_norm=sync)
    check_rows(nn.Linear(2, 2), plan, processes)
    check_rows(nn.Sequential(nn.BatchNorm1d(2)).eval(), plan, processes)
    if nearest is None:
        check_rows(nn.BatchNorm1d(2), plan, processes)
        return
    with pytest.raises(InputError, match=rf" is {nearest}$"):
        check_rows(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), plan, processes)


def test_the_nearest_choice_trains(tmp_path: Path) -> None:
    train(PIXELS, **options(tmp_path / "run", batch_size=8, accumulate=4, method="moco_v2"))


def test_eight_images_with_eight_groups_of_batch_norm_train(tmp_path: Path) -> None:
    train(PIXELS, **options(tmp_path / "run", batch_size=8, method="moco_v2", split_batch_norm=8, stem="imagenet"))


def test_one_image_in_all_is_refused_by_the_batch_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"batch_size=1 is too small: .* allowed is 2 or more"):
        train(PIXELS, **options(tmp_path / "run", batch_size=1))


def test_the_labels_of_a_run_are_part_of_it(tmp_path: Path) -> None:
    for kind in ("a", "b"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png")
    how = options(tmp_path / "run", loggers=())
    run = train(tmp_path / "photos", **how, labels="folders")
    assert run.read()["data"]["labels"] == "folders"
    resumed = train(tmp_path / "photos", **how, resume=True)  # the run's own labels
    assert resumed.read()["data"]["labels_digest"] == run.read()["data"]["labels_digest"]
    with pytest.raises(
        InputError, match=r"trained with labels='folders', .* resumed with labels='none': without --labels"
    ):
        train(tmp_path / "photos", **how, resume=True, labels="none")
    stored = run.read()
    stored["data"].pop("labels"), stored["data"].pop("labels_digest")
    run.write_json("run.json", stored)  # as earlier versions wrote it
    train(tmp_path / "photos", **how, resume=True)


def test_labels_that_changed_since_are_refused(tmp_path: Path) -> None:
    labelled = [(pixels, number % 2) for number, pixels in enumerate(PIXELS)]
    how = options(tmp_path / "run")
    train(labelled, **how)
    train(labelled, **how, resume=True)
    changed = [(pixels, 1 - label) for pixels, label in labelled]
    with pytest.raises(InputError, match=r"the labels of .* are not those that .* was trained with"):
        train(changed, **how, resume=True)


def test_a_trained_run_without_a_checkpoint_that_can_be_read_is_not_begun_anew(tmp_path: Path) -> None:
    run = train(PIXELS, **options(tmp_path / "run"))
    before = run.settings_file.read_text(), run.weights().read_bytes()
    for path in run.checkpoints.iterdir():
        path.write_bytes(b"damaged")
    for _ in range(2):  # damaged, and then removed
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(InputError, match="holds no checkpoint that can be read, so it cannot be resumed"),
        ):
            train(PIXELS, **options(tmp_path / "run", epochs=0.4, resume=True))
        assert (run.settings_file.read_text(), run.weights().read_bytes()) == before
        shutil.rmtree(run.checkpoints)
        run.checkpoints.mkdir()


@pytest.mark.skipif(sys.platform == "win32", reason="locks as POSIX has them")
def test_two_processes_do_not_train_one_run(tmp_path: Path) -> None:
    run = train(PIXELS, **options(tmp_path / "run"))
    with run.claimed(), pytest.raises(InputError, match=r"another process is busy with .*run: wait for it, or end it"):
        train(PIXELS, **options(tmp_path / "run", resume=True))
    train(PIXELS, **options(tmp_path / "run", resume=True))


@pytest.mark.parametrize(("different", "what"), [(0, "images"), (1, "settings")])
def test_processes_that_see_different_things_do_not_train(
    different: int, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def everywhere(value: str) -> list[str]:
        asked.append(value)
        return [value, "other" if len(asked) == different + 1 else value]

    monkeypatch.setattr("likewise.verbs.learning.train.everywhere", everywhere)
    with pytest.raises(InputError, match=f"the processes of this run see different {what}"):
        train(PIXELS, **options(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
