"""The frames of a clip, and the distance in time between two clips of a video (CVRL, arXiv 2008.03800, 3.2).

Randomness is uniform numbers passed in. Shapes: C clips, F frames of a clip.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from likewise.errors import unknown

Law = Literal["decreasing", "uniform", "increasing", "none", "power"]
_HALVINGS = 53


def span(length: int, frames: int, stride: int) -> int:
    """Places that a clip of `frames` every `stride` can begin at; the whole video where it is shorter than a clip."""
    covered = (frames - 1) * stride
    return length - covered if length > covered else length


def shares(uniform: NDArray[np.float64], law: Law = "decreasing", power: float = 1.0) -> NDArray[np.float64]:
    """Gaps as shares x of the places, from numbers in [0, 1).

    Densities are 2 (1 - x) for `decreasing`, so that clips far apart are rarer; 2 x for `increasing`; the same
    everywhere for `uniform`; proportional to 1 - x^`power` for `power`; and `none` has no gap. Raises InputError for
    other laws.
    """
    if law not in get_args(Law):
        raise unknown("law of the gap between clips", law, get_args(Law))
    if law == "uniform":
        return uniform
    if law == "none":
        return np.zeros_like(uniform)
    if law == "increasing":
        return np.sqrt(uniform)
    if law == "decreasing":
        return np.asarray(1.0 - np.sqrt(1.0 - uniform))
    low, high = np.zeros_like(uniform), np.ones_like(uniform)
    for _ in range(_HALVINGS):  # where ((p + 1) x - x^(p + 1)) / p, the share of smaller gaps, is the number
        middle = (low + high) / 2
        below = ((power + 1.0) * middle - middle ** (power + 1.0)) / power < uniform
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def gap(places: int, uniform: float, law: Law = "decreasing") -> int:
    """Frames between the starts of two clips, 0 to `places` - 1, from a number in [0, 1), by one of the `shares`."""
    return min(int(places * float(shares(np.array(uniform), law))), places - 1)


def pair_starts(
    length: int, frames: int, stride: int, uniform_3: NDArray[np.float64], law: Law = "decreasing"
) -> tuple[int, int]:
    """First frames of two clips of one video, in random order, from three numbers in [0, 1): gap, place, order.

    In a video shorter than a clip both starts are drawn independently, the third number being the second start.
    """
    of_gap, of_place, of_order = uniform_3.tolist()
    if length <= (frames - 1) * stride:
        return int(of_place * length), int(of_order * length)
    places = span(length, frames, stride)
    apart = gap(places, of_gap, law)
    first = int(of_place * (places - apart))
    return (first, first + apart) if of_order < 0.5 else (first + apart, first)


def frame_numbers(starts_C: NDArray[np.int64], frames: int, stride: int, length: int) -> NDArray[np.int64]:
    """(C, F) frames of clips that begin at `starts_C`; a video that ends too early is repeated from its first frame."""
    return (starts_C[:, None] + stride * np.arange(frames)) % length
