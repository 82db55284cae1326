"""What is measured on: CIFAR-10 where a folder with it is known, and photographs that come with scikit-learn."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.data import Images, open_source, prepare
from likewise.errors import InputError

PLACE = "LIKEWISE_DATA"


def data_file(name: str) -> Path:
    """A file of the folder with data sets. Raises InputError where there is none."""
    folders = [os.environ.get(PLACE), Path(__file__).resolve().parents[2] / "shared" / "data"]
    for folder in folders:
        if folder is not None and (path := Path(folder) / name).exists():
            return path
    raise InputError(f"there is no {name}: name a folder that has it with {PLACE}")


def cifar10_file() -> Path:
    """The Parquet file with CIFAR-10. Raises InputError where there is none."""
    return data_file("cifar10.parquet")


def cifar10(split: str) -> Images:
    """The images of one split, decoded. Raises InputError where there are none."""
    return prepare(open_source(cifar10_file(), split=split, labels="label"), short_side=None)


def small_images(count: int) -> NDArray[np.uint8]:
    """(count, 32, 32, 3): pieces of photographs at a tenth of their size, the same on every machine."""
    return np.stack([np.asarray(Image.fromarray(piece).reduce(10)) for piece in pieces(count, 320, 320)])


def jpeg_files(count: int, *, height: int = 375, width: int = 500, quality: int = 90) -> list[bytes]:
    """So many JPEG files of photographs: different pieces of the two that come with scikit-learn, at their own size."""
    files = []
    for piece in pieces(count, height, width):
        file = io.BytesIO()
        Image.fromarray(piece).save(file, "JPEG", quality=quality)
        files.append(file.getvalue())
    return files


def pieces(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Random pieces of photographs, up to 427 x 640 pixels."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    generator = np.random.default_rng(0)
    found = []
    for number in range(count):
        whole = photographs[number % len(photographs)]
        top = int(generator.integers(0, whole.shape[0] - height + 1))
        left = int(generator.integers(0, whole.shape[1] - width + 1))
        piece = whole[top : top + height, left : left + width]
        found.append(np.ascontiguousarray(piece[:, ::-1] if generator.random() < 0.5 else piece))
    return found
