"""Collections that need no encoder: coloured squares, whose features say their colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.data import Images
from likewise.exploring.collection import Collection, MapColumn

MakeCollection = Callable[..., Collection]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


def squares(count: int, side: int = 16, classes: int = 3) -> Images:
    """`count` noisy squares of `classes` colours, in turn; the second is a copy of the first of its class."""
    draw = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pixels = draw.integers(0, 60, (count, side, side, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, labels % 3] += 180
    if count > classes:
        pixels[classes] = pixels[0]
    sums = pixels.reshape(count, -1).astype(np.uint64)
    return Images(
        name="squares",
        fingerprint="squares",
        names=[f"{('red', 'green', 'blue')[label % 3]}/{number:06}.png" for number, label in enumerate(labels)],
        positions=np.arange(count),
        labels=labels.astype(np.int64),
        class_names=tuple(f"class {value}" for value in range(classes)),
        broken=(),
        sizes=np.full((count, 2), side, np.int32),
        offsets=np.arange(count, dtype=np.int64) * side * side * 3,
        digests=(sums * np.arange(1, sums.shape[1] + 1, dtype=np.uint64)).sum(axis=1, dtype=np.uint64),
        ranges={},
        left_out={},
        file=Path("nowhere"),
        length=pixels.size,
        flat=pixels.reshape(-1),
    )


@pytest.fixture
def make_collection() -> MakeCollection:
    def make(count: int = 30, *, side: int = 16, classes: int = 3, width: int = 8) -> Collection:
        images = squares(count, side, classes)
        assert images.labels is not None
        draw = np.random.default_rng(1)
        features = 0.1 * draw.standard_normal((count, width)).astype(np.float32)
        features[np.arange(count), images.labels % width] += 1
        if count > classes:
            features[classes] = features[0]
        label = MapColumn("label", "label", images.labels, images.class_names)
        return Collection("squares", (images,), torch.from_numpy(features), (None,) * count, (label,))

    return make
