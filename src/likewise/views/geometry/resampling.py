"""Crop, flip and resize in one sampling, antialiased where it shrinks.

An axis is resampled by a small matrix per image: row i holds the weights with which the source pixels make output
pixel i. The weights are those of Pillow and of `interpolate(antialias=True)`: a triangle (or Keys' cubic, a = -1/2)
around the place of the output pixel, as wide as an output pixel where the image shrinks, cut off at the box and
scaled to sum 1. Since the matrices differ freely between images, ragged sizes, boxes and flips cost nothing extra.

Two ways to the same numbers:

- `by_matrices`: two batched matrix products for the whole batch. Fastest for small images, and on accelerators.
- `by_images`: PyTorch's own resize, one box at a time. On a processor it wins for large images, where the matrices
  would consist of zeros. For 8-bit images its result is rounded to 8 bits, as Pillow's is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from likewise.views.devices import onto
from likewise.views.drawing import Geometry
from likewise.views.policies.policy import Filter


def axis_weights(
    start_B: Tensor, length_B: Tensor, count: int, size: int, *, mirror_B: Tensor | None = None, interpolation: Filter
) -> Tensor:
    """Matrices that resample boxes of one axis: (B, size, count), rows sum to 1.

    `start_B` and `length_B` give each box in source pixels, `count` is the number of source pixels on the axis, `size`
    that of output pixels. `mirror_B` (bool) reverses the output.
    """
    device = start_B.device
    start_B11, length_B11 = (part.to(torch.float32).view(-1, 1, 1) for part in (start_B, length_B))
    out_1S1 = torch.arange(size, device=device, dtype=torch.float32).view(1, -1, 1) + 0.5
    out_BS1 = out_1S1 if mirror_B is None else torch.where(mirror_B.view(-1, 1, 1), size - out_1S1, out_1S1)
    source_11N = torch.arange(count, device=device, dtype=torch.float32).view(1, 1, -1) + 0.5
    step_B11 = length_B11 / size
    width_B11 = step_B11.clamp(min=1.0)
    distance_BSN = ((source_11N - start_B11) / width_B11 - out_BS1 * (step_B11 / width_B11)).abs_()
    weight_BSN = _triangle_(distance_BSN) if interpolation == "bilinear" else _cubic(distance_BSN)
    inside_B1N = (source_11N > start_B11) & (source_11N < start_B11 + length_B11)
    weight_BSN *= inside_B1N
    return weight_BSN.div_(weight_BSN.sum(dim=2, keepdim=True))


def _triangle_(distance: Tensor) -> Tensor:
    """max(0, 1 - distance), in place."""
    return distance.neg_().add_(1.0).clamp_(min=0.0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (IEEE TASSP 29, 1981, equation 15)."""
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return torch.where(distance < 1.0, near, torch.where(distance < 2.0, far, 0.0))


def by_matrices(
    pixels_BCHW: Tensor, geometry: Geometry, size: int, interpolation: Filter, scale: float = 1.0
) -> Tensor:
    """Resample boxes by two batched products. `pixels_BCHW` is float32, values are multiplied by `scale`.

    Returns (B, C, size, size) float32.
    """
    batch, channels, height, width = pixels_BCHW.shape
    top_B, left_B, h_B, w_B = onto(geometry.box, pixels_BCHW.device).unbind(1)
    flip_B = onto(geometry.flip, pixels_BCHW.device)
    across_BSW = axis_weights(left_B, w_B, width, size, mirror_B=flip_B, interpolation=interpolation)
    down_BSH = axis_weights(top_B, h_B, height, size, interpolation=interpolation)
    if scale != 1.0:
        down_BSH *= scale
    rows_BXW = pixels_BCHW.reshape(batch, channels * height, width)
    narrow_BCHS = torch.bmm(rows_BXW, across_BSW.transpose(1, 2)).view(batch, channels, height, size)
    return torch.matmul(down_BSH.unsqueeze(1), narrow_BCHS)


def by_images(pixels_BHWC: Tensor, geometry: Geometry, size: int, interpolation: Filter) -> Tensor:
    """Resample boxes one image at a time. `pixels_BHWC` is uint8 or float on the CPU.

    Returns (B, C, size, size) of the same type.
    """
    batch, _, _, channels = pixels_BHWC.shape
    out_BCSS = pixels_BHWC.new_empty((batch, channels, size, size))
    boxes, flips = geometry.box.tolist(), geometry.flip.tolist()
    for pixels_HWC, (top, left, height, width), flip, out_CSS in zip(pixels_BHWC, boxes, flips, out_BCSS, strict=True):
        box_1CHW = pixels_HWC[top : top + height, left : left + width].permute(2, 0, 1).unsqueeze(0)
        view_1CSS = functional.interpolate(box_1CHW, (size, size), mode=interpolation, antialias=True)
        out_CSS.copy_(view_1CSS[0].flip(-1) if flip else view_1CSS[0])
    return out_BCSS
