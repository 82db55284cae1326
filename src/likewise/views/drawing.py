"""The random part of a view: per-image parameters, a pure function of (seed, step, role, global row).

Each parameter has its own column of uniform numbers, so that a change of one setting (say, no blur) leaves the other
parameters as they were, and all policies of one role see the same crops. The first parameters share one table, in
which no column can be added any more; each later one is drawn from a stream of its own (`Columns`).
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.views.geometry.boxes import ATTEMPTS, centre_boxes, random_boxes
from likewise.views.geometry.regions import chosen_boxes
from likewise.views.policies.limits import Span
from likewise.views.policies.operations import FACTORS, Operations
from likewise.views.policies.policy import Centre, CutOut, Fill, ViewPolicy


class Geometry(NamedTuple):
    """Position of each view in its image. Tensors on the CPU, B rows."""

    box: Tensor
    """(B, 4) int64: top, left, height, width in pixels of the source."""
    flip: Tensor
    """(B,) bool: mirrored left to right after the crop."""
    sizes: Tensor
    """(B, 2) int64: height and width of the source images."""
    shift: Tensor | None = None
    """(B, 2) float64: how far the view is moved down and to the right after all, as shares of its side."""
    fill: Fill = "reflect"
    """What a move leaves free."""

    def rows(self, rows: slice | Tensor) -> Geometry:
        """The geometry of some images."""
        shift = None if self.shift is None else self.shift[rows]
        return Geometry(self.box[rows], self.flip[rows], self.sizes[rows], shift, self.fill)

    def fractions(self) -> Tensor:
        """(B, 4) float32: top, left, height, width as fractions of the source image.

        Of a moved view these are where its corners lie, which may be outside of it.
        """
        box_B4: Tensor = self.box
        if self.shift is not None:
            turned_B2 = torch.stack([torch.ones(len(self.flip)), torch.where(self.flip, -1.0, 1.0)], dim=1)
            corner_B2 = self.box[:, :2] - turned_B2 * self.shift * self.box[:, 2:]
            box_B4 = torch.cat([corner_B2, self.box[:, 2:]], dim=1)
        return (box_B4 / self.sizes.repeat(1, 2)).to(torch.float32)


class Look(NamedTuple):
    """Changes of colours and sharpness of each view. Tensors on the CPU, float32 unless said, B rows."""

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
    threshold: Tensor | None = None
    """(B,) from which value on; None where nothing is solarised."""
    operation: Tensor | None = None
    """(B, L) int64: the L operations one after the other, by their positions in the policy's choices; -1 for none."""
    strength: Tensor | None = None
    """(B, L) float64: what each operation takes; 0 where it takes nothing."""
    hole: Tensor | None = None
    """(B, 4) int64: top, left, height and width of the cut-out in pixels of the view; height 0 where there is none."""

    def rows(self, rows: slice) -> Look:
        """The look of some images."""
        return Look._make(None if part is None else part[rows] for part in self)


class Draw(NamedTuple):
    """Everything random about one view of every image of a batch."""

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


class Columns(NamedTuple):
    """Uniform numbers of one view of a batch by the name of a parameter, each name with a stream of its own."""

    rows: int
    seed: int
    step: int
    role: str
    rank: int
    world: int

    def __call__(self, name: str, *, shared: bool = False) -> Tensor:
        """(B,) float64 in [0, 1) for the images of this process; `shared` numbers are the same in all roles."""
        seed = stream_seed(self.seed, self.step, f"{'' if shared else self.role}/{name}")
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(self.rows * self.world, generator=generator, dtype=torch.float64)[self.rank :: self.world]


def draw(
    policy: ViewPolicy,
    sizes_B2: Tensor,
    *,
    seed: int,
    step: int,
    role: str,
    rank: int = 0,
    world: int = 1,
    regions_BR4: Tensor | None = None,
) -> Draw:
    """Draw the parameters of one view for the images of one process.

    `sizes_B2` holds height and width of this process's B images, `regions_BR4` their regions (see `regions`) for
    policies with `within_region`. Random numbers are drawn for the whole batch of B x `world` images by CPU
    generators that depend on (seed, step, role) only, and row b is global row b x `world` + `rank`: any number of
    processes draws the same for the same image. Raises InputError where regions are needed and missing.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, step, role))
    sizes_B2 = sizes_B2.to("cpu", torch.int64)
    shape = (len(sizes_B2) * world, _Column.COUNT)
    uniform_BU = torch.rand(shape, generator=generator, dtype=torch.float64)[rank::world]
    columns = Columns(len(sizes_B2), seed, step, role, rank, world)
    if policy.within_region and regions_BR4 is None:
        raise InputError(f"view {role!r} is cropped within a region, and the images have none")
    within = regions_BR4 if policy.within_region else None
    return Draw(_geometry(policy, uniform_BU, columns, sizes_B2, within), _look(policy, uniform_BU, columns))


def _geometry(
    policy: ViewPolicy, uniform_BU: Tensor, columns: Columns, sizes_B2: Tensor, regions_BR4: Tensor | None
) -> Geometry:
    """Boxes, flips and moves from uniform numbers."""
    whole_B2, corner_B4 = sizes_B2, None
    if regions_BR4 is not None:
        region_B4 = chosen_boxes(regions_BR4, columns("region", shared=True), sizes_B2)
        whole_B2, corner_B4 = region_B4[:, 2:], torch.nn.functional.pad(region_B4[:, :2], (0, 2))
    if isinstance(policy.crop, Centre):
        box_B4 = centre_boxes(whole_B2, policy.crop)
    else:
        area_BA = uniform_BU[:, _Column.AREA : _Column.RATIO]
        ratio_BA = uniform_BU[:, _Column.RATIO : _Column.TOP]
        place_B2 = uniform_BU[:, _Column.TOP : _Column.FLIP]
        box_B4 = random_boxes(area_BA, ratio_BA, place_B2, whole_B2, policy.crop)
    if corner_B4 is not None:
        box_B4 = box_B4 + corner_B4
    coin_B = columns("flip", shared=True) if policy.shared_flip else uniform_BU[:, _Column.FLIP]
    geometry = Geometry(box_B4, coin_B < policy.flip, sizes_B2)
    if (shift := policy.shift) is None:
        return geometry
    most = min(max(1, round(shift.reach * policy.size)), policy.size // 2)
    pixels_B2 = torch.stack([columns("shift down"), columns("shift right")], dim=1).mul_(2 * most + 1).floor_() - most
    is_moved_B1 = (columns("shift") < shift.probability).unsqueeze(1)
    return geometry._replace(shift=pixels_B2 * is_moved_B1 / policy.size, fill=shift.fill)


def _look(policy: ViewPolicy, uniform_BU: Tensor, columns: Columns) -> Look:
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
    look = Look(brightness, contrast, saturation, hue, grey, sigma, solarise)
    if policy.solarise is not None:
        threshold = policy.solarise.threshold
        drawn = _within(columns("solarise threshold"), threshold) if isinstance(threshold, tuple) else threshold
        look = look._replace(threshold=(neutral * drawn).to(torch.float32))
    if policy.operations is not None:
        operation, strength = _operations(policy.operations, columns)
        look = look._replace(operation=operation, strength=strength)
    if policy.cut_out is not None:
        look = look._replace(hole=_hole(policy.cut_out, policy.size, columns))
    return look


def _operations(operations: Operations, columns: Columns) -> tuple[Tensor, Tensor]:
    """Which operations, (B, L) int64, and how strong, (B, L) float64."""
    choices = operations.choices
    spans_K2 = torch.tensor([choice.strength or (0.0, 0.0) for choice in choices], dtype=torch.float64)
    turns_K = torch.tensor([choice.opposite for choice in choices])
    middle_K = torch.tensor([1.0 if choice.name in FACTORS else 0.0 for choice in choices], dtype=torch.float64)
    drawn, strengths = [], []
    for number in range(operations.count):
        which_B = (columns(f"operation {number}") * len(choices)).to(torch.int64)
        low_B, high_B = spans_K2[which_B].unbind(1)
        strength_B = low_B + (high_B - low_B) * columns(f"operation {number} strength")
        turned_B = turns_K[which_B] & (columns(f"operation {number} opposite") < 0.5)
        strengths.append(torch.where(turned_B, 2.0 * middle_K[which_B] - strength_B, strength_B))
        drawn.append(torch.where(columns(f"operation {number} coin") < operations.probability, which_B, -1))
    return torch.stack(drawn, dim=1), torch.stack(strengths, dim=1)


def _hole(cut_out: CutOut, size: int, columns: Columns) -> Tensor:
    """(B, 4) int64 where the view is hidden."""
    half = max(1, round(cut_out.side * size) // 2)
    middle_B2 = (torch.stack([columns("cut-out down"), columns("cut-out right")], dim=1) * size).to(torch.int64)
    begin_B2, end_B2 = (middle_B2 - half).clamp_(min=0), (middle_B2 + half).clamp_(max=size)
    side_B2 = (end_B2 - begin_B2) * (columns("cut-out") < cut_out.probability).unsqueeze(1)
    return torch.cat([begin_B2, side_B2], dim=1)


def _within(uniform_B: Tensor, span: Span) -> Tensor:
    """Uniform numbers stretched to a range."""
    low, high = span
    return low + (high - low) * uniform_B


def _factor(uniform_B: Tensor, strength: float) -> Tensor:
    """Factors uniform in [max(0, 1 - strength), 1 + strength], as torchvision draws them."""
    return _within(uniform_B, (max(0.0, 1.0 - strength), 1.0 + strength))
