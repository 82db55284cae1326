"""Views moved by whole pixels, the free border filled, each by its own distance."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.views.devices import onto
from likewise.views.policies.policy import Fill


def moved(view_BCSS: Tensor, shift_B2: Tensor, fill: Fill) -> Tensor:
    """Move each view down and to the right by `shift_B2` shares of its side (at most half), rounded to whole pixels.

    Returns a new contiguous tensor.
    """
    rows_BS, cols_BS = (_sources(share_B, view_BCSS) for share_B in shift_B2.unbind(1))
    if fill == "zero":
        seen_BSS = _is_inside(rows_BS).unsqueeze(2) & _is_inside(cols_BS).unsqueeze(1)
        return _gathered(view_BCSS, rows_BS, cols_BS).mul_(seen_BSS.unsqueeze(1))
    return _gathered(view_BCSS, rows_BS, cols_BS)


def moved_flow(flow_B2SS: Tensor, shift_B2: Tensor, fill: Fill) -> Tensor:
    """`moved` for optical flow: in the mirrored border, what moved towards the edge moves away from it."""
    view_B2SS = moved(flow_B2SS, shift_B2, fill)
    if fill == "zero":
        return view_B2SS
    rows_BS, cols_BS = (_sources(share_B, flow_B2SS) for share_B in shift_B2.unbind(1))
    view_B2SS[:, 0].mul_(torch.where(_is_inside(cols_BS), 1.0, -1.0).unsqueeze(1))
    view_B2SS[:, 1].mul_(torch.where(_is_inside(rows_BS), 1.0, -1.0).unsqueeze(2))
    return view_B2SS


def _sources(share_B: Tensor, view_BCSS: Tensor) -> Tensor:
    """(B, S) the row or column that each one of the moved view comes from, from below 0 to above S - 1."""
    side = view_BCSS.shape[-1]
    pixels_B1 = onto((share_B * side).round().to(torch.int64), view_BCSS.device).unsqueeze(1)
    return torch.arange(side, device=view_BCSS.device) - pixels_B1


def _is_inside(source_BS: Tensor) -> Tensor:
    return (source_BS >= 0) & (source_BS < source_BS.shape[1])


def _gathered(view_BCSS: Tensor, rows_BS: Tensor, cols_BS: Tensor) -> Tensor:
    """The pixels at these rows and columns, mirrored at the outermost ones."""
    batch, channels, side, _ = view_BCSS.shape
    rows_BS, cols_BS = ((side - 1) - ((side - 1) - source.abs()).abs() for source in (rows_BS, cols_BS))
    place_BX = (rows_BS.unsqueeze(2) * side + cols_BS.unsqueeze(1)).view(batch, 1, -1)
    pixels_BCX = view_BCSS.flatten(2).gather(2, place_BX.expand(-1, channels, -1))
    return pixels_BCX.view(batch, channels, side, side)
