"""Crop boxes: the rectangle of each image that is shown, in whole pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likewise.views.policies.policy import Centre, Crop

ATTEMPTS = 10
"""Rectangles that are tried before the largest allowed one in the middle is taken, as in torchvision."""


def random_boxes(area_BA: Tensor, ratio_BA: Tensor, place_B2: Tensor, sizes_B2: Tensor, crop: Crop) -> Tensor:
    """Random rectangles with the distribution of torchvision's RandomResizedCrop.

    `area_BA` and `ratio_BA` hold the uniform numbers in [0, 1) of A attempts, `place_B2` those for the row and column;
    all are float64 on the CPU. `sizes_B2` holds height and width of the images. Per image the first attempt that
    fits is taken: area uniform in `crop.scale`, ratio log-uniform in `crop.ratio`, sides rounded to whole pixels,
    every position equally likely. Where none fits it is the largest rectangle in the middle whose ratio is allowed.

    Returns (B, 4) int64: top, left, height, width in pixels, always within the image.
    """
    height_B1, width_B1 = sizes_B2.to(torch.float64).unsqueeze(2).unbind(1)
    low, high = crop.scale
    target_BA = height_B1 * width_B1 * (low + (high - low) * area_BA)
    low, high = (math.log(bound) for bound in crop.ratio)
    aspect_BA = torch.exp(low + (high - low) * ratio_BA)
    w_BA = (target_BA * aspect_BA).sqrt_().round_()
    h_BA = (target_BA / aspect_BA).sqrt_().round_()
    fits_BA = (w_BA >= 1) & (w_BA <= width_B1) & (h_BA >= 1) & (h_BA <= height_B1)
    first_B1 = fits_BA.to(torch.uint8).argmax(dim=1, keepdim=True)  # of equal values argmax takes the first
    size_B2 = torch.cat([h_BA.gather(1, first_B1), w_BA.gather(1, first_B1)], dim=1)
    spare_B2 = sizes_B2 - size_B2
    corner_B2 = (place_B2 * (spare_B2 + 1)).floor_().minimum(spare_B2)
    box_B4 = torch.cat([corner_B2, size_B2], dim=1).to(torch.int64)
    return torch.where(fits_BA.any(dim=1, keepdim=True), box_B4, _largest_in_the_middle(sizes_B2, crop))


def _largest_in_the_middle(sizes_B2: Tensor, crop: Crop) -> Tensor:
    """The largest middle rectangle of each image with an allowed ratio. Returns (B, 4) int64."""
    height_B, width_B = sizes_B2.to(torch.float64).unbind(1)
    narrowest, widest = crop.ratio
    h_B = torch.minimum(height_B, (width_B / narrowest).round_()).clamp_(min=1)
    w_B = torch.minimum(width_B, (height_B * widest).round_()).clamp_(min=1)
    size_B2 = torch.stack([h_B, w_B], dim=1).to(torch.int64)
    return torch.cat([(sizes_B2 - size_B2) // 2, size_B2], dim=1)


def centre_boxes(sizes_B2: Tensor, centre: Centre) -> Tensor:
    """The middle square whose side is `centre.fraction` of the shorter side, rounded. Returns (B, 4) int64."""
    side_B1 = (sizes_B2.amin(dim=1, keepdim=True) * centre.fraction).round_().clamp_(min=1).to(torch.int64)
    size_B2 = side_B1.expand(-1, 2)
    return torch.cat([(sizes_B2 - size_B2) // 2, size_B2], dim=1)
