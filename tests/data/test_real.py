"""On a real data set, where one is at hand."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from likewise.data import describe, open_source, prepare, split_names

DATA = os.environ.get("LIKEWISE_DATA")

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA, reason="LIKEWISE_DATA names no folder with real data sets"),
]


def real(name: str) -> Path:
    path = Path(DATA or "") / name
    if not path.exists():
        pytest.skip(f"{name} is not in the folder that LIKEWISE_DATA names")
    return path


def test_cifar10() -> None:
    path = real("cifar10.parquet")
    assert split_names(path) == ("train", "test")
    source = open_source(path, split="test")
    images = prepare(source, short_side=37)
    assert len(images) == 10_000
    assert (images.sizes == 32).all()
    assert images.broken == ()
    assert images.labels is not None
    assert np.bincount(images.labels).tolist() == [1000] * 10
    assert images.class_names is not None
    assert images.class_names[8] == "ship"
    pixels, _ = images.gather(np.arange(len(images)))
    mean = pixels.float().mean(dim=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.494, 0.485, 0.450], atol=0.005)
    began = time.perf_counter()
    again = prepare(open_source(path, split="test"), short_side=37)
    assert time.perf_counter() - began < 2.0
    np.testing.assert_array_equal(again.image(1234), source.read(1234))


def test_pneumoniamnist() -> None:
    source = open_source(real("pneumoniamnist.npz"), split="train")
    assert len(source) == 4708
    assert source.labels is not None
    assert np.bincount(source.labels).tolist() == [1214, 3494]
    found = describe(source)
    assert found.grey_share == 1
    assert found.imbalance == pytest.approx(3494 / 1214)


def test_labels_of_one_of_two_columns() -> None:
    path = real("cifar100.parquet")
    assert len(open_source(path, split="test").class_names or ()) == 100
    assert len(open_source(path, split="test", labels="coarse_label").class_names or ()) == 20
