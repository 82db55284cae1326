"""Gaussian blur with a standard deviation for every image, one axis after the other.

As in Pillow, which the recipes of the papers call, the Gaussian is three box filters in a row. A box of l pixels on
each side of the middle, with a last pixel of weight a < 1 beyond them, has any variance that is asked for (Gwosdek et
al., "Theoretical foundations of Gaussian convolution by extended box filtering", SSVM 2011), so small deviations blur
as much as they say; a Gaussian merely sampled at whole pixels does nothing below a third of a pixel. Beyond the border
the outermost pixels go on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from likewise.views.devices import onto

_PASSES = 3
"""Box filters in a row."""
_NOTHING = 1e-6
"""Weights up to this are rounding errors of the transform, or too small to see."""
_MATRIX_LIMIT = 96
"""Sides in pixels up to which a processor blurs by matrix products: beyond, these are mostly zeros."""


def blur(image_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Blur each image with its own deviation in pixels, above 0. `sigma_B` is on the CPU.

    Returns a new (B, C, H, W) tensor.
    """
    if image_BCHW.device.type != "cpu" or max(image_BCHW.shape[2:]) <= _MATRIX_LIMIT:
        return _blur_by_matrices(image_BCHW, sigma_B)
    taps = [tap_D[tap_D > 0].tolist() for tap_D in kernels(sigma_B)]
    return torch.stack([_blur_by_shifts(image, weights) for image, weights in zip(image_BCHW, taps, strict=True)])


def kernels(sigma_B: Tensor) -> Tensor:
    """One half of each kernel: (B, D) weights by distance in pixels, 0 beyond its end; both halves together sum to 1.

    With s = sigma^2 / 3 the variance of one box, l is the widest plain box within it and a makes up what is missing.
    The three boxes are joined in the Fourier domain, where this is a cube.
    """
    variance_B1 = sigma_B.to(torch.float32).square().unsqueeze(1) / _PASSES
    side_B1 = ((torch.sqrt(12.0 * variance_B1 + 1.0) - 1.0) / 2.0).floor_()
    missing_B1 = variance_B1 - side_B1 * (side_B1 + 1.0) / 3.0
    last_B1 = (2.0 * side_B1 + 1.0) * missing_B1 / (2.0 * ((side_B1 + 1.0).square() - variance_B1))
    count = _PASSES * (int(side_B1.max()) + 1) + 1
    distance_D = torch.arange(count, dtype=torch.float32, device=sigma_B.device)
    box_BD = torch.where(distance_D <= side_B1, 1.0, torch.where(distance_D == side_B1 + 1.0, last_B1, 0.0))
    box_BD = _summing_to_one(box_BD)
    frequency_F = torch.arange(2 * count, dtype=torch.float32, device=sigma_B.device) * (math.pi / count)
    wave_FD = torch.outer(frequency_F, distance_D).cos_()
    spectrum_BF = 2.0 * (box_BD @ wave_FD.T) - box_BD[:, :1]
    weight_BD = spectrum_BF.pow_(_PASSES) @ wave_FD
    return _summing_to_one(torch.where(weight_BD > _NOTHING, weight_BD, 0.0))


def _summing_to_one(half_BD: Tensor) -> Tensor:
    """Halves of symmetric kernels, scaled so that both halves together sum to 1."""
    return half_BD / (2.0 * half_BD.sum(dim=1, keepdim=True) - half_BD[:, :1])


def blur_matrices(tap_BD: Tensor, side: int) -> Tensor:
    """Matrices that blur one axis of `side` pixels with the given kernels: (B, side, side), rows sum to 1."""
    tap_BD = functional.pad(tap_BD, (0, max(0, side - tap_BD.shape[1])))
    pixel_N = torch.arange(side, device=tap_BD.device)
    distance_X = (pixel_N.unsqueeze(1) - pixel_N).abs_().flatten()
    weight_BNN = tap_BD.index_select(1, distance_X).view(-1, side, side)
    beyond_BN = (tap_BD.sum(dim=1, keepdim=True) - tap_BD.cumsum(dim=1))[:, :side]  # falls outside: the border has it
    weight_BNN[:, :, 0] += beyond_BN
    weight_BNN[:, :, -1] += beyond_BN.flip(1)
    return weight_BNN


def _blur_by_matrices(image_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Two batched products for all images at once."""
    batch, channels, height, width = image_BCHW.shape
    tap_BD = onto(kernels(sigma_B), image_BCHW.device)
    down_BHH = blur_matrices(tap_BD, height)
    across_BWW = down_BHH if height == width else blur_matrices(tap_BD, width)
    rows_BXW = image_BCHW.reshape(batch, channels * height, width)
    smooth_BCHW = torch.bmm(rows_BXW, across_BWW.transpose(1, 2)).view_as(image_BCHW)
    return torch.matmul(down_BHH.unsqueeze(1), smooth_BCHW)


def _blur_by_shifts(image_CHW: Tensor, taps: list[float]) -> Tensor:
    """One image as a weighted sum of shifted copies: the work grows with the kernel, not with the image's side."""
    radius = len(taps) - 1
    for axis in (1, 2):
        side = image_CHW.shape[axis]
        wide = _extended(image_CHW, axis, radius)
        image_CHW = wide.narrow(axis, radius, side) * taps[0]
        for shift, tap in enumerate(taps[1:], start=1):
            image_CHW.add_(wide.narrow(axis, radius - shift, side), alpha=tap)
            image_CHW.add_(wide.narrow(axis, radius + shift, side), alpha=tap)
    return image_CHW


def _extended(image_CHW: Tensor, axis: int, radius: int) -> Tensor:
    """The image with `radius` copies of its outermost pixels on both ends of an axis."""
    first, last = image_CHW.narrow(axis, 0, 1), image_CHW.narrow(axis, -1, 1)
    shape = [radius if n == axis else length for n, length in enumerate(image_CHW.shape)]
    return torch.cat([first.expand(shape), image_CHW, last.expand(shape)], dim=axis)
