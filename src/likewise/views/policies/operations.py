"""Settings of RandAugment: the operations, their strength, and their number per image.

`operating` carries them out, on values of 8 bits as in Pillow and torchvision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from likewise.errors import InputError, unknown
from likewise.views.policies import limits
from likewise.views.policies.limits import Span

Name = Literal[
    "identity",
    "autocontrast",
    "equalise",
    "invert",
    "posterise",
    "solarise",
    "brightness",
    "contrast",
    "colour",
    "sharpness",
    "rotate",
    "shear_across",
    "shear_down",
    "move_across",
    "move_down",
]
PLAIN = ("identity", "autocontrast", "equalise", "invert")
"""Operations without a strength."""
FACTORS: tuple[Name, ...] = ("brightness", "contrast", "colour", "sharpness")
"""Operations whose strength is a factor, of which 1 changes nothing."""
_BOUNDS = {"posterise": (0.0, 8.0), "solarise": (0.0, 1.0)}
"""Operations whose strength has an end on both sides, and so no opposite."""
STEPS = 30
"""Magnitudes of RandAugment go from 0 to this."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation. Its strength is drawn uniformly, and means something else for each.

    - `posterise`: bits that are left, 0 to 8, rounded; `solarise`: threshold, 0 to 1;
    - `brightness`, `contrast`, `colour`, `sharpness`: factor, from 0;
    - `rotate`: degrees, counter-clockwise; `shear_across`, `shear_down`: pixels for each pixel down or across;
    - `move_across`, `move_down`: share of the side, cut to whole pixels.

    The last five show the nearest pixel, and black beyond the border. Neither the box of a view nor its mask or flow
    goes with them.
    """

    name: Name
    """Which."""
    strength: Span | None = None
    """Least and greatest strength; None for the operations that have none."""
    opposite: bool = False
    """Whether half of the images get the opposite: 2 - f for a factor f, otherwise the other direction."""

    def __post_init__(self) -> None:
        if self.name not in get_args(Name):
            raise unknown("operation", self.name, get_args(Name))
        if self.name in PLAIN:
            if self.strength is not None or self.opposite:
                raise InputError(f"operation {self.name} has no strength and no opposite: leave both out")
            return
        if self.strength is None:
            raise InputError(f"operation {self.name} needs a strength: two numbers, the smaller first")
        if self.opposite and self.name in _BOUNDS:
            raise InputError(f"operation {self.name} has no opposite: leave it out")
        low, high = (0.0, 2.0 if self.opposite else math.inf) if self.name in FACTORS else (-math.inf, math.inf)
        low, high = _BOUNDS.get(self.name, (low, high))
        limits.span(f"strength of {self.name}", self.strength, low=low, high=high, closed=True)


@dataclass(frozen=True, kw_only=True)
class Operations:
    """`count` operations one after the other, each drawn from `choices`, which are equally likely."""

    choices: tuple[Operation, ...]
    """What is drawn from."""
    count: int = 1
    """How many an image gets; the same may come twice."""
    probability: float = 1.0
    """Share of images that get the first, the second, ...: each is decided on its own."""

    def __post_init__(self) -> None:
        if not self.choices:
            raise InputError("operations are drawn from a list of at least one")
        limits.whole("number of operations", self.count, 1)
        limits.probability("operation probability", self.probability)


def rand_augment(count: int = 2, magnitude: int = 9) -> Operations:
    """RandAugment (Cubuk et al., arXiv 1909.13719) as in torchvision: `count` of 14 operations, all at one magnitude.

    `magnitude` is a whole number from 0 to 30. Raises InputError for another.
    """
    limits.whole("magnitude of RandAugment", magnitude, 0, STEPS)
    share = magnitude / STEPS

    def both_ways(name: Name, strength: float) -> Operation:
        return Operation(name=name, strength=(strength, strength), opposite=True)

    bits, threshold = 8.0 - round(4 * share), 1.0 - share
    return Operations(
        choices=(
            Operation(name="identity"),
            both_ways("shear_across", 0.3 * share),
            both_ways("shear_down", 0.3 * share),
            both_ways("move_across", 150 / 331 * share),
            both_ways("move_down", 150 / 331 * share),
            both_ways("rotate", 30.0 * share),
            *(both_ways(name, 1.0 + 0.9 * share) for name in FACTORS),
            Operation(name="posterise", strength=(bits, bits)),
            Operation(name="solarise", strength=(threshold, threshold)),
            Operation(name="autocontrast"),
            Operation(name="equalise"),
        ),
        count=count,
    )


def random_magnitudes(count: int = 2, *, probability: float = 1.0, reach: float = 0.3) -> Operations:
    """The list of FixMatch (Sohn et al., arXiv 2001.07685, table 12): `count` of 14 operations at random strengths.

    `probability` is the share of images that get each of them, `reach` the greatest shear, and the greatest move as a
    share of the side (0.1 in SCAN and USL). Raises InputError as `Operations` does.
    """
    shapes: tuple[Name, ...] = ("shear_across", "shear_down", "move_across", "move_down")
    return Operations(
        choices=(
            Operation(name="identity"),
            Operation(name="autocontrast"),
            Operation(name="equalise"),
            *(Operation(name=name, strength=(0.05, 0.95)) for name in FACTORS),
            Operation(name="posterise", strength=(4.0, 8.0)),
            Operation(name="solarise", strength=(0.0, 1.0)),
            Operation(name="rotate", strength=(-30.0, 30.0)),
            *(Operation(name=name, strength=(-reach, reach)) for name in shapes),
        ),
        count=count,
        probability=probability,
    )
