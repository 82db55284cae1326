"""One region of each image that crops are taken from: a box around an object, say.

Shapes: B images, R regions that an image has at most.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.errors import InputError


def checked_regions(regions: Tensor, batch: int) -> Tensor:
    """(B, R, 4) float64 on the CPU, of (B, R, 4) or (B, 4). Raises InputError for other shapes."""
    if regions.dim() not in {2, 3} or len(regions) != batch or regions.shape[-1] != 4:
        raise InputError(
            f"regions of {batch} images have the shape ({batch}, R, 4) or ({batch}, 4), found {tuple(regions.shape)}"
        )
    return regions.to("cpu", torch.float64).view(batch, -1, 4)


def chosen_boxes(regions_BR4: Tensor, uniform_B: Tensor, sizes_B2: Tensor) -> Tensor:
    """One region of each image, in whole pixels; each of its regions is equally likely.

    `regions_BR4` holds top, left, height and width as fractions of the image; a region whose height or width is not
    above 0 (or not a number) is none. Images without any get the whole. Returns (B, 4) int64, at least one pixel in
    height and width, always within the image.
    """
    is_one_BR = (regions_BR4[..., 2:] > 0).all(dim=2)
    count_B = is_one_BR.sum(dim=1)
    wanted_B = torch.minimum((uniform_B * count_B).floor(), (count_B - 1).clamp(min=0)).to(torch.int64)
    rank_BR = is_one_BR.to(torch.int64).cumsum(dim=1) - 1
    place_B = (is_one_BR & (rank_BR == wanted_B.unsqueeze(1))).to(torch.uint8).argmax(dim=1)
    region_B4 = regions_BR4[torch.arange(len(place_B)), place_B]
    whole_B4 = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64).expand(len(place_B), 4)
    region_B4 = torch.where((count_B > 0).unsqueeze(1), region_B4, whole_B4)
    begin_B2 = torch.minimum((region_B4[:, :2] * sizes_B2).round().clamp_(min=0.0), sizes_B2 - 1.0)
    end_B2 = torch.minimum((region_B4[:, :2] + region_B4[:, 2:]).mul(sizes_B2).round(), sizes_B2.to(torch.float64))
    size_B2 = (end_B2 - begin_B2).clamp_(min=1.0)
    return torch.cat([begin_B2, size_B2], dim=1).to(torch.int64)
