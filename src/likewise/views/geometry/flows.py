"""Optical flow in a view: sampled where the view's pixels come from, rotated and scaled with the view.

Shapes: B views, N points of each, S pixels of a side; fields (3, G, G) as `likewise.data.flow.fields` keeps them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ALMOST = 0.99


def read_flow(
    field_B3GG: Tensor, box_B4: Tensor, flip_B: Tensor, points_BN2: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Flow (B, N, 2) in pixels of views of `side` px at points x, y of them, and (B, N) where it can be relied on.

    `box_B4` and `flip_B` are those of the views (`View`). A mirrored view turns right to left, an enlarged one
    stretches.
    """
    share_BN2 = (points_BN2 + 0.5) / side
    across_BN = torch.where(flip_B[:, None], 1.0 - share_BN2[..., 0], share_BN2[..., 0])
    top_B1, left_B1, height_B1, width_B1 = (part.unsqueeze(1) for part in box_B4.unbind(1))
    place_BN2 = torch.stack([left_B1 + across_BN * width_B1, top_B1 + share_BN2[..., 1] * height_B1], -1)
    grid_BN12 = (2.0 * place_BN2 - 1.0).unsqueeze(2)
    read_B3N1 = F.grid_sample(
        field_B3GG, grid_BN12.to(field_B3GG.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    read_BN3 = read_B3N1.squeeze(3).transpose(1, 2)
    turned_B1 = torch.where(flip_B[:, None], -side, side) / width_B1
    stretch_B12 = torch.stack([turned_B1, side / height_B1], -1) / field_B3GG.shape[-1]
    return read_BN3[..., :2] * stretch_B12, read_BN3[..., 2] > _ALMOST


def flow_map(field_B3GG: Tensor, box_B4: Tensor, flip_B: Tensor, side: int) -> Tensor:
    """(B, 2, S, S) the flow of all pixels of the views, in their pixels."""
    points_BN2 = all_points(side, field_B3GG.device).expand(len(field_B3GG), -1, 2)
    flow_BN2, _ = read_flow(field_B3GG, box_B4, flip_B, points_BN2, side)
    return flow_BN2.transpose(1, 2).reshape(-1, 2, side, side)


def all_points(side: int, device: torch.device | None = None) -> Tensor:
    """(1, S * S, 2) x and y of all pixels, row by row."""
    at = torch.arange(side, device=device, dtype=torch.float32)
    down, right = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([right, down], -1).reshape(1, -1, 2)
