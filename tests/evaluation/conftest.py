"""Small encoders, images that any network tells apart, and a run directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from likewise.data import Images, open_source, prepare
from likewise.encoders import Encoder, EncoderSpec, build, save_encoder

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16)
MakeImages = Callable[..., Images]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoder() -> Encoder:
    return build(SPEC, seed=0)


def drawn(count: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images of one of three colours, and which."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(count) % classes)
    images = draw.integers(0, 60, (count, 16, 16, 3))
    images[np.arange(count), :, :, labels] += 190
    return images.astype(np.uint8), labels


@pytest.fixture
def make_images() -> MakeImages:
    def make(count: int = 24, seed: int = 0, labels: object = "drawn") -> Images:
        images, classes = drawn(count, seed)
        chosen = classes if isinstance(labels, str) else labels
        arrays = {"images": images} | ({} if chosen is None else {"labels": np.asarray(chosen)})
        return prepare(open_source(arrays), short_side=None)

    return make


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (train, train_labels), (test, test_labels) = drawn(60, 1), drawn(30, 2)
    path = tmp_path / "colours.npz"
    np.savez(path, train_images=train, train_labels=train_labels, test_images=test, test_labels=test_labels)
    return path


@pytest.fixture
def run(tmp_path: Path, encoder: Encoder, data: Path) -> Path:
    """What a finished training leaves behind."""
    path = tmp_path / "run"
    path.mkdir()
    save_encoder(build(SPEC, seed=7), path / "teacher.safetensors")
    save_encoder(encoder, path / "encoder.safetensors")
    stored = {"status": "finished", "seed": 0, "method": "isd", "encoder": asdict(SPEC), "data": {"path": str(data)}}
    (path / "run.json").write_text(json.dumps(stored))
    return path
