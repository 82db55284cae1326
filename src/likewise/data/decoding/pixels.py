"""Conversion of arrays of any type and shape to (H, W, 3) uint8, and resizing to the stored size."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.data.decoding.decoded import BrokenImage, Pixels

LONGEST = 3
"""The long side is cut, about its centre, to this many short sides: batches are padded to their largest image, and
one panorama must not make all of them huge."""
_BIT_DEPTHS = (8, 10, 12, 14, 16)
_SLACK = 1e-3
_REDUCING_GAP = 3.0


class Range(NamedTuple):
    """The values that become 0 and 255."""

    low: float
    high: float


def value_range(kind: str, low: float, high: float) -> Range:
    """The range that values between `low` and `high` were most likely meant in. `kind` is a NumPy dtype kind.

    Whole numbers: 0 to the largest value of 8, 10, 12, 14 or 16 bits that holds them all, since cameras give 12 bits
    in files that say 16. Fractions: 0..1, -1..1 or 0..255 where they fit. Everything else is stretched from its
    smallest to its largest value.
    """
    if kind == "b":
        return Range(0.0, 1.0)
    if kind in "iu" and low >= 0:
        for bits in _BIT_DEPTHS:
            if high < 2**bits:
                return Range(0.0, 2.0**bits - 1)
    if kind == "f":
        for usual in (Range(0.0, 1.0), Range(-1.0, 1.0), Range(0.0, 255.0)):
            if low >= usual.low - _SLACK and high <= usual.high + _SLACK:
                return usual
    return Range(float(low), float(high))


def range_of(values: NDArray[Any]) -> Range:
    """`value_range` of the finite values of an array. Raises BrokenImage where there are none."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        raise BrokenImage("no finite values")
    return value_range(values.dtype.kind, float(finite.min()), float(finite.max()))


def to_uint8(values: NDArray[Any], span: Range) -> NDArray[np.uint8]:
    """Values of any shape as uint8; what lies outside the range is clipped, what is not a number becomes 0."""
    if values.dtype == np.uint8 and span == (0.0, 255.0):
        return values
    low, high = span
    scale = 255.0 / (high - low) if high > low else 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        scaled: NDArray[np.floating[Any]] = values.astype(np.float32 if values.itemsize <= 4 else np.float64)
        scaled -= low
        scaled *= scale
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    rounded: NDArray[np.uint8] = np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)
    return rounded


def channels_last(values: NDArray[Any]) -> NDArray[Any]:
    """(H, W), (H, W, 1|3|4) or (1|3|4, H, W) as (H, W, 1|3|4). Raises BrokenImage for other shapes."""
    if values.size and values.ndim == 2:
        return values[..., None]
    if values.size and values.ndim == 3 and values.shape[2] in {1, 3, 4}:
        return values
    if values.size and values.ndim == 3 and values.shape[0] in {1, 3, 4}:
        return values.transpose(1, 2, 0)
    raise BrokenImage(f"an array of shape {values.shape} is no image: (H, W), (H, W, 1|3|4) or (1|3|4, H, W) are")


def as_rgb(values: NDArray[np.uint8]) -> Pixels:
    """(H, W, 1|3|4) as (H, W, 3), contiguous: grey is repeated, transparency laid on white."""
    channels = values.shape[2]
    if channels == 1:
        return np.repeat(values, 3, axis=2)
    if channels == 4:
        alpha = values[..., 3:].astype(np.uint16)
        mixed = values[..., :3] * alpha + 255 * (255 - alpha)
        return ((mixed + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(values)


def checked(values: NDArray[Any]) -> NDArray[Any]:
    """`channels_last` of an array of numbers. Raises BrokenImage for anything else."""
    if values.dtype.kind not in "biuf":
        raise BrokenImage(f"an array of {values.dtype} is no image: numbers are")
    return channels_last(values)


def from_array(values: NDArray[Any], span: Range | None = None) -> Pixels:
    """One image of any numeric type, in the shapes of `channels_last`, as (H, W, 3) uint8. Raises BrokenImage."""
    whole = checked(values)
    return as_rgb(to_uint8(whole, span or range_of(whole)))


def fit(pixels: Pixels, short_side: int | None) -> Pixels:
    """An image as it is stored: at most `LONGEST` times as long as wide, reduced to `short_side`, never enlarged.

    Reduction is by Lanczos with antialiasing.
    """
    height, width = pixels.shape[:2]
    most = LONGEST * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    pixels = pixels[top : top + most, left : left + most]
    height, width = pixels.shape[:2]
    if short_side is None or min(height, width) <= short_side:
        return pixels
    scale = short_side / min(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP))
