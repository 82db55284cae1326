"""The operations of RandAugment on a batch, each image with its own operation and strength.

Values are whole numbers from 0 to 255 throughout, cut or rounded after each operation as torchvision does it for
bytes. One pass an operation, over the images that drew it; rotations, shears and moves share one.

Shapes: N images that drew an operation, L operations for each image, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from likewise.views.devices import onto
from likewise.views.policies.operations import Operation

_TOP = 255.0
_GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in torchvision's grey value."""
_ROUNDING = 1e-3


def operate_(image_B3HW: Tensor, choices: Sequence[Operation], chosen_BL: Tensor, strength_BL: Tensor) -> Tensor:
    """Carry out the chosen operations on images in [0, 1], in place where any is; returns the images.

    `chosen_BL` holds positions in `choices`, -1 for none, and `strength_BL` (float64) what each operation takes; both
    are on the CPU. Images with an operation are rounded to 8 bits before it.
    """
    rows_N = (chosen_BL >= 0).any(dim=1).nonzero().squeeze(1)
    if len(rows_N) == 0:
        return image_B3HW
    there_N = onto(rows_N, image_B3HW.device)
    levels_N3HW = image_B3HW.index_select(0, there_N).mul_(_TOP).round_()
    for chosen_N, strength_N in zip(chosen_BL[rows_N].unbind(1), strength_BL[rows_N].unbind(1), strict=True):
        _one_each_(levels_N3HW, choices, chosen_N, strength_N)
    return image_B3HW.index_copy_(0, there_N, levels_N3HW.div_(_TOP))


def _one_each_(levels_N3HW: Tensor, choices: Sequence[Operation], chosen_N: Tensor, strength_N: Tensor) -> None:
    """One operation for every image that has one, in place."""
    height, width = levels_N3HW.shape[2:]
    matrices_N23 = torch.eye(2, 3, dtype=torch.float64).repeat(len(chosen_N), 1, 1)
    bent_N = torch.zeros(len(chosen_N), dtype=torch.bool)
    for number, choice in enumerate(choices):
        drawn_N = chosen_N == number
        if choice.name == "identity" or not bool(drawn_N.any()):
            continue
        strength_M = strength_N[drawn_N]
        if (bend := _BENDS.get(choice.name)) is not None:
            matrices_N23[drawn_N] = bend(strength_M, height, width)
            bent_N |= drawn_N
            continue
        rows_M = onto(drawn_N.nonzero().squeeze(1), levels_N3HW.device)
        changed_M3HW = _CHANGES[choice.name](levels_N3HW.index_select(0, rows_M), strength_M.view(-1, 1, 1, 1))
        levels_N3HW.index_copy_(0, rows_M, changed_M3HW)
    if bool(bent_N.any()):
        rows_M = onto(bent_N.nonzero().squeeze(1), levels_N3HW.device)
        levels_N3HW.index_copy_(0, rows_M, _resampled(levels_N3HW.index_select(0, rows_M), matrices_N23[bent_N]))


# Values ------------------------------------------------------------------------------------------------------------


def _mixed(levels: Tensor, other: Tensor | float, factor_N111: Tensor) -> Tensor:
    """`factor` parts of one and the rest of the other, cut to whole numbers from 0 to 255."""
    factor, rest = (onto(part.float(), levels.device) for part in (factor_N111, 1.0 - factor_N111))
    return (levels * factor + rest * other).clamp_(0.0, _TOP).floor_()


def _grey(levels_N3HW: Tensor) -> Tensor:
    """(N, 1, H, W) grey values, cut to whole numbers."""
    red, green, blue = levels_N3HW.unbind(1)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue).floor_().unsqueeze(1)


def _brightness(levels: Tensor, factor: Tensor) -> Tensor:
    return _mixed(levels, 0.0, factor)


def _contrast(levels: Tensor, factor: Tensor) -> Tensor:
    return _mixed(levels, _grey(levels).mean(dim=(1, 2, 3), keepdim=True), factor)


def _colour(levels: Tensor, factor: Tensor) -> Tensor:
    return _mixed(levels, _grey(levels), factor)


def _sharpness(levels_N3HW: Tensor, factor: Tensor) -> Tensor:
    """Away from a smoothed copy, or towards it; its outermost pixels are not smoothed."""
    if min(levels_N3HW.shape[2:]) <= 2:
        return levels_N3HW
    three = levels_N3HW[:, :, :-2] + levels_N3HW[:, :, 1:-1] + levels_N3HW[:, :, 2:]
    nine = three[..., :-2] + three[..., 1:-1] + three[..., 2:]
    smooth = levels_N3HW.clone()
    inner = smooth[:, :, 1:-1, 1:-1]
    inner.mul_(4.0).add_(nine).div_(13.0).round_()  # Pillow's filter: 5 for the pixel itself, 1 for each neighbour
    return _mixed(levels_N3HW, smooth, factor)


def _invert(levels: Tensor, _: Tensor) -> Tensor:
    return _TOP - levels


def _solarise(levels: Tensor, threshold: Tensor) -> Tensor:
    level = onto((threshold * _TOP - _ROUNDING).float(), levels.device)
    return torch.where(levels >= level, _TOP - levels, levels)


def _posterise(levels: Tensor, bits: Tensor) -> Tensor:
    step = onto(torch.exp2(8.0 - bits.round()).float(), levels.device)
    return levels - levels.remainder(step)


def _autocontrast(levels: Tensor, _: Tensor) -> Tensor:
    """Each channel stretched so that its least value is 0 and its greatest 255."""
    least, most = levels.amin(dim=(2, 3), keepdim=True), levels.amax(dim=(2, 3), keepdim=True)
    flat = most == least
    scale = torch.where(flat, 1.0, _TOP / (most - least))
    return ((levels - torch.where(flat, 0.0, least)) * scale).clamp_(0.0, _TOP).floor_()


def _equalise(levels_N3HW: Tensor, _: Tensor) -> Tensor:
    """Each channel so that its values are spread evenly, as Pillow does it with whole numbers."""
    value_XP = levels_N3HW.flatten(2).flatten(0, 1).to(torch.int64)
    count_XV = torch.zeros((len(value_XP), 256), dtype=torch.int64, device=value_XP.device)
    count_XV.scatter_add_(1, value_XP, torch.ones_like(value_XP))
    last_X1 = count_XV.gather(1, value_XP.amax(dim=1, keepdim=True))
    step_X1 = (value_XP.shape[1] - last_X1) // 255
    below_XV = count_XV.cumsum(dim=1) - count_XV
    table_XV = ((below_XV + step_X1 // 2) // step_X1.clamp(min=1)).clamp_(0, 255)
    even_XP = torch.where(step_X1 == 0, value_XP, table_XV.gather(1, value_XP))
    return even_XP.to(levels_N3HW.dtype).view_as(levels_N3HW)


_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "autocontrast": _autocontrast,
    "equalise": _equalise,
    "invert": _invert,
    "posterise": _posterise,
    "solarise": _solarise,
    "brightness": _brightness,
    "contrast": _contrast,
    "colour": _colour,
    "sharpness": _sharpness,
}
"""Images (M, 3, H, W) on their device and strengths (M, 1, 1, 1) on the CPU -> images."""


# Places ------------------------------------------------------------------------------------------------------------


def _rotate(degrees_M: Tensor, height: int, width: int) -> Tensor:
    """About the middle."""
    angle_M = torch.deg2rad(degrees_M)
    cos, sin, none = angle_M.cos(), angle_M.sin(), torch.zeros_like(angle_M)
    return torch.stack([cos, -sin, none, sin, cos, none], dim=1).view(-1, 2, 3)


def _shear_across(slope_M: Tensor, height: int, width: int) -> Tensor:
    """The top row stays."""
    return _unbent({(0, 1): slope_M, (0, 2): slope_M * height / 2})


def _shear_down(slope_M: Tensor, height: int, width: int) -> Tensor:
    """The left column stays."""
    return _unbent({(1, 0): slope_M, (1, 2): slope_M * width / 2})


def _move_across(share_M: Tensor, height: int, width: int) -> Tensor:
    return _unbent({(0, 2): -(share_M * width).trunc()})


def _move_down(share_M: Tensor, height: int, width: int) -> Tensor:
    return _unbent({(1, 2): -(share_M * height).trunc()})


def _unbent(entries: dict[tuple[int, int], Tensor]) -> Tensor:
    """(M, 2, 3) matrices that change nothing, but for these entries (M,) by row and column."""
    like_M = next(iter(entries.values()))
    matrices_M23 = torch.eye(2, 3, dtype=like_M.dtype).repeat(len(like_M), 1, 1)
    for (row, column), value_M in entries.items():
        matrices_M23[:, row, column] = value_M
    return matrices_M23


_BENDS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "rotate": _rotate,
    "shear_across": _shear_across,
    "shear_down": _shear_down,
    "move_across": _move_across,
    "move_down": _move_down,
}
"""Strengths (M,), height and width -> (M, 2, 3): where in the image, in pixels from its middle (right, down), the pixel
is found that is shown at (right, down)."""


def _resampled(levels_M3HW: Tensor, matrices_M23: Tensor) -> Tensor:
    """The nearest pixel at each place that the matrices say, and 0 beyond the border."""
    height, width = levels_M3HW.shape[2:]
    device = levels_M3HW.device
    right_W = torch.arange(width, device=device, dtype=torch.float32) + (0.5 - width / 2)
    down_H = torch.arange(height, device=device, dtype=torch.float32) + (0.5 - height / 2)
    shape = (height, width)
    place_X3 = torch.stack(
        [right_W.expand(shape), down_H.unsqueeze(1).expand(shape), torch.ones(shape, device=device)], dim=2
    ).view(1, -1, 3)
    halves = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    there_M32 = onto((matrices_M23.transpose(1, 2) / halves).float(), device)
    grid_MHW2 = torch.matmul(place_X3, there_M32).view(-1, height, width, 2)
    return functional.grid_sample(levels_M3HW, grid_MHW2, mode="nearest", padding_mode="zeros", align_corners=False)
