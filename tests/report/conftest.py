"""A run directory as a finished training leaves it, and images to show."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from likewise.data import Images, open_source, prepare

MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


def metrics(lines: int, health: str) -> list[dict[str, Any]]:
    return [
        {
            "step": 10 * n,
            "minutes": n / 10,
            "images": 2560 * n,
            "loss": 4.0 / n,
            "learning_rate": 0.06 * (1 - n / lines),
            "images_per_second": 400.0,
            "share_data": 0.05,
            "share_views": 0.15,
            "share_model": 0.7,
            "spread": 0.8,
            "effective_rank": 20.0,
            "health": health,
            "purity": 0.1 + n / (2 * lines),
            "teacher_entropy": 2.0 if n % 2 else math.nan,
        }
        for n in range(1, lines + 1)
    ]


def score(which: str, value: float, k: int | None = 20) -> dict[str, Any]:
    name = "linear" if k is None else "knn"
    said = {"protocol": "exact cosine", "split": "test", "n": 1000, "which": which, "data": "photos"}
    return {"name": name, "k": k, "value": value, **said}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(*, lines: int = 60, health: str = "healthy", broken: Any = None, **changes: Any) -> Path:
        path = tmp_path / "photos-isd"
        path.mkdir()
        stored = {
            "likewise": "0.1.0",
            "status": "finished",
            "started": "2026-03-02T09:14:05+00:00",
            "finished": "2026-03-02T09:25:13+00:00",
            "minutes": 6.0,
            "command": "likewise train photos/ --minutes 6",
            "data": {"name": "photos", "path": "photos/", "fingerprint": "ab" * 16, "images": 5000},
            "method": "isd",
            "variant": "small",
            "settings": {"queue_size": 4096, "temperature_student": 0.1, "temperature_teacher": 0.02},
            "optimisation": {"learning_rate": 0.06, "batch_size": 256},
            "encoder": {"name": "resnet18", "width": 16, "image_size": 32},
            "seed": 0,
            "device": "cpu",
            "resolved": [{"setting": "image_size", "value": 32, "reason": "used at their own size"}],
            "scores": [score("untrained", 0.32), score("student", 0.58), score("student", 0.61, None)],
            **changes,
        }
        (path / "run.json").write_text(json.dumps(stored))
        written = "".join(json.dumps(line) + "\n" for line in metrics(lines, health))
        (path / "metrics.jsonl").write_text(written.replace("NaN", "null"))
        if broken is not None:
            (path / "broken.json").write_text(json.dumps(broken))
        return path

    return make


def some_images(count: int, *, labelled: bool = True) -> Images:
    draw = np.random.default_rng(0)
    arrays = {"images": draw.integers(0, 256, (count, 12, 9, 3)).astype(np.uint8)}
    if labelled:
        arrays["labels"] = np.arange(count) % 3
    return prepare(open_source(arrays), short_side=None)


def grouped(images: Images, dim: int = 8) -> Tensor:
    """Features in which images of a class lie together."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(len(images), dim, generator=generator)
    if images.labels is None:
        return noise
    return torch.nn.functional.one_hot(torch.from_numpy(images.labels), dim).float() + noise
