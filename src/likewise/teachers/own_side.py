"""Images at the size that a teacher was trained at, where those decoded for its student are smaller."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Images, cached_side
from likewise.data.caching.cache import processors
from likewise.data.decoding.decoded import BrokenImage, Pixels
from likewise.data.decoding.pixels import fit
from likewise.data.source import Source
from likewise.errors import InputError


class Larger:
    """The images of a job, read from their source again and reduced to another short side; nothing of it is kept.

    A teacher looks at each image once, so that a second set of decoded images on the disk would serve nobody.
    """

    def __init__(self, source: Source, positions_N: NDArray[np.int64], short_side: int) -> None:
        """`positions_N` are those of the job's images in `source`."""
        self.source, self.positions_N, self.short_side = source, positions_N, short_side

    def __len__(self) -> int:
        return len(self.positions_N)

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels (B, H, W, 3) uint8, filled up with zeros to the largest, and true sizes (B, 2).

        Raises InputError for an image that cannot be read any more.
        """
        with ThreadPoolExecutor(processors(), thread_name_prefix="likewise-teacher") as pool:
            found = list(pool.map(self._read, self.positions_N[index].tolist()))
        sizes = np.array([pixels.shape[:2] for pixels in found], np.int64)
        height, width = sizes.max(axis=0, initial=0)
        whole = np.zeros((len(found), height, width, 3), np.uint8)
        for row, pixels in zip(whole, found, strict=True):
            row[: pixels.shape[0], : pixels.shape[1]] = pixels
        return torch.from_numpy(whole), torch.from_numpy(sizes)

    def _read(self, position: int) -> Pixels:
        try:
            return fit(self.source.read(position, self.short_side), self.short_side)
        except BrokenImage as broken:
            name = self.source.names[position]
            raise InputError(
                f"{name} was read for the student and cannot be for its teacher: {broken.reason}"
            ) from broken


def at_side(source: Source | None, images: Images, side: int | None, student_side: int) -> Larger | None:
    """`images`, which were decoded for a student of `student_side`, as a teacher of `side` is to be shown them.

    None where the decoded ones have enough pixels, or where they are all there is.
    """
    if source is None or side is None or side <= student_side:
        return None
    if not len(images) or int(images.sizes.min(axis=1).max()) < cached_side(student_side):
        return None  # no image was reduced
    return Larger(source, images.positions, cached_side(side))
