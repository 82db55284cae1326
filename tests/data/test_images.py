"""Gathering."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likewise.data import Images, open_source, prepare
from tests.data.images import noise

SIZES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12)


def images_of(some_images: list[np.ndarray], cache: Path) -> Images:
    return prepare(open_source(some_images), short_side=None, cache_dir=cache)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.data())
def test_gather_pads_each_image_into_its_corner(cache: Path, sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    sizes = [(min(h, 3 * w), min(w, 3 * h)) for h, w in sizes]
    some_images = [noise(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    images = images_of(some_images, cache)
    index = np.array(data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=8)), dtype=np.int64)
    pixels, found = images.gather(index)
    assert pixels.dtype == torch.uint8
    assert found.dtype == torch.int64
    assert found.tolist() == [list(sizes[position]) for position in index]
    expected = np.zeros((len(index), *(found.amax(0).tolist() if len(index) else pixels.shape[1:3]), 3), np.uint8)
    for row, position in enumerate(index):
        height, width = sizes[position]
        expected[row, :height, :width] = some_images[position]
    np.testing.assert_array_equal(pixels.numpy(), expected)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.data())
def test_subset_is_the_same_images(cache: Path, sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    sizes = [(min(h, 3 * w), min(w, 3 * h)) for h, w in sizes]
    images = images_of([noise(*size, seed) for seed, size in enumerate(sizes)], cache)
    index = np.array(data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=8)), dtype=np.int64)
    part = images.subset(index)
    assert list(part.names) == [images.names[position] for position in index]
    for position in range(len(index)):
        for mine, whole in zip(part.gather(np.array([position])), images.gather(index[[position]]), strict=True):
            assert torch.equal(mine, whole)


def test_uniform_images_are_one_view_also_in_subsets(cache: Path) -> None:
    some_images = [noise(6, 7, seed) for seed in range(10)]
    images = images_of(some_images, cache)
    part = images.subset(np.array([8, 2, 2])).subset(np.array([2, 0]))
    assert images._uniform is not None
    assert part._uniform is not None
    assert np.shares_memory(part._uniform, images._uniform)
    np.testing.assert_array_equal(part.gather(np.array([0, 1]))[0].numpy(), np.stack([some_images[2], some_images[8]]))


def test_images_of_one_size_among_others(cache: Path) -> None:
    images = images_of([noise(2, 3), noise(6, 6, 1), noise(6, 6, 2)], cache)
    part = images.subset(np.array([2, 1]))
    np.testing.assert_array_equal(part.gather(np.array([0, 1]))[0].numpy(), np.stack([noise(6, 6, 2), noise(6, 6, 1)]))


def test_gathered_pixels_may_be_changed(cache: Path) -> None:
    images = images_of([noise(4, 4)], cache)
    images.gather(np.array([0]))[0].zero_()
    np.testing.assert_array_equal(images.image(0), noise(4, 4))


def test_positions_outside_are_an_error(cache: Path) -> None:
    images = images_of([noise(4, 4), noise(5, 5)], cache)
    with pytest.raises(IndexError):
        images.gather(np.array([2]))


def test_labels_and_fingerprints_follow_the_subset(cache: Path) -> None:
    images = prepare(open_source([(noise(), "b"), (noise(), "a"), (noise(), None)]), short_side=None, cache_dir=cache)
    part = images.subset(np.array([2, 0]))
    assert part.labels is not None
    assert part.labels.tolist() == [-1, 1]
    assert part.class_names == ("a", "b")
    prints = {images.fingerprint, part.fingerprint, images.subset(np.array([0, 2])).fingerprint}
    assert len(prints) == 3


def test_another_process_maps_the_file_again(cache: Path) -> None:
    images = images_of([noise(4, 4), noise(5, 5, 1)], cache)
    sent = pickle.dumps(images.subset(np.array([1])))
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).image(0), noise(5, 5, 1))
