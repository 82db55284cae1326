"""Pixel similarity of two images, for copies that are moved, mirrored, scaled or cut within the other.

The statistic of a pair is the largest normalised cross-correlation of their grey thumbnails, without their coarsest
structure, over mirror images, scales and shifts. What it is for images that are no copies is measured on pairs of the
same collection, and the bar is set where that null distribution lets less than a stated number of pairs pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from likewise.data.decoding.decode import decode
from likewise.data.decoding.decoded import BrokenImage
from likewise.data.sources.files import read_bytes

Grey = NDArray[np.float32]

SIDE = 48
"""Side of a thumbnail in pixels; the sides of images are not kept in proportion, since copies need not keep them."""
SCALES = (1.0, 0.93, 0.86, 0.8, 0.74, 0.68, 0.62)
"""Side of the cut within the whole image."""
COARSE = 5.0
"""Pixels of a thumbnail (deviation of a Gaussian) above which structure is left out: blobs of light are alike in many
images."""
_TAIL = 0.25
"""Share of the null, from its top, that the bar is found from."""
LARGEST_SHIFT = 0.15
"""Share of the side that a whole image may be moved by."""


def grey(path: str) -> Grey | None:
    """(S, S) thumbnail of an image file, None where it cannot be read."""
    try:
        pixels = Image.fromarray(decode(read_bytes(path), 2 * SIDE)).convert("L")
    except BrokenImage:
        return None
    small = np.asarray(pixels.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    return np.asarray(small - gaussian_filter(small, COARSE), np.float32)


def likeness(one: Grey, other: Grey) -> float:
    """Fisher's z of the largest correlation: 0 for unrelated images, above 2 for copies as a rule."""
    best = 0.0
    for mirrored in (other, other[:, ::-1]):
        best = max(best, _moved(one, mirrored), _moved(mirrored, one))
        for scale in SCALES[1:]:
            best = max(best, _within(one, mirrored, scale), _within(mirrored, one, scale))
    return float(np.arctanh(min(best, 0.9999)))


def _within(whole: Grey, cut: Grey, scale: float) -> float:
    """Largest correlation of `cut`, reduced, with the windows of `whole` of that size."""
    side = round(SIDE * scale)
    small = np.asarray(Image.fromarray(np.ascontiguousarray(cut)).resize((side, side), Image.Resampling.BILINEAR))
    return _correlation(whole, small)


def _moved(still: Grey, moved: Grey) -> float:
    """Largest correlation of the middle of `moved` with the windows of `still`."""
    edge = int(SIDE * LARGEST_SHIFT)
    return _correlation(still, moved[edge:-edge, edge:-edge])


def _correlation(whole: Grey, small: Grey) -> float:
    """Largest normalised cross-correlation over all windows, by Fourier transforms."""
    side = small.shape[0]
    free = SIDE - side + 1
    zero = (small - small.mean()).astype(np.float64)
    energy = float((zero**2).sum())
    if energy < side * side:  # flat: like everything and nothing
        return 0.0
    size = 1 << (2 * SIDE - 1).bit_length()
    spectrum = np.fft.rfft2(whole, (size, size))
    product = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(zero, (size, size))), (size, size))[:free, :free]
    sums = _window_sums(whole.astype(np.float64), side)
    squares = _window_sums(whole.astype(np.float64) ** 2, side)
    spread = squares - sums**2 / side**2
    valid = spread > side * side
    return float((product[valid] / np.sqrt(spread[valid] * energy)).max(initial=0.0))


def _window_sums(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    summed: NDArray[np.float64] = (
        total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    )
    return summed


def bar(null_N: Sequence[float], tried: int, false_pairs: float) -> float:
    """The likeness that fewer than `false_pairs` of `tried` pairs that are no copies are expected to reach.

    The upper quarter of the null is taken to fall off exponentially: a normal tail, as it has in theory, is too thin
    for images, many of which are alike without being copies.
    """
    values = np.asarray(null_N, np.float64)
    start = float(np.quantile(values, 1 - _TAIL))
    slope = max(float((values[values > start] - start).mean()) if (values > start).any() else 0.0, 1e-3)
    return start + slope * max(0.0, math.log(_TAIL * max(tried, 1) / false_pairs))


class Thumbnails:
    """Thumbnails of rows, each read once, a bounded number kept."""

    def __init__(self, paths: Sequence[str], most: int = 20_000) -> None:
        self.paths, self.most = paths, most
        self._held: dict[int, Grey | None] = {}

    def __getitem__(self, row: int) -> Grey | None:
        if row not in self._held:
            if len(self._held) >= self.most:
                self._held.pop(next(iter(self._held)))
            path = self.paths[row]
            self._held[row] = grey(path) if path and Path(path).is_file() else None
        return self._held[row]
