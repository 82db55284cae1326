"""The settings of one view: crop, colours, blur, normalisation.

A policy only describes. `draw` turns it into the parameters of one batch, `spatial` and `photometric` carry them out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from likewise.errors import InputError, unknown
from likewise.views.policies import limits
from likewise.views.policies.limits import Channels, Span
from likewise.views.policies.operations import Operations

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Channel means of ImageNet's training images, red, green, blue, on a scale of 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Channel deviations of ImageNet's training images, on a scale of 0 to 1."""

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
"""Channel means of the training images of CIFAR-10."""
CIFAR10_STD = (0.2023, 0.1994, 0.2010)
"""Channel deviations that recipes for CIFAR-10 use: the mean over the images of each one's deviation."""
CIFAR100_MEAN = (0.5071, 0.4867, 0.4408)
"""Channel means of the training images of CIFAR-100."""
CIFAR100_STD = (0.2675, 0.2565, 0.2761)
"""Channel deviations of the training images of CIFAR-100."""

Filter = Literal["bilinear", "bicubic"]
Fill = Literal["zero", "reflect"]
PerSample = Callable[[Any], Tensor]
"""Takes a PIL image (RGB) and returns a (3, H, W) float tensor, ready for the encoder."""

SMALLEST = 12
"""Pixels that a view is never shrunk below."""

_FILTERS = ("bilinear", "bicubic")
_FILLS = ("zero", "reflect")


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A random part of the image: RandomResizedCrop of Szegedy et al. 2014 (arXiv:1409.4842), section 6."""

    scale: Span = (0.2, 1.0)
    """Least and greatest area of the crop, as shares of the image's area."""
    ratio: Span = (3 / 4, 4 / 3)
    """Least and greatest width over height of the crop; drawn uniformly on a logarithmic scale."""

    def __post_init__(self) -> None:
        limits.span("crop scale", self.scale, low=0.0, high=1.0)
        limits.span("crop ratio", self.ratio, low=0.0)


@dataclass(frozen=True, kw_only=True)
class Centre:
    """The middle square of the image, without randomness."""

    fraction: float = 1.0
    """Side of the square as a share of the image's shorter side."""

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 1.0:
            raise InputError(f"centre fraction {self.fraction} is no share: allowed is above 0 up to 1, nearest 1.0")


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The view moved by whole pixels after crop and flip, each distance equally likely; the free border is filled.

    With `crop=Centre()` this is the padded random crop of the CIFAR recipes: 4 of 32 px are a reach of 0.125.
    """

    reach: float = 0.125
    """Greatest distance on each axis, either way, as a share of the view's side, at most 0.5; a pixel at least."""
    fill: Fill = "reflect"
    """`reflect`: the view mirrored at its outermost pixels. `zero`: black."""
    probability: float = 1.0
    """Share of images that are moved."""

    def __post_init__(self) -> None:
        if not 0.0 < self.reach <= 0.5:
            raise InputError(f"shift reach {self.reach} is no share: allowed is above 0 up to 0.5, usual is 0.125")
        if self.fill not in _FILLS:
            raise unknown("fill", self.fill, _FILLS)
        limits.probability("shift probability", self.probability)


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Jitter of the colours, with the factor ranges of torchvision's ColorJitter."""

    brightness: float = 0.4
    """The image is multiplied by a factor uniform in [max(0, 1 - brightness), 1 + brightness]."""
    contrast: float = 0.4
    """Likewise for the distance to the mean grey of the image."""
    saturation: float = 0.4
    """Likewise for the distance to the grey value of each pixel."""
    hue: float = 0.1
    """Hue is turned by a share of the full circle uniform in [-hue, hue]; at most 0.5."""
    probability: float = 0.8
    """Share of images that are jittered at all."""

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            limits.strength(name, getattr(self, name), math.inf)
            if math.isinf(getattr(self, name)):
                raise InputError(f"{name} must be finite: allowed is 0 or more, usual is 0.4")
        limits.strength("hue", self.hue, 0.5)
        limits.probability("jitter probability", self.probability)


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Gaussian blur of some images."""

    sigma: Span = (0.1, 2.0)
    """Least and greatest standard deviation in pixels of the view, drawn uniformly."""
    probability: float = 0.5
    """Share of images that are blurred."""

    def __post_init__(self) -> None:
        limits.span("blur sigma", self.sigma, low=0.0)
        limits.probability("blur probability", self.probability)


@dataclass(frozen=True, kw_only=True)
class Solarise:
    """Values at or above a threshold are inverted, in some images."""

    probability: float = 0.2
    """Share of images that are solarised."""
    threshold: float | Span = 0.5
    """On the scale of 0 (black) to 1 (white); of a pair each image draws its own between the two."""

    def __post_init__(self) -> None:
        limits.probability("solarise probability", self.probability)
        if isinstance(self.threshold, tuple):
            limits.span("solarise threshold", self.threshold, low=0.0, high=1.0, closed=True)
        else:
            limits.probability("solarise threshold", self.threshold)


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """A square of one colour somewhere on the view (DeVries, Taylor, arXiv 1708.04552), the last step before the norm.

    Every pixel is its middle equally often; what reaches past the border is not seen.
    """

    side: float = 0.5
    """Side of the square as a share of the view's side, an even number of pixels."""
    colour: Channels | None = None
    """Red, green and blue of the square, 0 to 1; None: the means of the policy, which become 0."""
    probability: float = 1.0
    """Share of images with such a square."""

    def __post_init__(self) -> None:
        if not 0.0 < self.side <= 1.0:
            raise InputError(f"cut-out side {self.side} is no share: allowed is above 0 up to 1, usual is 0.5")
        if self.colour is not None:
            limits.channels("cut-out colour", self.colour, low=-math.inf)
        limits.probability("cut-out probability", self.probability)


@dataclass(frozen=True, kw_only=True)
class ViewPolicy:
    """The settings of one view of each image.

    The steps, in this order: crop and flip in one sampling to `size`; shift; colour jitter; grey; clamp to [0, 1];
    blur; solarise; operations; cut-out; normalise. None or 0 leaves a step out. With `per_sample` the callable does
    everything and the other fields except `size` say nothing.
    """

    size: int
    """Side of the square view in pixels."""
    crop: Crop | Centre = Crop()
    """Which part of the image is shown."""
    within_region: bool = False
    """Whether the crop is taken from a region of the image, one of those that `make_views` is given, and the same for
    all roles; images without a region are shown as without this."""
    flip: float = 0.5
    """Share of images mirrored left to right."""
    shared_flip: bool = False
    """Whether all roles that say so mirror the same images."""
    shift: Shift | None = None
    """The view moved by some pixels."""
    colour: Colour | None = None
    """Jitter of brightness, contrast, saturation, hue."""
    grey: float = 0.0
    """Share of images turned to grey."""
    blur: Blur | None = None
    """Gaussian blur."""
    solarise: Solarise | None = None
    """Inversion of bright values."""
    operations: Operations | None = None
    """Operations of RandAugment, drawn from a list."""
    cut_out: CutOut | None = None
    """A square that hides a part."""
    each_frame: bool = False
    """Whether every frame of a clip has a draw of its own; else all frames of a clip have the same."""
    mean: Channels | None = None
    """Subtracted from each channel at the end, on a scale of 0 to 1. None: what the encoder is shown, which training
    fills in; ImageNet's where nobody does."""
    std: Channels | None = None
    """Each channel is divided by this at the end; None as for `mean`."""
    interpolation: Filter = "bilinear"
    """Interpolation of the crop, antialiased where it shrinks."""
    per_sample: PerSample | None = None
    """Own transform of one image at a time: takes a PIL image, returns a (3, size, size) float tensor."""

    def __post_init__(self) -> None:
        limits.whole("view size", self.size, 1)
        limits.probability("flip probability", self.flip)
        limits.probability("grey probability", self.grey)
        if self.interpolation not in _FILTERS:
            raise unknown("interpolation", self.interpolation, _FILTERS)
        mean, std = self.statistics
        limits.channels("mean", mean, low=-math.inf)
        limits.channels("std", std, low=0.0)
        if self.per_sample is not None and not callable(self.per_sample):
            raise InputError(f"per_sample must be a function of a PIL image, found {type(self.per_sample).__name__}")

    @property
    def statistics(self) -> tuple[Channels, Channels]:
        """Means and deviations that the view is normalised by."""
        return (
            IMAGENET_MEAN if self.mean is None else self.mean,
            IMAGENET_STD if self.std is None else self.std,
        )

    def normalised(self, mean: Channels, std: Channels) -> ViewPolicy:
        """The same view, normalised by these where it does not say by what."""
        return replace(self, mean=mean if self.mean is None else self.mean, std=std if self.std is None else self.std)

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
