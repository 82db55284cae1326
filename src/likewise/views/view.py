"""One view of a batch: its pixels, and their positions in the source images."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class View(NamedTuple):
    """One view of every image of a batch.

    Dense and object-level methods need to know which part of the source a view shows, so the geometry travels with
    the pixels.
    """

    image: Tensor
    """(B, 3, H, W) float, normalised with the statistics of its policy."""
    box: Tensor | None = None
    """(B, 4) float: top, left, height, width of the crop as fractions of the source image; a view that was moved
    after the crop may reach beyond 0 to 1."""
    flip: Tensor | None = None
    """(B,) bool: mirrored left to right after the crop."""
    mask: Tensor | None = None
    """(B, 1, H, W) float in [0, 1], cropped and flipped like the image, where a method asked for masks."""
    flow: Tensor | None = None
    """(B, 2, H, W) float, optical flow in pixels of the view, where a method asked for flow."""
