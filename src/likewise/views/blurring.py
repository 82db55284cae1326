"""Gaussian blur with a deviation of its own for every picture, one axis after the other.

The kernel reaches to three deviations and beyond the border the outermost pixels go on, as in Pillow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_REACH = 3.0
"""Half width of the kernel in deviations: 99.7 % of the Gaussian."""
_MATRIX_LIMIT = 96
"""Sides in pixels up to which a processor blurs by matrix products: beyond, these are mostly zeros."""


def blur(image_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Blur each picture with its own deviation in pixels, above 0. `sigma_B` is on the CPU.

    Returns a new (B, C, H, W) tensor.
    """
    if image_BCHW.device.type != "cpu" or max(image_BCHW.shape[2:]) <= _MATRIX_LIMIT:
        return _blur_by_matrices(image_BCHW, sigma_B)
    blurred = [_blur_by_shifts(image, sigma) for image, sigma in zip(image_BCHW, sigma_B.tolist(), strict=True)]
    return torch.stack(blurred)


def blur_matrices(sigma_B: Tensor, side: int) -> Tensor:
    """Matrices that blur one axis of `side` pixels: (B, side, side), rows sum to 1."""
    reach = max(side, math.ceil(_REACH * float(sigma_B.max())) + 1)
    tap_BD = kernel(sigma_B, reach)
    pixel_N = torch.arange(side, device=sigma_B.device)
    distance_X = (pixel_N.unsqueeze(1) - pixel_N).abs_().flatten()
    weight_BNN = tap_BD.index_select(1, distance_X).view(-1, side, side)
    beyond_BN = (tap_BD.sum(dim=1, keepdim=True) - tap_BD.cumsum(dim=1))[:, :side]  # falls outside: the border has it
    weight_BNN[:, :, 0] += beyond_BN
    weight_BNN[:, :, -1] += beyond_BN.flip(1)
    return weight_BNN


def kernel(sigma_B: Tensor, count: int) -> Tensor:
    """One half of each kernel: (B, `count`) weights by distance in pixels. Both halves together sum to 1."""
    sigma_B1 = sigma_B.to(torch.float32).unsqueeze(1)
    distance_1D = torch.arange(count, device=sigma_B.device, dtype=torch.float32).unsqueeze(0)
    weight_BD = torch.exp(-0.5 * (distance_1D / sigma_B1) ** 2) * (distance_1D <= torch.ceil(_REACH * sigma_B1))
    return weight_BD / (2.0 * weight_BD.sum(dim=1, keepdim=True) - weight_BD[:, :1])


def _blur_by_matrices(image_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Two batched products for all pictures at once."""
    batch, channels, height, width = image_BCHW.shape
    sigma_B = sigma_B.to(image_BCHW.device)
    down_BHH = blur_matrices(sigma_B, height)
    across_BWW = down_BHH if height == width else blur_matrices(sigma_B, width)
    rows_BXW = image_BCHW.reshape(batch, channels * height, width)
    smooth_BCHW = torch.bmm(rows_BXW, across_BWW.transpose(1, 2)).view_as(image_BCHW)
    return torch.matmul(down_BHH.unsqueeze(1), smooth_BCHW)


def _blur_by_shifts(image_CHW: Tensor, sigma: float) -> Tensor:
    """One picture as a weighted sum of shifted copies: the work grows with the kernel, not with the picture's side."""
    radius = math.ceil(_REACH * sigma)
    taps = kernel(torch.tensor([sigma]), radius + 1)[0].tolist()
    for axis in (1, 2):
        side = image_CHW.shape[axis]
        wide = _extended(image_CHW, axis, radius)
        image_CHW = wide.narrow(axis, radius, side) * taps[0]
        for shift, tap in enumerate(taps[1:], start=1):
            image_CHW.add_(wide.narrow(axis, radius - shift, side), alpha=tap)
            image_CHW.add_(wide.narrow(axis, radius + shift, side), alpha=tap)
    return image_CHW


def _extended(image_CHW: Tensor, axis: int, radius: int) -> Tensor:
    """The picture with `radius` copies of its outermost pixels on both ends of an axis."""
    first, last = image_CHW.narrow(axis, 0, 1), image_CHW.narrow(axis, -1, 1)
    shape = [radius if n == axis else length for n, length in enumerate(image_CHW.shape)]
    return torch.cat([first.expand(shape), image_CHW, last.expand(shape)], dim=axis)
