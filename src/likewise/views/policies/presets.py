"""The usual policies by name. Other policies are `ViewPolicy(...)` or `dataclasses.replace` of one of these."""

from __future__ import annotations

from dataclasses import replace

from likewise.errors import InputError
from likewise.views.policies import limits
from likewise.views.policies.limits import Channels, Span
from likewise.views.policies.policy import Blur, Centre, Colour, Crop, Fill, PerSample, Shift, Solarise, ViewPolicy


def strong(
    size: int,
    *,
    scale: Span = (0.2, 1.0),
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    jitter: float = 0.8,
    grey: float = 0.2,
    blur: float = 0.5,
    sigma: Span = (0.1, 2.0),
    solarise: float = 0.0,
    mean: Channels | None = None,
    std: Channels | None = None,
) -> ViewPolicy:
    """Crop, flip, colours, grey, blur: the augmentation of MoCo v2 (Chen et al. 2020, arXiv:2003.04297).

    `jitter`, `grey`, `blur`, `solarise` are the shares of images they are applied to; `sigma` is in pixels of the
    view. Raises InputError for what `ViewPolicy` and its parts do not allow.
    """
    return ViewPolicy(
        size=size,
        crop=Crop(scale=scale),
        colour=Colour(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, probability=jitter),
        grey=grey,
        blur=Blur(sigma=sigma, probability=blur) if blur != 0 else None,
        solarise=Solarise(probability=solarise) if solarise != 0 else None,
        mean=mean,
        std=std,
    )


def weak(
    size: int, *, mean: Channels | None = None, std: Channels | None = None, scale: Span = (0.2, 1.0)
) -> ViewPolicy:
    """Crop and flip only. Raises InputError as `ViewPolicy` does."""
    return ViewPolicy(size=size, crop=Crop(scale=scale), mean=mean, std=std)


def padded(
    size: int, *, mean: Channels | None = None, std: Channels | None = None, pad: int, fill: Fill = "reflect"
) -> ViewPolicy:
    """The whole middle square, filled up by `pad` pixels on each side and cropped at random, and a flip.

    The augmentation of CIFAR recipes (pad 4 of 32 px; He et al. 2016). Raises InputError as `ViewPolicy` does, and
    for a `pad` that is not from 1 to half of the size.
    """
    limits.whole("pad", pad, 1, size // 2)
    return ViewPolicy(size=size, crop=Centre(), shift=Shift(reach=pad / size, fill=fill), mean=mean, std=std)


def centre(
    size: int, *, mean: Channels | None = None, std: Channels | None = None, fraction: float = 1.0
) -> ViewPolicy:
    """The middle square whose side is `fraction` of the shorter side, resized; for evaluation, without randomness.

    Usual is 0.875 for images of more than 64 pixels (a 224 crop of 256) and 1.0 for smaller ones. Raises InputError
    as `ViewPolicy` does.
    """
    return ViewPolicy(size=size, crop=Centre(fraction=fraction), flip=0.0, mean=mean, std=std)


def multi_crop(
    large: ViewPolicy, small: ViewPolicy, *, large_count: int = 2, small_count: int = 6
) -> dict[str, ViewPolicy]:
    """Several large and several small views: roles `large_0`, ..., `small_0`, ... (SwAV, arXiv:2006.09882).

    Raises InputError for negative counts, or none at all.
    """
    if large_count < 0 or small_count < 0 or large_count + small_count < 1:
        found = f"{large_count} large and {small_count} small"
        raise InputError(f"multi-crop needs counts of 0 or more and at least one view, found {found}")
    views = {f"large_{n}": large for n in range(large_count)}
    return views | {f"small_{n}": small for n in range(small_count)}


def from_callable(function: PerSample, size: int) -> ViewPolicy:
    """A policy of one's own: `function` takes a PIL image (RGB) and returns a (3, size, size) float tensor.

    It is called once per image. Random numbers it takes from torch, numpy or random are seeded per (seed, step,
    role, row). Raises InputError where `function` cannot be called.
    """
    return replace(ViewPolicy(size=size), per_sample=function)
