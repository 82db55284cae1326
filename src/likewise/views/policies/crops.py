"""The view policies of methods that look at many crops of an image."""

from __future__ import annotations

from dataclasses import replace

from likewise.views.policies.limits import Span
from likewise.views.policies.pair import blurred
from likewise.views.policies.policy import Crop, ViewPolicy
from likewise.views.policies.presets import multi_crop, strong

FIVE_CROPS = ((1.0, 1.0), (6 / 7, 0.86), (5 / 7, 0.715), (4 / 7, 0.571), (3 / 7, 0.429))
"""Side of each of the five as a share of the full one (224, 192, 160, 128, 96 px), and factor on its scale."""


def five_crops(role: str, policy: ViewPolicy, scale: Span) -> dict[str, ViewPolicy]:
    """Roles `role`, `role_1`, ...: the policy in crops of falling size and scale (ReSSL, arXiv 2107.09282, multi-crop).

    Sides are 1, 6/7, ... of the policy's in steps of 4 pixels; `scale` is that of the largest.
    """
    low, high = scale
    return {
        f"{role}_{number}" if number else role: replace(
            policy,
            size=max(4, 4 * round(policy.size * side / 4)),
            crop=Crop(scale=(low * factor, high * factor)),
        )
        for number, (side, factor) in enumerate(FIVE_CROPS)
    }


def unequal_crops(
    size: int,
    small_size: int,
    small_count: int,
    *,
    large_scale: Span,
    small_scale: Span,
) -> dict[str, ViewPolicy]:
    """Roles `large_0`, `large_1`, `small_0`, ...: BYOL's unequal pair, and small crops (DINO, arXiv 2104.14294).

    All are bicubic, with jitter (.4, .4, .2, .1) in 8 of 10 images and grey in 2. Above 64 px the first is always
    blurred, the second in 1 of 10 images, the small ones in 5; the second is solarised in 2 of 10.
    """

    def policy(side: int, scale: Span, blur: float, solarise: float = 0.0) -> ViewPolicy:
        share = blurred(size, blur)
        made = strong(side, scale=scale, saturation=0.2, blur=share, solarise=solarise)
        return replace(made, interpolation="bicubic")

    small = policy(small_size, small_scale, blur=0.5)
    views = multi_crop(policy(size, large_scale, blur=1.0), small, large_count=2, small_count=small_count)
    return views | {"large_1": policy(size, large_scale, blur=0.1, solarise=0.2)}
