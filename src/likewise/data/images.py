"""Decoded images, gathered into batches straight from the memory-mapped cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.caching.locking import share
from likewise.data.decoding.decoded import Pixels
from likewise.data.decoding.pixels import Range
from likewise.data.fingerprints import digest, digest_array
from likewise.data.source import Broken, Column


class Images:
    """Decoded uint8 images in a memory-mapped file; those that could not be read are left out.

    Images are numbered 0 to N - 1 in the order of their source. Subsets share the file.
    """

    def __init__(
        self,
        *,
        name: str,
        fingerprint: str,
        names: Sequence[str],
        positions: NDArray[np.int64],
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...] | None,
        broken: tuple[Broken, ...],
        sizes: NDArray[np.int32],
        offsets: NDArray[np.int64],
        digests: NDArray[np.uint64],
        ranges: Mapping[str, Range],
        left_out: Mapping[str, int],
        file: Path,
        length: int,
        columns: Mapping[str, Column] | None = None,
        flat: NDArray[np.uint8] | None = None,
    ) -> None:
        self.name = name
        """As the source is called."""
        self.fingerprint = fingerprint
        """Hexadecimal; another one for other data, another size, or another subset."""
        self.names = names
        """One per image, for people."""
        self.positions = positions
        """(N,) where each is in its source, which may hold broken images as well."""
        self.labels = labels
        """(N,) int64, -1 where unknown; or None."""
        self.class_names = class_names
        """Name of each class, or None."""
        self.broken = broken
        """The images of the source that are left out, with their reasons."""
        self.sizes = sizes
        """(N, 2) int32: height and width of each image."""
        self.digests = digests
        """(N,) of the pixels of each image: equal for exact copies."""
        self.ranges = ranges
        """What became black and white in images of other numbers than 0 to 255, by their unit."""
        self.left_out = left_out
        """What lay beside the images and is none that can be read: number of files by ending."""
        self.columns = dict(columns or {})
        """What else is known of each image, by the name of its column."""
        self._offsets = offsets
        self._file = file
        self._length = length
        self._open(flat)

    def _open(self, flat: NDArray[np.uint8] | None = None) -> None:
        """Raises FileNotFoundError where the file is gone, or another one, of other length, in its place."""
        self._flat = _mapped(self._file) if flat is None else flat
        if len(self._flat) != self._length:
            raise FileNotFoundError(f"{self._file} was made anew")
        self._uniform: NDArray[np.uint8] | None = None
        """(M, H, W, 3) view of the whole file where its images are all of one size."""
        self._rows = self._offsets
        height, width = (int(side) for side in self.sizes[0]) if len(self.sizes) else (0, 0)
        each = height * width * 3
        same = bool(each) and bool((self.sizes == self.sizes[0]).all())
        if same and len(self._flat) % each == 0 and not (self._offsets % each).any():
            self._uniform = self._flat.reshape(-1, height, width, 3)
            self._rows = self._offsets // each

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def copies(self) -> int:
        """Number of images that are exact copies of another one, which is not counted."""
        return len(self.digests) - len(np.unique(self.digests))

    def __repr__(self) -> str:
        return f"Images({self.name}, {len(self):,} images)"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the mapped memory, which another process maps again."""
        return {key: value for key, value in self.__dict__.items() if key not in {"_flat", "_uniform", "_rows"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The images at positions `index`, in that order.

        Returns pixels (B, H, W, 3) uint8, where H and W are the largest of the batch and smaller images are filled up
        with zeros at the bottom and at the right; and sizes (B, 2) int64, the true height and width. Both are on the
        CPU and free to be changed.
        """
        index = np.asarray(index, dtype=np.int64)
        sizes = self.sizes[index].astype(np.int64)
        if self._uniform is not None:
            pixels = self._uniform.take(self._rows[index], axis=0)
        else:
            pixels = self._padded(self._offsets[index], sizes)
        return torch.from_numpy(pixels), torch.from_numpy(sizes)

    def _padded(self, offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
        height, width = sizes.max(axis=0, initial=0)
        pixels = np.zeros((len(sizes), height, width, 3), dtype=np.uint8)
        for row, (start, (rows, columns)) in enumerate(zip(offsets.tolist(), sizes.tolist(), strict=True)):
            image = self._flat[start : start + rows * columns * 3].reshape(rows, columns, 3)
            pixels[row, :rows, :columns] = image
        return pixels

    def image(self, position: int) -> Pixels:
        """One image, (H, W, 3) uint8, not to be written to."""
        height, width = (int(side) for side in self.sizes[position])
        start = int(self._offsets[position])
        return self._flat[start : start + height * width * 3].reshape(height, width, 3)

    def subset(self, index: NDArray[np.int64]) -> Images:
        """The images at positions `index`, in that order, over the same memory map."""
        index = np.asarray(index, dtype=np.int64)
        return Images(
            name=self.name,
            fingerprint=digest(self.fingerprint, digest_array(index)),
            names=[self.names[position] for position in index],
            positions=self.positions[index],
            labels=None if self.labels is None else self.labels[index],
            class_names=self.class_names,
            broken=self.broken,
            sizes=self.sizes[index],
            offsets=self._offsets[index],
            digests=self.digests[index],
            ranges=self.ranges,
            left_out=self.left_out,
            file=self._file,
            length=self._length,
            columns={name: column.at(index) for name, column in self.columns.items()},
            flat=self._flat,
        )


def _mapped(path: Path) -> NDArray[np.uint8]:
    """A file as bytes in memory. While the array lives, the file is marked as in use (`locking.unused`)."""
    with path.open("rb") as file:
        share(file)  # held on by the map, which keeps a number of the open file of its own
        return np.asarray(np.memmap(file, dtype=np.uint8, mode="r"))
