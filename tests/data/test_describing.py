"""What `likewise doctor` says of data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.data import describe, open_source
from likewise.errors import InputError
from tests.data.images import flat, noise, save


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number in range(6):
        save(root / "cat" / f"{number}.png", noise(20, 30))
    for number in range(2):
        save(root / "dog" / f"{number}.jpg", flat((7, 7, 7), 40, 60))
    (root / "dog" / "broken.jpg").write_bytes(b"")
    save(root / "loose.gif", noise(24, 10))
    return root


def test_everything_is_described(photos: Path) -> None:
    found = describe(open_source(photos, labels="folders"))
    assert (found.name, found.count, found.sample) == ("photos", 10, 10)
    assert found.height == (20, 20, 40)
    assert found.width == (10, 30, 60)
    assert found.side == 20
    assert found.grey_share == pytest.approx(2 / 9)
    assert found.formats == {"PNG": 6, "JPEG": 2, "GIF": 1}
    assert [(entry.name, entry.reason) for entry in found.broken] == [("dog/broken.jpg", "empty file")]
    assert found.classes == ("cat", "dog")
    assert found.class_counts == {"cat": 6, "dog": 3}
    assert found.imbalance == 2
    assert found.unlabelled == 1
    assert found.splits == ()


def test_splits_are_counted_and_the_one_that_is_used_is_named() -> None:
    images = np.zeros((5, 8, 8, 3), np.uint8)
    data = {"train_images": images, "test_images": images[:3], "extra_images": images[:1]}
    found = describe(open_source(data, split="train"))
    assert (found.split, found.split_counts) == ("train", {"train": 5, "extra": 1, "test": 3})
    assert "splits  train 5 (used), extra 1, test 3" in str(found)
    assert "splits  train 5, extra 1, test 3; all are used" in str(describe(open_source(data)))


def test_the_text_is_for_people(photos: Path) -> None:
    text = str(describe(open_source(photos, labels="folders")))
    for part in ("photos: 10 images", "20 to 40, median 20", "PNG 67%", "2 classes, imbalance 2.0: cat 6, dog 3"):
        assert part in text
    assert "dog/broken.jpg (empty file)" in text
    assert "labels  none" in str(describe(open_source(photos)))


def test_a_sample_is_spread_over_all(photos: Path) -> None:
    found = describe(open_source(photos), sample=3)
    assert found.sample == 3
    assert found.count == 10
    assert found.formats == {"PNG": 2, "GIF": 1}
    assert found.classes is None
    assert found.imbalance is None


def test_class_numbers_without_names() -> None:
    found = describe(open_source([(noise(), number) for number in (10, 2, 2)]))
    assert found.classes == ("2", "10")
    assert found.class_counts == {"2": 2, "10": 1}


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):
        (tmp_path / "a" / f"{number}.jpg").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"none of 3 images of a can be read: 0.jpg \(text, not an image\)"):
        describe(open_source(tmp_path / "a"))
