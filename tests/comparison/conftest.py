"""Run directories as trainings and evaluations leave them, without training anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likewise.encoders import build, save_encoder
from likewise.evaluation import predictions
from likewise.evaluation.scores import Score
from tests.evaluation.conftest import SPEC, drawn

MakeRun = Callable[..., Path]
PROTOCOL = "kNN, exact cosine, majority of k=20; pooled features, float32, 32 px; from train (60 images) to test (200)"
TRUTH = np.arange(200) % 4


def said(right: Sequence[int] | int, protocol: str = PROTOCOL, **changes: Any) -> Score:
    """A score whose image numbers `right` (or the first so many) are right."""
    correct = np.arange(right) if isinstance(right, int) else np.asarray(right)
    predicted = (TRUTH + 1) % 4
    predicted[correct] = TRUTH[correct]
    usual: dict[str, Any] = {"name": "knn", "k": 20, "split": "test", "n": 200, "which": "student"}
    value = len(correct) / len(TRUTH)
    return Score(**{**usual, "value": value, "protocol": protocol, "predicted": predicted, **changes})


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        name: str,
        *scores: Score,
        method: str = "isd",
        seed: int = 0,
        data: str = "photos",
        kept: bool = True,
        images: str = "abc",
        lines: int = 20,
        **settings: Any,
    ) -> Path:
        path = tmp_path / name
        path.mkdir()
        own = {"isd": {"queue_size": 64, "temperature": 0.1}, "moco_v2": {"queue_size": 64, "temperature": 0.2}}
        stored = {
            "status": "finished",
            "method": method,
            "variant": "small",
            "seed": seed,
            "minutes": 2.0,
            "settings": {**own[method], **settings},
            "optimisation": {"learning_rate": 0.06, "epochs": 30},
            "encoder": {"name": "resnet18", "width": 8, "mean": [0.1 * seed] * 3},
            "budget": {"epochs": 5, "minutes": None},
            "batch_size": 128,
            "device": "cpu",
            "data": {"name": "photos", "path": "photos/", "fingerprint": "f" * 32, "images": 600},
            "online": {"pictures": 256, "k": 5, "before": 0.2},
            "scores": [{**score.to_json(), "data": data} for score in scores],
        }
        (path / "run.json").write_text(json.dumps(stored))
        written = [
            {"step": n, "images": 128 * n, "minutes": n / 10, "loss": 4.0 / n, "knn": 0.2 + n / 100}
            for n in range(1, lines + 1)
        ]
        (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
        if kept:
            predictions.keep(path, scores, data, TRUTH, images)
        return path

    return make


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images that any network tells apart."""
    (train, train_labels), (test, test_labels) = drawn(60, 1), drawn(30, 2)
    path = tmp_path / "colours.npz"
    np.savez(path, train_images=train, train_labels=train_labels, test_images=test, test_labels=test_labels)
    return path


@pytest.fixture
def trained(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose encoder can be used."""
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "trained"
    path.mkdir()
    save_encoder(build(SPEC, seed=0), path / "encoder.safetensors")
    stored = {"status": "finished", "seed": 0, "method": "isd", "encoder": asdict(SPEC), "data": {"path": str(data)}}
    (path / "run.json").write_text(json.dumps(stored))
    return path
