"""The random part of a view: per-picture parameters, a pure function of (seed, step, role, global row).

Each parameter has its own column of uniform numbers, so that a change of one setting (say, no blur) leaves the other
parameters as they were, and all policies of one role see the same crops.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.views.boxes import ATTEMPTS, centre_boxes, random_boxes
from likewise.views.policy import Centre, Span, ViewPolicy


class Geometry(NamedTuple):
    """Where each view lies in its picture. Tensors on the CPU, B rows."""

    box: Tensor
    """(B, 4) int64: top, left, height, width in pixels of the source."""
    flip: Tensor
    """(B,) bool: mirrored left to right after the crop."""
    sizes: Tensor
    """(B, 2) int64: height and width of the source pictures."""

    def rows(self, rows: slice) -> Geometry:
        """The geometry of some pictures."""
        return Geometry(*(part[rows] for part in self))

    def fractions(self) -> Tensor:
        """(B, 4) float32: top, left, height, width as fractions of the source picture."""
        return (self.box / self.sizes.repeat(1, 2)).to(torch.float32)


class Look(NamedTuple):
    """How the colours and the sharpness of each view change. Tensors on the CPU, float32 unless said, B rows."""

    brightness: Tensor
    """(B,) factor; 1 changes nothing."""
    contrast: Tensor
    """(B,) factor; 1 changes nothing."""
    saturation: Tensor
    """(B,) factor; 1 changes nothing."""
    hue: Tensor
    """(B,) share of the full circle; 0 changes nothing."""
    grey: Tensor
    """(B,) bool: turned to grey."""
    sigma: Tensor
    """(B,) deviation of the blur in pixels of the view; 0 where there is none."""
    solarise: Tensor
    """(B,) bool: solarised."""

    def rows(self, rows: slice) -> Look:
        """The look of some pictures."""
        return Look(*(part[rows] for part in self))


class Draw(NamedTuple):
    """Everything random about one view of every picture of a batch."""

    geometry: Geometry
    look: Look


class _Column(IntEnum):
    """Which uniform number decides what. The order is part of what makes runs repeatable: append, never reorder."""

    AREA = 0
    RATIO = ATTEMPTS
    TOP = 2 * ATTEMPTS
    LEFT = TOP + 1
    FLIP = TOP + 2
    JITTER = TOP + 3
    BRIGHTNESS = TOP + 4
    CONTRAST = TOP + 5
    SATURATION = TOP + 6
    HUE = TOP + 7
    GREY = TOP + 8
    BLUR = TOP + 9
    SIGMA = TOP + 10
    SOLARISE = TOP + 11
    COUNT = TOP + 12


def stream_seed(seed: int, step: int, role: str, row: int | None = None) -> int:
    """A 64-bit seed for one role of one step (and one global row), the same on every machine and in every process."""
    key = "/".join(str(part) for part in (seed, step, role, row))
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def draw(
    policy: ViewPolicy, sizes_B2: Tensor, *, seed: int, step: int, role: str, rank: int = 0, world: int = 1
) -> Draw:
    """Draw the parameters of one view for the pictures of one process.

    `sizes_B2` holds height and width of this process's B pictures. Random numbers are drawn for the whole batch of
    B x `world` pictures by a CPU generator that depends on (seed, step, role) only, and row b is global row
    b x `world` + `rank`: any number of processes draws the same for the same picture.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, step, role))
    sizes_B2 = sizes_B2.to("cpu", torch.int64)
    shape = (len(sizes_B2) * world, _Column.COUNT)
    uniform_BU = torch.rand(shape, generator=generator, dtype=torch.float64)[rank::world]
    return Draw(_geometry(policy, uniform_BU, sizes_B2), _look(policy, uniform_BU))


def _geometry(policy: ViewPolicy, uniform_BU: Tensor, sizes_B2: Tensor) -> Geometry:
    """Boxes and flips from uniform numbers."""
    if isinstance(policy.crop, Centre):
        box_B4 = centre_boxes(sizes_B2, policy.crop)
    else:
        area_BA = uniform_BU[:, _Column.AREA : _Column.RATIO]
        ratio_BA = uniform_BU[:, _Column.RATIO : _Column.TOP]
        place_B2 = uniform_BU[:, _Column.TOP : _Column.FLIP]
        box_B4 = random_boxes(area_BA, ratio_BA, place_B2, sizes_B2, policy.crop)
    return Geometry(box_B4, uniform_BU[:, _Column.FLIP] < policy.flip, sizes_B2)


def _look(policy: ViewPolicy, uniform_BU: Tensor) -> Look:
    """Factors and coins from uniform numbers; neutral where the policy leaves a step out."""
    column = uniform_BU.to(torch.float32).unbind(1)
    neutral, never = torch.ones(len(uniform_BU)), torch.zeros(len(uniform_BU), dtype=torch.bool)
    brightness = contrast = saturation = neutral
    hue = sigma = torch.zeros_like(neutral)
    if (colour := policy.colour) is not None:
        jitter = uniform_BU[:, _Column.JITTER] < colour.probability
        brightness = torch.where(jitter, _factor(column[_Column.BRIGHTNESS], colour.brightness), neutral)
        contrast = torch.where(jitter, _factor(column[_Column.CONTRAST], colour.contrast), neutral)
        saturation = torch.where(jitter, _factor(column[_Column.SATURATION], colour.saturation), neutral)
        hue = torch.where(jitter, _within(column[_Column.HUE], (-colour.hue, colour.hue)), hue)
    if (blur := policy.blur) is not None:
        blurred = uniform_BU[:, _Column.BLUR] < blur.probability
        sigma = torch.where(blurred, _within(column[_Column.SIGMA], blur.sigma), sigma)
    grey = uniform_BU[:, _Column.GREY] < policy.grey
    solarise = never if policy.solarise is None else uniform_BU[:, _Column.SOLARISE] < policy.solarise.probability
    return Look(brightness, contrast, saturation, hue, grey, sigma, solarise)


def _within(uniform_B: Tensor, span: Span) -> Tensor:
    """Uniform numbers stretched to a range."""
    low, high = span
    return low + (high - low) * uniform_B


def _factor(uniform_B: Tensor, strength: float) -> Tensor:
    """Factors uniform in [max(0, 1 - strength), 1 + strength], as torchvision draws them."""
    return _within(uniform_B, (max(0.0, 1.0 - strength), 1.0 + strength))
