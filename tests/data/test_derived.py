"""Arrays with one row an image: made once, in blocks, and gone on with after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from likewise.data import Images, open_source, prepare
from likewise.data.caching.derived import derive, is_derived
from likewise.errors import InputError

COUNT = 10


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return some_images(tmp_path)


def some_images(place: Path) -> Images:
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT, 8, 8, 3), dtype=np.uint8)
    np.save(place / "images.npy", pixels)
    return prepare(open_source(place / "images.npy"), short_side=None, cache_dir=place / "cache")


class Means:
    """Mean colour of each image, and which images were asked for."""

    def __init__(self, images: Images) -> None:
        self.images, self.asked = images, list[int]()

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        self.asked += positions.tolist()
        return self.images.gather(positions)[0].float().mean((1, 2)).numpy()


def test_rows_are_computed_once_and_by_whom_they_depend_on(images: Images, tmp_path: Path) -> None:
    means = Means(images)
    rows = derive(images, "means", "a", means, block=4, cache_dir=tmp_path)
    assert rows.shape == (COUNT, 3)
    assert not rows.flags.writeable
    np.testing.assert_array_equal(rows, Means(images)(np.arange(COUNT)))
    np.testing.assert_array_equal(derive(images, "means", "a", means, block=4, cache_dir=tmp_path), rows)
    assert means.asked == list(range(COUNT))
    assert is_derived(images, "means", "a", cache_dir=tmp_path)
    assert not is_derived(images, "means", "b", cache_dir=tmp_path)
    derive(images.subset(np.array([3, 1])), "means", "a", means, cache_dir=tmp_path)
    assert means.asked[COUNT:] == [0, 1]


def test_an_error_in_the_middle_loses_one_block(images: Images, tmp_path: Path) -> None:
    means = Means(images)

    def breaks(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        if positions[0] >= 8:
            raise KeyboardInterrupt
        return means(positions)

    with pytest.raises(KeyboardInterrupt):
        derive(images, "means", "a", breaks, block=4, cache_dir=tmp_path)
    assert not is_derived(images, "means", "a", cache_dir=tmp_path)
    rows = derive(images, "means", "a", means, block=4, cache_dir=tmp_path)
    assert means.asked == list(range(COUNT))
    np.testing.assert_array_equal(rows, Means(images)(np.arange(COUNT)))


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_derived import Means, some_images
from likewise.data.caching.derived import derive
place = Path({place!r})
images = some_images(place)
means = Means(images)
def slow(positions):
    if positions[0] >= 4:
        print("begun", flush=True)
        time.sleep(60)
    return means(positions)
derive(images, "means", "a", slow, block=4, cache_dir=place)
"""


def test_a_killed_writer_is_gone_on_with(tmp_path: Path) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), place=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        os.kill(process.pid, signal.SIGKILL)
    images = prepare(open_source(tmp_path / "images.npy"), short_side=None, cache_dir=tmp_path / "cache")
    means = Means(images)
    rows = derive(images, "means", "a", means, block=4, cache_dir=tmp_path)
    assert means.asked == list(range(4, COUNT))
    np.testing.assert_array_equal(rows, Means(images)(np.arange(COUNT)))


def test_rows_of_another_shape_are_refused(images: Images, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 rows: one an image"):
        derive(images, "means", "a", lambda positions: np.zeros((2, 3)), block=4, cache_dir=tmp_path)
    with pytest.raises(InputError, match=r"rows of \(4,\)"):
        derive(images, "means", "b", lambda at: np.zeros((len(at), 4 - len(at) // 3)), block=3, cache_dir=tmp_path)
