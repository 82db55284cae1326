"""Python sequences and torch Datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from likewise.data import describe, open_source, prepare
from likewise.data.source import BrokenImage
from likewise.errors import InputError
from tests.data.images import encoded, flat, noise, save


class Pairs(Dataset[tuple[Any, Any]]):
    """Images with labels; the one numbered `broken` cannot be read."""

    classes = ("night", "day")

    def __init__(self, count: int = 5, broken: int = -1) -> None:
        self.count = count
        self.broken = broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> tuple[Image.Image, int]:
        if position == self.broken:
            raise ValueError("this entry\nis damaged")
        return Image.fromarray(noise(seed=position)), position % 2


def test_lists_of_everything(tmp_path: Path) -> None:
    path = save(tmp_path / "1.png", noise(seed=1))
    data = [
        Image.fromarray(noise(seed=0)),
        str(path),
        noise(seed=2),
        torch.from_numpy(noise(seed=3)).permute(2, 0, 1),
        path,
        encoded(noise(seed=5)),
        noise(seed=6).astype(np.float32) / 255,
    ]
    source = open_source(data)
    for position, seed in enumerate([0, 1, 2, 3, 1, 5, 6]):
        np.testing.assert_array_equal(source.read(position), noise(seed=seed))
    assert source.names[1] == str(path)
    assert source.names[2] == "entry 2"
    assert source.labels is None


def test_pairs_with_labels() -> None:
    source = open_source([(noise(), "cat"), (noise(), None), (noise(), "ant")])
    assert source.class_names == ("ant", "cat")
    assert source.labels is not None
    assert source.labels.tolist() == [1, -1, 0]
    assert open_source([(noise(), 1)], labels="none").labels is None


def test_mappings_as_hugging_face_gives_them() -> None:
    class Feature:
        names = ("sad", "glad")

    class Rows(list[dict[str, Any]]):
        features = {"image": None, "label": Feature(), "other": None}

    source = open_source(Rows([{"image": Image.fromarray(noise()), "label": 1, "other": 5}]))
    assert source.class_names == ("sad", "glad")
    assert source.labels is not None
    assert source.labels.tolist() == [1]
    other = open_source(Rows([{"image": noise(), "label": 1, "other": 5}]), labels="other")
    assert other.labels is not None
    assert other.labels.tolist() == [5]
    with pytest.raises(InputError, match="have no such label"):
        open_source(Rows([{"image": noise()}]), labels="mood")


def test_dataset_with_labels_and_names() -> None:
    source = open_source(Pairs())
    assert source.name == "pairs"
    assert source.class_names == ("night", "day")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(source.read(3), noise(seed=3))


def test_other_datasets_of_torch() -> None:
    tensors = TensorDataset(torch.rand(4, 3, 6, 6), torch.tensor([0, 2, 1, 0]))
    labels = open_source(tensors).labels
    assert labels is not None
    assert labels.tolist() == [0, 2, 1, 0]
    part = open_source(Subset(Pairs(), [4, 1]))
    np.testing.assert_array_equal(part.read(0), noise(seed=4))
    assert part.labels is not None
    assert part.labels.tolist() == [0, 1]


def test_targets_that_are_no_classes_are_left_out() -> None:
    assert open_source([(noise(), np.zeros((3, 4))), (noise(), np.zeros((1, 4)))]).labels is None


def test_broken_entries_are_listed() -> None:
    source = open_source(Pairs(broken=2))
    with pytest.raises(BrokenImage, match=r"^ValueError: this entry$"):
        source.read(2)
    images = prepare(source, short_side=None)
    assert [(entry.name, entry.reason) for entry in images.broken] == [("entry 2", "ValueError: this entry")]
    assert len(images) == 4


def test_fingerprint_follows_the_contents(tmp_path: Path) -> None:
    assert open_source(Pairs()).fingerprint == open_source(Pairs()).fingerprint
    assert open_source(Pairs()).fingerprint != open_source(Pairs(4)).fingerprint
    assert open_source([noise(seed=1)]).fingerprint != open_source([noise(seed=2)]).fingerprint
    path = save(tmp_path / "1.png", flat((0, 0, 0)))
    before = open_source([path]).fingerprint
    save(path, flat((0, 0, 0), 30, 30))
    assert open_source([path]).fingerprint != before


def test_describe_knows_how_entries_are_stored(tmp_path: Path) -> None:
    path = save(tmp_path / "1.gif")
    assert describe(open_source([path, noise(), Image.fromarray(noise())])).formats == {"GIF": 1, "array": 1, "PIL": 1}


def test_random_transforms_are_refused() -> None:
    class Restless(Pairs):
        def __getitem__(self, position: int) -> tuple[Image.Image, int]:
            return Image.fromarray(noise(seed=int(np.random.default_rng().integers(1 << 60)))), 0

    with pytest.raises(InputError, match="leave random transforms out"):
        open_source(Restless())


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield noise()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "holds no images"),
        (iter([noise()]), "cannot be used as data"),
        (Stream(), "cannot be used as data"),
        (7, "int cannot be used as data"),
        (None, "NoneType cannot be used as data"),
    ],
)
def test_what_is_no_sequence_is_refused(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(data)


def test_splits_and_wrong_entries_are_refused() -> None:
    with pytest.raises(InputError, match="has no splits"):
        open_source([noise()], split="train")
    with pytest.raises(InputError, match=r"1 of 1 images .*float is no image"):
        prepare(open_source([0.5]), short_side=None)


class Flipping(Pairs):
    """Mirrors every other image, by chance."""

    def __getitem__(self, position: int) -> tuple[Image.Image, int]:
        image, label = super().__getitem__(position)
        return (image if torch.rand(()) < 0.5 else image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), label


def test_random_flips_are_noticed() -> None:
    torch.manual_seed(0)
    for _ in range(5):
        with pytest.raises(InputError, match="leave random transforms out"):
            open_source(Flipping(20))
