"""float16, whose losses are scaled up before the backward pass: on a processor, which trains so only here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from safetensors.torch import load_file

from likewise.methods.byol import BYOL
from likewise.methods.method import Progress
from likewise.training import checkpoints
from likewise.training.loop import Loop
from likewise.verbs.learning import job
from likewise.verbs.learning.train import train

GROWTH = 2
"""Steps without overflow after which the scale doubles."""


@pytest.fixture(autouse=True)
def float16(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object) -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=GROWTH)
        return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))

    monkeypatch.setattr(job, "fabric", made)


def options(out: Path) -> dict[str, Any]:
    common = {"method": "byol", "width": 8, "batch_size": 8, "epochs": 1, "device": "cpu", "precision": "fp16"}
    return {**common, "out": str(out), "quiet": True, "report": False, "loggers": (), "checkpoint_minutes": 0.0}


@pytest.fixture
def some_images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 255, (50, 16, 16, 3), dtype=np.uint8)


def test_methods_see_gradients_as_they_are(
    some_images: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def after_backward(self: BYOL, progress: Progress) -> None:
        seen.append(max(float(p.grad.abs().max()) for p in self.parameters() if p.grad is not None))

    monkeypatch.setattr(BYOL, "after_backward", after_backward)
    train(some_images, **options(tmp_path / "run"))
    assert min(seen) > 0
    assert max(seen) < 100, "scaled gradients are a thousand times as large"


def test_the_scale_outlives_an_interruption(
    some_images: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(some_images, **options(tmp_path / "straight"))
    whole = Loop._step

    def step(self: Loop, loaded: Any) -> None:
        if self.clock.step == 3:
            raise KeyboardInterrupt
        whole(self, loaded)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            train(some_images, **options(tmp_path / "run"))
    stopped = checkpoints.load(tmp_path / "run" / "checkpoints" / "step-000000003.pt")
    assert stopped["precision"]["scale"] == 2.0**11
    train(some_images, **options(tmp_path / "run"), resume=True)
    last = [checkpoints.load(tmp_path / name / "checkpoints" / "step-000000006.pt") for name in ("straight", "run")]
    assert last[0]["precision"] == last[1]["precision"]
    assert last[0]["precision"]["scale"] == 2.0**13
    straight, resumed = (load_file(tmp_path / name / "encoder.safetensors") for name in ("straight", "run"))
    assert all(straight[key].equal(resumed[key]) for key in straight)
