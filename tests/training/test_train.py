"""Whole runs on tiny images: kill, resume, interrupt, stop, refuse."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import likewise.methods
from likewise.errors import InputError, TrainingStopped
from likewise.methods.isd import ISD
from likewise.methods.method import Terms
from likewise.runs import RunDirectory
from likewise.training.loop import Loop
from likewise.verbs.learning.train import Interrupted, train
from tests.contract import gauntlet
from tests.processes import forks

ALL = likewise.methods.names()
EPOCHS, STEPS_PER_EPOCH = 2, 6


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIKEWISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 images of 16 px in three classes: six batches of eight, and two images left over.

    Each is a video, has a caption, and is of one of two scans, for methods that ask for these.
    """
    draw, place = np.random.default_rng(0), np.arange(50)
    images = draw.integers(0, 128, (50, 16, 16, 3)) + 60 * (place % 3)[:, None, None, None]
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    texts = {name: gauntlet.column_called(name) for name in ("caption", "tags")}
    said = {
        name: np.array([(column.names or ())[row] if row >= 0 else "" for row in column.values[:50]])
        for name, column in texts.items()
    }
    numbers = {"video": place, "frame": np.zeros(50, np.int64), "scan": place // 25, "time": place % 25 * 3000}
    said["speech"] = np.array(gauntlet.sounds())[place // 25]
    np.savez(path, images=images.astype(np.uint8), labels=place % 3, **said, **numbers)
    return path


def options(out: Path, **more: Any) -> dict[str, Any]:
    common = {"encoder": "resnet10t", "width": 8, "batch_size": 8, "epochs": EPOCHS, "out": str(out), "quiet": True}
    return {**common, "report": False, "loggers": (), "checkpoint_minutes": 0.0, **more}


def needs(method: str) -> dict[str, Any]:
    """What the method cannot do without, such as a teacher."""
    return gauntlet.needs(likewise.methods.find(method))


def second(data: Path, method: str) -> dict[str, Any]:
    """The second data set of methods that learn from two: the same images; and what else a method needs."""
    if method == "ultrasound":  # of so few frames, scans side by side, and enough steps to be killed in
        return {"per_scan": 2, "epochs": 4}
    needed = "labelled data beside" in likewise.methods.find(method).card.needs
    return {"beside": str(data)} if needed else {}


def weights(run: Path) -> dict[str, torch.Tensor]:
    found = {
        f"{name}:{key}": value
        for name in ("encoder", "teacher")
        if (run / f"{name}.safetensors").exists()
        for key, value in load_file(run / f"{name}.safetensors").items()
    }
    assert found
    return found


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(data: Path, out: Path, method: str, how: str, more: dict[str, Any]) -> None:
    """Train until SIGKILL: `step`, in the middle of step 7; `write`, half-way through the eighth checkpoint."""
    whole, save, saved = Loop._step, torch.save, 0

    def step(self: Loop, loaded: Any) -> None:
        if self.clock.step == 7:
            self.method.before_step(self.clock.progress())
            die()
        whole(self, loaded)

    def write(content: Any, file: BinaryIO) -> None:
        nonlocal saved
        saved += 1
        if saved < 8:
            save(content, file)
            return
        buffer = io.BytesIO()
        save(content, buffer)
        file.write(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        file.flush()
        die()

    if how == "step":
        Loop._step = step  # type: ignore[method-assign]
    else:
        torch.save = write  # type: ignore[assignment]
    train(data, method=method, **options(out, **more))


def killed(data: Path, out: Path, method: str, how: str) -> None:
    """A run in another process that SIGKILL ends."""
    ended = forks().Process(
        target=train_until_killed, args=(data, out, method, how, {**needs(method), **second(data, method)})
    )
    ended.start()
    ended.join()
    assert ended.exitcode == -signal.SIGKILL
    assert list((out / "checkpoints").glob("step-*.pt"))


@pytest.fixture(scope="module")
def straight(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The uninterrupted run of each method."""
    out = tmp_path_factory.mktemp("straight") / request.param
    return train(data, method=request.param, **options(out, **needs(request.param), **second(data, request.param)))


# How a checkpoint is written is the same for all methods, what it has to hold is not: each is killed within a step.
@pytest.mark.parametrize(("straight", "how"), [("isd", "write"), *((m, "step") for m in ALL)], indirect=["straight"])
def test_a_killed_run_resumes_bit_for_bit(how: str, straight: RunDirectory, data: Path, tmp_path: Path) -> None:
    method = straight.path.name
    killed(data, tmp_path / "killed", method, how)
    again = {name: value for name, value in second(data, method).items() if name == "epochs"}
    resumed = train(data, method=method, **options(tmp_path / "killed", resume=True, **needs(method), **again))
    expected, found = weights(straight.path), weights(resumed.path)
    assert expected.keys() == found.keys()
    assert all(expected[key].equal(found[key]) for key in expected)
    timeless = [[(line["step"], line["loss"]) for line in run.metrics()] for run in (straight, resumed)]
    assert [step for step, _ in timeless[0]] == [step for step, _ in timeless[1]]
    assert timeless[0][-1] == timeless[1][-1]
    assert resumed.read()["status"] == "finished"


def test_a_signal_ends_the_run_with_a_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Loop._step

    def step(self: Loop, loaded: Any) -> None:
        whole(self, loaded)
        if self.clock.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", step)
        with pytest.raises(Interrupted, match=r"SIGTERM: continue with likewise train .* --out .* --resume") as caught:
            train(data, **options(tmp_path / "run", checkpoint_minutes=60.0))
    assert caught.value.exit_status == 128 + signal.SIGTERM
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["status"] == "interrupted"
    resumed = train(data, **options(tmp_path / "run", resume=True))
    straight = train(data, **options(tmp_path / "straight"))
    expected, found = weights(straight.path), weights(resumed.path)
    assert all(expected[key].equal(found[key]) for key in expected)


def test_a_loss_that_is_no_number_stops_before_the_update(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ISD.step

    def step(self: ISD, views: Any, batch: Any) -> Terms:
        terms = whole(self, views, batch)
        return terms._replace(loss=terms.loss * float("nan")) if self.queue.position == 0 else terms

    monkeypatch.setattr(ISD, "step", step)
    with pytest.raises(TrainingStopped, match=r"loss of step \d+ is nan.*images of that batch: picture \d+, .*"):
        train(data, **options(tmp_path / "run", queue_size=24))
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["status"] == "stopped"
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_a_minute_budget_ends_and_anneals(data: Path, tmp_path: Path) -> None:
    run = train(data, **{**options(tmp_path / "run"), "epochs": None, "minutes": 0.1, "checkpoint_minutes": 60.0})
    lines = run.metrics()
    assert lines[-1]["fraction"] == 1.0
    assert lines[-1]["learning_rate"] < 0.3 * lines[0]["learning_rate"]
    assert run.read()["minutes"] == pytest.approx(0.1, abs=0.05)


def test_accumulation_changes_only_how_a_batch_is_cut(data: Path, tmp_path: Path) -> None:
    run = train(data, **options(tmp_path / "run", accumulate=2, method="byol"))
    assert run.metrics()[-1]["step"] == EPOCHS * STEPS_PER_EPOCH
    assert all(value.isfinite().all() for value in weights(run.path).values())


@pytest.mark.parametrize("flip", [True, False])
def test_views_are_mirrored_where_this_does_no_harm(
    flip: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored: list[torch.Tensor] = []
    whole = ISD.step

    def step(self: ISD, views: Any, batch: Any) -> Terms:
        mirrored.extend(view.flip for view in views.values())
        return whole(self, views, batch)

    monkeypatch.setattr(ISD, "step", step)
    run = train(data, **options(tmp_path / "run", flip=flip))
    assert bool(torch.cat(mirrored).any()) is flip
    assert run.read()["flip"] is flip


def test_run_json_repeats_the_run(data: Path, tmp_path: Path) -> None:
    run = train(data, **options(tmp_path / "run"))
    stored = run.read()
    assert stored["status"] == "finished"
    assert stored["data"]["images"] == 50
    assert stored["method"] == "isd"
    assert stored["settings"]["queue_size"] == 25
    assert any(choice["setting"] == "queue_size" for choice in stored["resolved"])
    assert {"torch", "likewise", "timm"} <= stored["versions"].keys()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"batch_size": 51}, "batch_size=51 is larger than the data of 50"),
        ({"queue_size": 51}, "queue_size=51 is longer than the data of 50"),
        ({"method": "idd"}, "unknown method 'idd': did you mean 'isd'"),
        ({"encoder": "resnet81"}, "unknown encoder 'resnet81': did you mean 'resnet"),
        ({"queue_sise": 8}, "unknown setting of isd 'queue_sise': did you mean 'queue_size'"),
        ({"variant": "pluss"}, "unknown variant 'pluss': did you mean 'plus'"),
        ({"temperature_student": -1.0}, "temperature_student=-1.0 must be greater than 0"),
        ({"momentum": 2.0}, "momentum=2.0 is out of range"),
        ({"minutes": 1.0}, "give one budget"),
        ({"method": "seed_kd"}, "learns from a trained encoder: name a run .* with --teacher"),
        ({"method": "seed_kd", "teacher": "runs/nowhere"}, "teacher='runs/nowhere' is no run directory"),
        ({"accumulate": 3}, "accumulate=3 does not divide"),
    ],
)
def test_what_cannot_be_is_one_line(more: dict[str, Any], message: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train(data, **options(tmp_path / "run", **more))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_is_never_overwritten_nor_continued_differently(data: Path, tmp_path: Path) -> None:
    train(data, **options(tmp_path / "run"))
    with pytest.raises(InputError, match="already holds a run"):
        train(data, **options(tmp_path / "run"))
    with pytest.raises(InputError, match="started with batch_size=8, so it cannot be resumed with 4"):
        train(data, **options(tmp_path / "run", resume=True, batch_size=4))
    other = tmp_path / "other.npz"
    np.savez(other, images=np.zeros((50, 16, 16, 3), np.uint8), labels=np.arange(50) % 2)
    with pytest.raises(InputError, match="trained on other data"):
        train(other, **options(tmp_path / "run", resume=True))
    with pytest.raises(InputError, match=r"there is no run .*nowhere to resume"):
        train(data, **options(tmp_path / "nowhere", resume=True))


def test_splits_are_told_with_the_one_that_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    counts = {"train": 16, "extra": 8, "test": 9}
    arrays = {f"{name}_images": draw.integers(0, 255, (count, 16, 16, 3), np.uint8) for name, count in counts.items()}
    np.savez(tmp_path / "parts.npz", **arrays)
    run = train(
        tmp_path / "parts.npz", **options(tmp_path / "run", epochs=1, quiet=False, device="cpu", precision="float32")
    )
    assert "splits: train 16 (used), extra 8, test 9" in capsys.readouterr().err
    assert (run.read()["data"]["split"], run.read()["data"]["images"]) == ("train", 16)
