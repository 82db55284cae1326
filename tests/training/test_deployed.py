"""A run of a method whose teacher is meant to be used says so, and is used that way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import likewise
from likewise.encoders import Encoder, load_encoder
from likewise.errors import InputError
from likewise.evaluation import online
from likewise.verbs.learning.train import train
from tests.contract import gauntlet


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.npz"
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], [28, 4])
    np.savez(path, images=draw.integers(0, 256, (32, 16, 16, 3), np.uint8), labels=labels)
    return path


class Spy(online.OnlineProbe):
    """Remembers which encoder is measured while training."""

    measured: ClassVar[list[Encoder]] = []

    def __init__(self, encoder: Encoder, *rest: Any, **options: Any) -> None:
        self.measured.append(encoder)
        super().__init__(encoder, *rest, **options)


SMALL = {"width": 8, "batch_size": 8, "epochs": 1, "precision": "float32", "loggers": ()}


def test_dino_deploys_its_teacher_and_names_skew(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(data, method="dino", small_crops=0, out=str(tmp_path / "run"), report=False, **SMALL)
    assert json.loads((run.path / "model.json").read_text())["deployed"] == "teacher"
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(likewise.load(run)(x), load_encoder(run.weights("teacher"))(x))
        assert not torch.equal(likewise.load(run)(x), load_encoder(run.weights("student"))(x))
    assert "the largest class has 7 times as many images" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("method", ["dino", "isd"])
def test_the_score_while_training_is_of_what_is_deployed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    Spy.measured.clear()
    monkeypatch.setattr(online, "OnlineProbe", Spy)
    run = train(data, method=method, out=str(tmp_path / "run"), report=False, **SMALL)
    (measured,) = Spy.measured
    loaded = likewise.load(run).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in measured.state_dict().items())


def test_a_run_goes_on_when_its_teacher_has_moved(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path(gauntlet.teacher())
    before = tmp_path / "before"
    before.mkdir()
    for file in place.iterdir():
        (before / file.name).write_bytes(file.read_bytes())
    out = str(tmp_path / "run")
    train(data, method="seed_kd", teacher=str(before), out=out, report=False, **SMALL)
    assert "taught by the student: what is taken where a run does not say" in capsys.readouterr().err
    now = before.rename(tmp_path / "now")
    with pytest.raises(InputError, match="is not there: name its new place with --teacher"):
        train(data, method="seed_kd", out=out, resume=True, report=False, quiet=True)
    run = train(data, method="seed_kd", out=out, resume=True, teacher=str(now), report=False, quiet=True)
    assert run.read()["settings"]["teacher"] == str(now)
    assert run.read()["status"] == "finished"


def test_a_full_disk_is_named_before_the_first_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("likewise.training.checkpoints._free", lambda _: 1000)
    with pytest.raises(InputError, match=r"a checkpoint takes up to .* MB, and .* has 1\.0 kB left"):
        train(data, method="simclr", out=str(tmp_path / "run"), report=False, quiet=True, **SMALL)


def test_an_encoder_that_cannot_be_trained_leaves_no_directory(data: Path, tmp_path: Path) -> None:
    small = {**SMALL, "width": None}
    with pytest.raises(InputError, match="'crossvit_tiny_240' does not take images of 16 px"):
        train(data, encoder="crossvit_tiny_240", out=str(tmp_path / "run"), report=False, quiet=True, **small)
    assert not (tmp_path / "run").exists()
