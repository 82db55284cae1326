"""What one view looks like, as settings: which part of the picture, which colours, how sharp, normalised how.

A policy only describes. `draw` turns it into the parameters of one batch, `spatial` and `photometric` carry them out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from likewise.errors import InputError, unknown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Channel means of ImageNet's training pictures, red, green, blue, on a scale of 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Channel deviations of ImageNet's training pictures, on a scale of 0 to 1."""

Channels = tuple[float, float, float]
Span = tuple[float, float]
Filter = Literal["bilinear", "bicubic"]
PerSample = Callable[[Any], Tensor]
"""Takes a PIL image (RGB) and returns a (3, H, W) float tensor, ready for the encoder."""

SMALLEST = 12
"""Pixels that a view is never shrunk below."""

_FILTERS = ("bilinear", "bicubic")


def _probability(name: str, value: float) -> None:
    """Refuse what is not a probability. Raises InputError."""
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} {value} is not a probability: allowed is 0 to 1, nearest {min(max(value, 0.0), 1.0)}")


def _span(name: str, value: Span, *, low: float, high: float = math.inf) -> None:
    """Refuse what is not an ordered pair with low < first <= second <= high. Raises InputError."""
    limits = f"above {low:g}" if math.isinf(high) else f"above {low:g} up to {high:g}"
    if len(value) != 2:
        raise InputError(f"{name} {value!r} is not a pair: allowed are two numbers {limits}, the smaller first")
    first, second = value
    if not (low < first <= second <= high) or math.isinf(second):
        raise InputError(f"{name} {first:g} to {second:g} is no range: allowed are two numbers {limits}, smaller first")


def _strength(name: str, value: float, high: float) -> None:
    """Refuse what is not a strength of jitter between 0 and `high`. Raises InputError."""
    if not 0.0 <= value <= high:
        nearest = high if value > high else 0.0
        raise InputError(f"{name} {value} is no strength of jitter: allowed is 0 to {high:g}, nearest {nearest:g}")


def _whole_from_one(name: str, value: object) -> None:
    """Refuse what is not a whole number from 1. Raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} {value!r} is no number of pixels: allowed are whole numbers from 1, usual is 224")


def _channels(name: str, values: Sequence[float], *, low: float) -> None:
    """Refuse what is not three finite numbers above `low`. Raises InputError."""
    if len(values) != 3 or not all(low < value < math.inf for value in values):
        limit = "finite" if math.isinf(low) else f"above {low:g}"
        raise InputError(f"{name} {values!r} is not valid: needed are three numbers, {limit}, for red, green, blue")


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A random part of the picture: RandomResizedCrop of Szegedy et al. 2014 (arXiv:1409.4842), section 6."""

    scale: Span = (0.2, 1.0)
    """Least and greatest area of the crop, as shares of the picture's area."""
    ratio: Span = (3 / 4, 4 / 3)
    """Least and greatest width over height of the crop; drawn uniformly on a logarithmic scale."""

    def __post_init__(self) -> None:
        _span("crop scale", self.scale, low=0.0, high=1.0)
        _span("crop ratio", self.ratio, low=0.0)


@dataclass(frozen=True, kw_only=True)
class Centre:
    """The middle square of the picture, without randomness."""

    fraction: float = 1.0
    """Side of the square as a share of the picture's shorter side."""

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 1.0:
            raise InputError(f"centre fraction {self.fraction} is no share: allowed is above 0 up to 1, nearest 1.0")


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Jitter of the colours, with the factor ranges of torchvision's ColorJitter."""

    brightness: float = 0.4
    """The picture is multiplied by a factor uniform in [max(0, 1 - brightness), 1 + brightness]."""
    contrast: float = 0.4
    """Likewise for the distance to the mean grey of the picture."""
    saturation: float = 0.4
    """Likewise for the distance to the grey value of each pixel."""
    hue: float = 0.1
    """Hue is turned by a share of the full circle uniform in [-hue, hue]; at most 0.5."""
    probability: float = 0.8
    """Share of pictures that are jittered at all."""

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            _strength(name, getattr(self, name), math.inf)
            if math.isinf(getattr(self, name)):
                raise InputError(f"{name} must be finite: allowed is 0 or more, usual is 0.4")
        _strength("hue", self.hue, 0.5)
        _probability("jitter probability", self.probability)


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Gaussian blur of some pictures."""

    sigma: Span = (0.1, 2.0)
    """Least and greatest standard deviation in pixels of the view, drawn uniformly."""
    probability: float = 0.5
    """Share of pictures that are blurred."""

    def __post_init__(self) -> None:
        _span("blur sigma", self.sigma, low=0.0)
        _probability("blur probability", self.probability)


@dataclass(frozen=True, kw_only=True)
class Solarise:
    """Values at or above a threshold are inverted, in some pictures."""

    probability: float = 0.2
    """Share of pictures that are solarised."""
    threshold: float = 0.5
    """On the scale of 0 (black) to 1 (white)."""

    def __post_init__(self) -> None:
        _probability("solarise probability", self.probability)
        _probability("solarise threshold", self.threshold)


@dataclass(frozen=True, kw_only=True)
class ViewPolicy:
    """How one view of each picture is made.

    The steps, in this order: crop and flip in one sampling to `size`; colour jitter; grey; clamp to [0, 1]; blur;
    solarise; normalise. None or 0 leaves a step out. With `per_sample` the callable does everything and the other
    fields except `size` say nothing.
    """

    size: int
    """Side of the square view in pixels."""
    crop: Crop | Centre = Crop()
    """Which part of the picture is shown."""
    flip: float = 0.5
    """Share of pictures mirrored left to right."""
    colour: Colour | None = None
    """Jitter of brightness, contrast, saturation, hue."""
    grey: float = 0.0
    """Share of pictures turned to grey."""
    blur: Blur | None = None
    """Gaussian blur."""
    solarise: Solarise | None = None
    """Inversion of bright values."""
    mean: Channels = IMAGENET_MEAN
    """Subtracted from each channel at the end, on a scale of 0 to 1."""
    std: Channels = IMAGENET_STD
    """Each channel is divided by this at the end."""
    interpolation: Filter = "bilinear"
    """Interpolation of the crop, antialiased where it shrinks."""
    per_sample: PerSample | None = None
    """Own transform of one picture at a time: takes a PIL image, returns a (3, size, size) float tensor."""

    def __post_init__(self) -> None:
        _whole_from_one("view size", self.size)
        _probability("flip probability", self.flip)
        _probability("grey probability", self.grey)
        if self.interpolation not in _FILTERS:
            raise unknown("interpolation", self.interpolation, _FILTERS)
        _channels("mean", self.mean, low=-math.inf)
        _channels("std", self.std, low=0.0)
        if self.per_sample is not None and not callable(self.per_sample):
            raise InputError(f"per_sample must be a function of a PIL image, found {type(self.per_sample).__name__}")

    def upright(self) -> ViewPolicy:
        """The same view, never mirrored. A `per_sample` function decides for itself."""
        return replace(self, flip=0.0)

    def shrunk(self, share: float) -> ViewPolicy:
        """The same view with about `share` of its side, in steps of 4 pixels and not below `SMALLEST`.

        Blur shrinks with it, so that it hides the same details. A `per_sample` function decides its own size.
        """
        size = min(self.size, max(SMALLEST, 4 * round(self.size * share / 4)))
        if size == self.size or self.per_sample is not None:
            return self
        blur = self.blur
        if blur is not None:
            low, high = blur.sigma
            blur = replace(blur, sigma=(low * size / self.size, high * size / self.size))
        return replace(self, size=size, blur=blur)
