"""Replacement of the background behind an object (arXiv 2103.12719; background mixup: arXiv 2108.00049, section 3.3).

Composition happens after crop and flip and before colours, in 0..1 pixels or normalised ones alike.
Shapes: B images, masks (B, 1, H, W) in 0..1 with 1 on the object.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def composite(image_B3HW: Tensor, mask_B1HW: Tensor, background_B3HW: Tensor) -> Tensor:
    """m x + (1 - m) b."""
    return mask_B1HW * image_B3HW + (1.0 - mask_B1HW) * background_B3HW


def usable(mask_B1HW: Tensor, least: float = 0.05, most: float = 0.9) -> Tensor:
    """(B,) whether the object covers a share of the image between the bounds; others are left as they are."""
    share_B = mask_B1HW.mean((1, 2, 3))
    return (share_B >= least) & (share_B <= most)


class Filled(NamedTuple):
    """Backgrounds with their objects painted over."""

    image: Tensor
    """(B, 3, H, W)."""
    there: Tensor
    """(B,) bool: whether there is any background outside the object's rectangle."""
    rectangle: Tensor
    """(B, 4) int64: first and last row, first and last column of the object; the whole image where it has none."""


def rectangles(mask_B1HW: Tensor, threshold: float) -> Tensor:
    """(B, 4) int64 tight rectangle of the mask's pixels from `threshold` on; the whole image where there are none."""
    hard_BHW = mask_B1HW.squeeze(1) >= threshold
    bounds = []
    for axis, size in ((2, hard_BHW.shape[1]), (1, hard_BHW.shape[2])):
        any_BS = hard_BHW.any(axis)
        first_B = any_BS.int().argmax(1)
        last_B = size - 1 - any_BS.flip(1).int().argmax(1)
        some_B = any_BS.any(1)
        bounds += [torch.where(some_B, first_B, 0), torch.where(some_B, last_B, size - 1)]
    return torch.stack(bounds, 1)


def background_only(image_B3HW: Tensor, mask_B1HW: Tensor, threshold: float = 0.2) -> Filled:
    """Each image with the rectangle of its object filled by its largest strip of background, tiled.

    Of the four full-length strips beside the rectangle the largest (above, left, right, below) is repeated along its
    normal. As published, the strips to the right and below begin with the object's last column and row, and its last
    row and column are not painted over.
    """
    height, width = image_B3HW.shape[2:]
    rectangle_B4 = rectangles(mask_B1HW, threshold)
    top_B, bottom_B, left_B, right_B = rectangle_B4.unbind(1)
    # A strip is where it starts, and how long it is, along rows (above, below) or columns (left, right).
    size_B4 = torch.stack([top_B, left_B, width - right_B, height - bottom_B], 1)
    area_B4 = torch.stack(
        [top_B * width, left_B * height, (width - 1 - right_B) * height, (height - 1 - bottom_B) * width], 1
    )
    best_B = area_B4.argmax(1)
    there_B = area_B4.amax(1) > 0
    length_B = size_B4.gather(1, best_B.unsqueeze(1)).squeeze(1).clamp_min(1)
    zero_B = torch.zeros_like(top_B)
    start_B = torch.stack([zero_B, zero_B, right_B, bottom_B], 1).gather(1, best_B.unsqueeze(1)).squeeze(1)
    along_rows_B = (best_B == 0) | (best_B == 3)
    y_H, x_W = (torch.arange(size, device=image_B3HW.device) for size in (height, width))
    tiled_y_BH = start_B.unsqueeze(1) + y_H % length_B.unsqueeze(1)
    tiled_x_BW = start_B.unsqueeze(1) + x_W % length_B.unsqueeze(1)
    from_y_BH = torch.where(along_rows_B.unsqueeze(1), tiled_y_BH, y_H).clamp(max=height - 1)
    from_x_BW = torch.where(along_rows_B.unsqueeze(1), x_W, tiled_x_BW).clamp(max=width - 1)
    rows_B = torch.arange(len(image_B3HW), device=image_B3HW.device).view(-1, 1, 1)
    tiles = image_B3HW.movedim(1, 3)[rows_B, from_y_BH.unsqueeze(2), from_x_BW.unsqueeze(1)].movedim(3, 1)
    inside_y = (y_H >= top_B.unsqueeze(1)) & (y_H < bottom_B.unsqueeze(1))
    inside_x = (x_W >= left_B.unsqueeze(1)) & (x_W < right_B.unsqueeze(1))
    inside = (inside_y.unsqueeze(2) & inside_x.unsqueeze(1) & there_B.view(-1, 1, 1)).unsqueeze(1)
    return Filled(torch.where(inside, tiles, image_B3HW), there_B, rectangle_B4)


def background_mixup(image_B3HW: Tensor, mask_B1HW: Tensor, filled: Filled, partner_B: Tensor) -> Tensor:
    """Each object on its partner's background; images without one of their own, or whose partner has none, stay."""
    mixed = composite(image_B3HW, mask_B1HW, filled.image[partner_B])
    both_B = filled.there & filled.there[partner_B]
    return torch.where(both_B.view(-1, 1, 1, 1), mixed, image_B3HW)
