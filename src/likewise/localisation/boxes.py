"""Bounding boxes of masks (arXiv 2108.00049, appendix on object-aware crops).

Boxes are top, left, height and width as shares of the image, as `views.regions` takes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

AT = 0.5
"""Share of a mask's maximum from which a pixel belongs to an object."""
SMALLEST = 0.01
"""Share of the image that an object covers at least."""
MARGIN = 0.2
"""Share of its sides that a box is enlarged by, on each side."""


def boxes(mask_HW: NDArray[np.uint8], *, most: int = 8, margin: float = MARGIN) -> NDArray[np.float32]:
    """(R, 4) boxes of the connected parts of a mask, the largest part first, `most` at most; none of an empty mask.

    Parts are of pixels from `AT` times the maximum on, joined at their sides; those whose box covers less than
    `SMALLEST` of the image are left out.
    """
    height, width = mask_HW.shape
    peak = int(mask_HW.max(initial=0))
    if peak == 0:
        return np.zeros((0, 4), np.float32)
    parts, _ = ndimage.label(mask_HW >= max(1.0, AT * peak))
    areas = np.bincount(parts.ravel())[1:]
    places = ndimage.find_objects(parts)
    found = []
    for number in np.argsort(-areas, kind="stable").tolist():
        rows, columns = places[number]
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if tall * wide <= SMALLEST * height * width:
            continue
        top, left = max(0.0, rows.start - margin * tall), max(0.0, columns.start - margin * wide)
        bottom, right = min(height, rows.stop + margin * tall), min(width, columns.stop + margin * wide)
        found.append((top / height, left / width, (bottom - top) / height, (right - left) / width))
        if len(found) == most:
            break
    return np.asarray(found, np.float32).reshape(-1, 4)
