"""Masks and boxes of a whole data set: computed once, memory-mapped beside the decoded images, read in batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Images
from likewise.data.caching.derived import derive
from likewise.data.fingerprints import digest
from likewise.localisation.boxes import boxes
from likewise.localisation.sources import MaskInput, MaskSource, open_masks
from likewise.methods.method import Method

BLOCK = 64
"""Images that are looked at together. ContraCAM compares them, so they are drawn from all of the data."""
MOST_BOXES = 8
"""Boxes that an image has at most."""
_ORDER_SEED = 0


class Masks:
    """The masks (N, H, W) of some images, and the boxes around what they mark."""

    def __init__(
        self,
        images: Images,
        text: str,
        *,
        device: torch.device | str = "cpu",
        regions: bool = False,
        between: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Find the masks of the source `text`, or make them; with `regions` boxes too.

        `gather` empties masks that cover less of their image than the first of `between`, or more than the second.

        Raises InputError as `sources.open_masks` and `data.derived.derive` do.
        """
        order = np.random.default_rng(_ORDER_SEED).permutation(len(images))
        self._rows = np.empty(len(images), np.int64)
        self._rows[order] = np.arange(len(images))
        mixed = images.subset(order)
        source = open_masks(text, images, device=device)
        height, width = (int(side) for side in images.sizes.max(0))
        self._masks = derive(
            mixed, "masks", digest(source.key, BLOCK), _computing(mixed, source, height, width), block=BLOCK
        )
        self._sizes, self._between = images.sizes, between
        self._boxes: NDArray[np.float32] | None = None
        if regions:
            key = digest(source.key, BLOCK, MOST_BOXES)
            self._boxes = derive(mixed, "boxes", key, _boxing(self._masks, mixed), block=BLOCK)

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, index: NDArray[np.int64], height: int, width: int) -> Tensor:
        """(B, H, W) uint8 masks, 255 on the object, 0 in the padding of a batch of that height and width."""
        masks_BHW = np.ascontiguousarray(self._masks[self._rows[index], :height, :width])
        least, most = self._between
        share_B = masks_BHW.sum((1, 2), dtype=np.int64) / (255 * self._sizes[index].astype(np.int64).prod(1))
        masks_BHW[(share_B < least) | (share_B > most)] = 0
        return torch.from_numpy(masks_BHW)

    def regions(self, index: NDArray[np.int64]) -> Tensor | None:
        """(B, R, 4) boxes as `views.regions` takes them, 0 where there is none; None where none were asked for."""
        return None if self._boxes is None else torch.from_numpy(np.ascontiguousarray(self._boxes[self._rows[index]]))


def marks_of(method: Method, images: Images, device: torch.device | str) -> Masks | None:
    """The masks that a method wants of its data, with boxes where its views are cropped within them; None: it has none.

    Raises InputError as `Masks` does.
    """
    if not method.masks:
        return None
    within = any(policy.within_region for policy in method.views.values())
    return Masks(images, method.masks, device=device, regions=within, between=method.usable_masks)


def _computing(
    images: Images, source: MaskSource, height: int, width: int
) -> Callable[[NDArray[np.int64]], NDArray[np.uint8]]:
    """What makes the rows of some images."""

    def compute(index: NDArray[np.int64]) -> NDArray[np.uint8]:
        asked = len(index)
        if asked < min(BLOCK, len(images)):  # the last block: with others, to compare with
            others = np.setdiff1d(np.arange(len(images)), index)[: BLOCK - asked]
            index = np.concatenate([index, others])
        pixels, sizes = images.gather(index)
        found = source.masks(MaskInput(pixels, sizes, [images.names[position] for position in index]))[:asked]
        rows = np.zeros((asked, height, width), np.uint8)
        rows[:, : found.shape[1], : found.shape[2]] = (255 * found).round().to(torch.uint8).numpy()
        return rows

    return compute


def _boxing(masks: NDArray[np.uint8], images: Images) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
    def compute(index: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = np.zeros((len(index), MOST_BOXES, 4), np.float32)
        for row, position in enumerate(index.tolist()):
            height, width = images.sizes[position]
            found = boxes(masks[position, :height, :width], most=MOST_BOXES)
            rows[row, : len(found)] = found
        return rows

    return compute
