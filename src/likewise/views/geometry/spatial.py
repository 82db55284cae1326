"""The first half of a view: crop, flip and resize.

Colours come after (`photometry`), so that a method can paste, mask or mix images between the two. Masks and optical
flow take the same path with the same geometry.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from likewise.views.devices import onto
from likewise.views.drawing import Geometry
from likewise.views.geometry.resampling import by_images, by_matrices
from likewise.views.geometry.shifting import moved, moved_flow
from likewise.views.policies.policy import Filter

_CACHE_BYTES = 2**21
"""Working set per thread of a processor: the passes over a few images then stay in its caches."""
_DEVICE_BYTES = 2**28
"""Working set of an accelerator: large enough to fill it, small beside its memory."""
_MATRIX_LIMIT = 2**17
"""Multiplications per channel and image up to which a processor resamples by matrix products."""


def row_chunks(batch: int, values_each: int, device: torch.device) -> Iterator[slice]:
    """Rows of a batch in groups small enough to stay near the arithmetic; `values_each` floats belong to each row."""
    room = _CACHE_BYTES * torch.get_num_threads() if device.type == "cpu" else _DEVICE_BYTES
    count = max(1, room // (4 * values_each))
    for first in range(0, batch, count):
        yield slice(first, min(first + count, batch))


class Cropper:
    """Some images of which several crops are taken: what the crops share is computed once."""

    def __init__(self, pixels_BHWC: Tensor) -> None:
        """`pixels_BHWC` is uint8 or float, padded to equal size."""
        self._pixels_BHWC = pixels_BHWC
        self._floats_BCHW: Tensor | None = None

    def crop(self, geometry: Geometry, size: int, *, interpolation: Filter = "bilinear") -> Tensor:
        """Crops and flips: a new (B, C, size, size) float tensor, in [0, 1] where the images are uint8."""
        pixels_BHWC = self._pixels_BHWC
        scale = 1.0 / 255.0 if pixels_BHWC.dtype == torch.uint8 else 1.0
        small_B = matrices_are_faster(geometry.sizes, size, pixels_BHWC.device)
        if bool(small_B.any()) and not bool(small_B.all()):
            return self._by_kind(geometry, size, small_B, interpolation)
        if bool(small_B.all()):
            view_BCSS = by_matrices(self._floats(), geometry, size, interpolation, scale)
        else:
            view_BCSS = by_images(pixels_BHWC, geometry, size, interpolation).to(torch.float32)
            if scale != 1.0:
                view_BCSS.mul_(scale)
        if interpolation == "bicubic" and scale != 1.0:
            view_BCSS.clamp_(0.0, 1.0)  # the cubic overshoots at edges
        return view_BCSS if geometry.shift is None else moved(view_BCSS, geometry.shift, geometry.fill)

    def _by_kind(self, geometry: Geometry, size: int, small_B: Tensor, interpolation: Filter) -> Tensor:
        """Small images and others apart: what an image looks like does not depend on those beside it."""
        batch, _, _, channels = self._pixels_BHWC.shape
        out_BCSS = torch.empty((batch, channels, size, size), dtype=torch.float32)
        for chosen_B in (small_B, ~small_B):
            rows_N = chosen_B.nonzero().squeeze(1)
            part = Cropper(self._pixels_BHWC[rows_N])
            out_BCSS[rows_N] = part.crop(geometry.rows(rows_N), size, interpolation=interpolation)
        return out_BCSS

    def _floats(self) -> Tensor:
        """The images as (B, C, H, W) floats, converted at the first call."""
        if self._floats_BCHW is None:
            # Reordered while still bytes, converted in memory order: half the time of doing both at once.
            self._floats_BCHW = self._pixels_BHWC.permute(0, 3, 1, 2).contiguous().to(torch.float32)
        return self._floats_BCHW


def matrices_are_faster(sizes_B2: Tensor, size: int, device: torch.device) -> Tensor:
    """(B,) bool on the CPU: whether matrix products beat a resize of its own for images of these heights and widths."""
    if device.type != "cpu":
        return torch.ones(len(sizes_B2), dtype=torch.bool)
    height_B, width_B = sizes_B2.unbind(1)
    return height_B * size * (width_B + size) <= _MATRIX_LIMIT


@torch.no_grad()
def crop_and_flip(pixels_BHWC: Tensor, geometry: Geometry, size: int, *, interpolation: Filter = "bilinear") -> Tensor:
    """Cut the boxes out of the images, mirror them where the geometry says, resize them with antialiasing, move them.

    `pixels_BHWC` is uint8 or float, padded at the bottom and at the right to equal size. Returns a new
    (B, C, size, size) float32 tensor on the same device, in [0, 1] where the images are uint8. On a processor,
    large uint8 images are rounded to 8 bits after resizing, as Pillow does.
    """
    batch, height, width, channels = pixels_BHWC.shape
    out_BCSS = torch.empty((batch, channels, size, size), dtype=torch.float32, device=pixels_BHWC.device)
    values_each = channels * working_pixels(height, width, [size])
    with torch.autocast(pixels_BHWC.device.type, enabled=False):
        for rows in row_chunks(batch, values_each, pixels_BHWC.device):
            out_BCSS[rows] = Cropper(pixels_BHWC[rows]).crop(geometry.rows(rows), size, interpolation=interpolation)
    return out_BCSS


def working_pixels(height: int, width: int, sizes: list[int]) -> int:
    """Pixels of the larger of the source image and its views: what one row of a batch occupies at a time."""
    return max(height * width, *(size * size for size in sizes))


def crop_and_flip_mask(mask_BHW: Tensor, geometry: Geometry, size: int) -> Tensor:
    """Masks of the same images, cut like them: (B, H, W) in [0, 1], any type, to (B, 1, size, size) float32."""
    return crop_and_flip(mask_BHW.to(torch.float32).unsqueeze(-1), geometry, size).clamp_(0.0, 1.0)


def crop_and_flip_flow(flow_B2HW: Tensor, geometry: Geometry, size: int) -> Tensor:
    """Optical flow of the same images, cut like them, in pixels of the view.

    `flow_B2HW` holds the motion to the right and downwards in source pixels. A resized view stretches it, a mirrored
    one, or a border filled by mirroring, turns right to left. Returns (B, 2, size, size) float32.
    """
    still = geometry._replace(shift=None)
    view_B2SS = crop_and_flip(flow_B2HW.permute(0, 2, 3, 1).to(torch.float32), still, size)
    if geometry.shift is not None:
        view_B2SS = moved_flow(view_B2SS, geometry.shift, geometry.fill)
    _, _, height_B, width_B = geometry.box.unbind(1)
    stretch_B2 = torch.stack([torch.where(geometry.flip, -size, size) / width_B, size / height_B], dim=1)
    return view_B2SS.mul_(onto(stretch_B2, view_B2SS.device).view(-1, 2, 1, 1))
