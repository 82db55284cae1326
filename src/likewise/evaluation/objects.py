"""Scores of masks and boxes of objects: CorLoc, box IoU, mask IoU.

Boxes are top, left, height and width in any unit; masks are uint8, 255 on the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError

RIGHT = 0.5
"""Intersection over union from which a box counts as right (PASCAL VOC; CorLoc: Deselaers et al., IJCV 2012)."""


class Localisation(NamedTuple):
    """Means over images."""

    corloc: float
    """Share of images whose first box overlaps one of the true ones by `RIGHT` or more."""
    box_iou: float
    """Mean overlap of the first box with the true one nearest to it; 0 where there is no box."""
    mask_iou: float
    """Mean intersection over union of the masks at half of their range; 1 where both are empty."""
    images: int
    """Images that have a true box."""


def box_overlap(box_4: NDArray[np.floating], boxes_R4: NDArray[np.floating]) -> NDArray[np.float64]:
    """(R,) intersection over union of a box with others."""
    one, others = np.asarray(box_4, np.float64), np.asarray(boxes_R4, np.float64).reshape(-1, 4)
    begin = np.maximum(one[:2], others[:, :2])
    end = np.minimum(one[:2] + one[2:], others[:, :2] + others[:, 2:])
    shared = np.maximum(0.0, end - begin).prod(1)
    union = one[2:].prod() + others[:, 2:].prod(1) - shared
    return np.asarray(shared / np.maximum(union, np.finfo(float).tiny))


def mask_overlap(mask_HW: NDArray[np.uint8], true_HW: NDArray[np.uint8]) -> float:
    """Intersection over union of two masks at half of their range; 1 where both are empty."""
    one, other = mask_HW > 127, true_HW > 127
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def localisation(
    boxes: Sequence[NDArray[np.floating]],
    true_boxes: Sequence[NDArray[np.floating]],
    masks: Sequence[NDArray[np.uint8]],
    true_masks: Sequence[NDArray[np.uint8]],
) -> Localisation:
    """Scores of the first box (R, 4) and the mask of each image. Raises InputError where no image has a true box."""
    best = [
        float(box_overlap(found[0], true).max()) if len(found) else 0.0
        for found, true in zip(boxes, true_boxes, strict=True)
        if len(true)
    ]
    if not best:
        raise InputError("no image has a true object: there is nothing that masks could be held to")
    shares = [mask_overlap(one, other) for one, other in zip(masks, true_masks, strict=True)]
    right = [share >= RIGHT for share in best]
    return Localisation(float(np.mean(right)), float(np.mean(best)), float(np.mean(shares)), len(best))
