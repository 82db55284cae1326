"""Drawn scenes: the same each time, with masks that lie on their objects and backgrounds as each split says."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.data import open_source, split_names
from likewise.data.sources.scenes import CLASSES, COUNTS, mask_of, scene
from likewise.errors import InputError


def test_a_scene_is_the_same_each_time_and_another_for_another_name() -> None:
    one, again, other = (scene("scenes", 32, "train", number) for number in (5, 5, 11))
    assert np.array_equal(one.pixels, again.pixels)
    assert one.label == other.label
    assert not np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("kind", ["scenes", "mosaics"])
def test_masks_lie_on_the_objects(kind: str) -> None:
    for number in range(12):
        found = scene(kind, 64, "only_fg", number)
        assert (
            np.array_equal(found.pixels.max(2) > 40, found.mask > 0)
            or ((found.pixels.max(2) > 40) != (found.mask > 0)).mean() < 0.02
        )
        assert 0.02 < (found.mask > 127).mean() < 0.35
        assert not found.pixels[found.mask == 0].any()


def test_the_source_has_classes_splits_and_masks_by_name() -> None:
    source = open_source("synthetic:scenes:48", split="mixed_rand")
    assert split_names("synthetic:scenes") == tuple(COUNTS)
    assert (len(source), source.class_names) == (COUNTS["mixed_rand"], CLASSES)
    assert source.labels is not None
    assert np.bincount(source.labels).tolist() == [100] * 6
    pixels, mask = source.read(7), mask_of(source.names[7])
    assert pixels.shape == (48, 48, 3)
    assert mask is not None
    assert mask.shape == (48, 48)
    assert len(open_source("synthetic:scenes")) == sum(COUNTS.values())
    assert open_source("synthetic:scenes", labels="none").labels is None
    assert open_source("synthetic:mosaics", split="train").read(0).shape == (64, 64, 3)
    assert mask_of("photos/a.jpg") is None


def test_backgrounds_go_with_the_class_as_the_split_says() -> None:
    """The mean grey of a row tells stripes along it from others: rows are the background of class 0."""

    def striped(split: str) -> float:
        rows = []
        for number in range(0, 300, len(CLASSES)):
            found = scene("scenes", 32, split, number)
            grey = np.where(found.mask == 0, found.pixels.mean(2), np.nan)
            across, down = np.nanvar(np.nanmean(grey, 1)), np.nanvar(np.nanmean(grey, 0))
            rows.append(across > 4 * down)
        return float(np.mean(rows))

    assert striped("mixed_same") > 0.9
    assert 0.75 < striped("train") < 1.0
    assert striped("mixed_rand") < 0.5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("synthetic:scene", "nearest is synthetic:scenes"),
        ("synthetic:scenes:33", "even number of pixels"),
        ("synthetic:scenes:8", "even number of pixels from 16"),
        ("synthetic:", "allowed are synthetic:scenes"),
    ],
)
def test_other_names_are_refused_in_one_line(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_source(name)


def test_other_splits_and_labels_are_refused() -> None:
    with pytest.raises(InputError, match="mixed_rand"):
        open_source("synthetic:scenes", split="mixed_random")
    with pytest.raises(InputError, match="labels='folders'"):
        open_source("synthetic:scenes", labels="folders")
