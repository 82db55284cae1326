"""Brightness, contrast, saturation, hue and grey as one matrix and one offset per image.

Each step of a colour jitter is affine in the colour x = (r, g, b) of a pixel. With w the weights of grey, 1 the white
colour, m the mean grey of the image and R a turn of the colour plane about the grey axis (so that R 1 = 1 and
w'R = w'), the steps are

    brightness  x -> b x
    contrast    x -> c x + (1 - c) m 1
    saturation  x -> (s I + (1 - s) 1 w') x
    hue         x -> R x

R and the saturation matrix commute, neither changes a grey value, and brightness scales m along with everything else.
So in any order (torchvision draws one per image) the result is the same:

    x -> b c (s R + (1 - s) 1 w') x + b (1 - c) m 1

and turning to grey afterwards is s = 0. What differs from torchvision: one clamp at the end instead of one per step,
and hue turned in the YIQ plane, which keeps the grey value, where torchvision turns it in HSV, which keeps the
largest and the smallest channel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likewise.views.devices import onto
from likewise.views.drawing import Look

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value (ITU-R BT.601), as in Pillow."""

_YIQ = torch.tensor([GREY, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], dtype=torch.float64)
"""RGB to luma and the two chroma axes of NTSC."""
_RGB: Tensor = torch.linalg.inv(_YIQ)
"""The way back."""
_GREY_ROWS = torch.tensor([GREY, GREY, GREY], dtype=torch.float64)
"""1 w': every channel becomes the grey value."""


def hue_matrices(hue_B: Tensor) -> Tensor:
    """Turns of the colour plane: (B, 3, 3) float64, for `hue_B` as shares of the full circle.

    Positive goes from red over yellow to green, the direction of HSV.
    """
    angle_B = hue_B.to(torch.float64) * (2.0 * math.pi)
    turn_B33 = torch.zeros(len(hue_B), 3, 3, dtype=torch.float64)
    turn_B33[:, 0, 0] = 1.0
    turn_B33[:, 1, 1] = turn_B33[:, 2, 2] = angle_B.cos()
    turn_B33[:, 1, 2] = angle_B.sin()
    turn_B33[:, 2, 1] = -turn_B33[:, 1, 2]
    return _RGB @ turn_B33 @ _YIQ


def colour_matrices(look: Look) -> tuple[Tensor, Tensor]:
    """The matrix of each image, and the factor on its mean grey that is added to every channel.

    Returns (B, 3, 3) and (B,), float32.
    """
    saturation_B11 = torch.where(look.grey, 0.0, look.saturation).to(torch.float64).view(-1, 1, 1)
    mixed_B33 = saturation_B11 * hue_matrices(look.hue) + (1.0 - saturation_B11) * _GREY_ROWS
    gain_B11 = (look.brightness.to(torch.float64) * look.contrast).view(-1, 1, 1)
    return (gain_B11 * mixed_B33).to(torch.float32), look.brightness * (1.0 - look.contrast)


def adjust_colour(image_B3HW: Tensor, matrix_B33: Tensor, lift_B: Tensor) -> Tensor:
    """Apply what `colour_matrices` returned to images in [0, 1], clamped once at the end.

    All on one device. Returns a new (B, 3, H, W) tensor.
    """
    weights_3 = onto(torch.tensor(GREY), image_B3HW.device)
    grey_B = image_B3HW.mean(dim=(2, 3)) @ weights_3
    offset_B31 = (lift_B * grey_B).view(-1, 1, 1).expand(-1, 3, 1)
    adjusted_B3N = torch.baddbmm(offset_B31, matrix_B33, image_B3HW.flatten(2))
    return adjusted_B3N.clamp_(0.0, 1.0).view_as(image_B3HW)
