"""Vectors, an index of them, images in files, and an encoder that costs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.encoders import Encoder, EncoderSpec, build, save_encoder
from likewise.index import Index, Space, create

SPEC = EncoderSpec(name="resnet10", width=8, stem="small", image_size=16)
COUNT, D = 60, 12


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build(SPEC, seed=0).eval()


@pytest.fixture(scope="session")
def weights(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(encoder, path)
    return path


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(COUNT, D)).astype(np.float32)


@pytest.fixture
def index(tmp_path: Path, vectors: np.ndarray) -> Index:
    made = create(tmp_path / "x.index", Space.named("given", D))
    columns = {"kind": ["cat", "dog", None] * (COUNT // 3), "year": list(range(2000, 2000 + COUNT))}
    made.append([f"r{row}" for row in range(COUNT)], vectors, columns=columns)
    return made


def write_images(folder: Path, count: int, *, seed: int = 0, side: int = 40) -> list[Path]:
    """Smooth random images, no two alike, as PNG files."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        path = folder / f"{number:03}.png"
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", 20)
    return tmp_path / "images"
