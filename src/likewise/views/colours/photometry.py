"""The second half of a view: colours, blur, solarise, operations, cut-out, normalise."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.views.colours.blurring import blur
from likewise.views.colours.colour import adjust_colour, colour_matrices
from likewise.views.colours.operating import operate_
from likewise.views.devices import onto
from likewise.views.drawing import Look
from likewise.views.geometry.spatial import row_chunks
from likewise.views.policies.policy import ViewPolicy


@torch.no_grad()
def photometric(image_B3HW: Tensor, look: Look, policy: ViewPolicy) -> Tensor:
    """Colour jitter, grey, clamp, blur, solarise, operations, cut-out, normalise, each where `look` says so.

    `image_B3HW` is float in [0, 1]. Returns a new tensor of the same shape, contiguous in torch.channels_last.
    """
    out_B3HW = torch.empty_like(image_B3HW, dtype=torch.float32, memory_format=torch.channels_last)
    finisher = Finisher(look, policy, image_B3HW.device)
    with torch.autocast(image_B3HW.device.type, enabled=False):
        for rows in row_chunks(len(image_B3HW), image_B3HW.shape[1:].numel(), image_B3HW.device):
            chunk = image_B3HW[rows].to(torch.float32, memory_format=torch.contiguous_format, copy=True)
            finisher.write(chunk, rows, out_B3HW)
    return out_B3HW


class Finisher:
    """The photometric half of the views of one batch: what does not depend on the pixels is computed once."""

    def __init__(self, look: Look, policy: ViewPolicy, device: torch.device) -> None:
        """`look` belongs to the whole batch, `device` is that of the images."""
        self._look = look
        self._policy = policy
        self._colours: tuple[Tensor, Tensor] | None = None
        if policy.colour is not None or policy.grey > 0:
            matrix_B33, lift_B = colour_matrices(look)
            self._colours = onto(matrix_B33, device), onto(lift_B, device)
        mean, std = policy.statistics
        self._mean_311 = onto(torch.tensor(mean), device).view(3, 1, 1)
        self._std_311 = onto(torch.tensor(std), device).view(3, 1, 1)
        self._hole_colour_311: Tensor | None = None
        if policy.cut_out is not None:
            self._hole_colour_311 = onto(torch.tensor(policy.cut_out.colour or mean), device).view(3, 1, 1)

    def write(self, image_N3HW: Tensor, rows: slice, out_B3HW: Tensor) -> None:
        """Finish the images `rows` of the batch into `out_B3HW[rows]`.

        `image_N3HW` holds these images alone, contiguous float32 in [0, 1]; its values are used up.
        """
        if self._colours is not None:
            matrix_B33, lift_B = self._colours
            image_N3HW = adjust_colour(image_N3HW, matrix_B33[rows], lift_B[rows])
        if self._policy.blur is not None:
            image_N3HW = _blur_some_(image_N3HW, self._look.sigma[rows])
        look = self._look.rows(rows)
        if look.threshold is not None:
            image_N3HW = _solarise_some_(image_N3HW, look.solarise, look.threshold)
        if self._policy.operations is not None and look.operation is not None and look.strength is not None:
            image_N3HW = operate_(image_N3HW, self._policy.operations.choices, look.operation, look.strength)
        if self._hole_colour_311 is not None and look.hole is not None:
            image_N3HW = _hidden(image_N3HW, look.hole, self._hole_colour_311)
        out_B3HW[rows] = image_N3HW.sub_(self._mean_311).div_(self._std_311)


def _blur_some_(image_B3HW: Tensor, sigma_B: Tensor) -> Tensor:
    """Blur the images with a deviation above 0; the others stay as they are."""
    chosen_N = sigma_B.nonzero().squeeze(1)
    if len(chosen_N) == len(image_B3HW):
        return blur(image_B3HW, sigma_B)
    if len(chosen_N) == 0:
        return image_B3HW
    rows_N = onto(chosen_N, image_B3HW.device)
    return image_B3HW.index_copy_(0, rows_N, blur(image_B3HW.index_select(0, rows_N), sigma_B[chosen_N]))


def _solarise_some_(image_B3HW: Tensor, chosen_B: Tensor, threshold_B: Tensor) -> Tensor:
    """Invert values at or above the threshold in the chosen images."""
    here_N = chosen_B.nonzero().squeeze(1)
    if len(here_N) == 0:
        return image_B3HW
    rows_N, from_N111 = (onto(part, image_B3HW.device) for part in (here_N, threshold_B[here_N].view(-1, 1, 1, 1)))
    chosen_N3HW = image_B3HW.index_select(0, rows_N)
    return image_B3HW.index_copy_(0, rows_N, torch.where(chosen_N3HW >= from_N111, 1.0 - chosen_N3HW, chosen_N3HW))


def _hidden(image_B3HW: Tensor, hole_B4: Tensor, colour_311: Tensor) -> Tensor:
    """One colour inside the boxes (top, left, height, width); a box of no height hides nothing."""
    height, width = image_B3HW.shape[2:]
    top_B1, left_B1, high_B1, wide_B1 = onto(hole_B4, image_B3HW.device).unsqueeze(2).unbind(1)
    down_H = torch.arange(height, device=image_B3HW.device)
    across_W = torch.arange(width, device=image_B3HW.device)
    rows_BH = (down_H >= top_B1) & (down_H < top_B1 + high_B1)
    cols_BW = (across_W >= left_B1) & (across_W < left_B1 + wide_B1)
    inside_B1HW = (rows_BH.unsqueeze(2) & cols_BW.unsqueeze(1)).unsqueeze(1)
    return torch.where(inside_B1HW, colour_311, image_B3HW)
