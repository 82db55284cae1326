"""Shared parts of methods that match large and small crops by prototypes: settings and views."""

from __future__ import annotations

from dataclasses import dataclass

from likewise.encoders import Encoder
from likewise.encoders.passes.crops import small_side
from likewise.methods.method import Facts
from likewise.methods.parts.checks import at_least, between
from likewise.views import ViewPolicy
from likewise.views.policies.crops import unequal_crops

LARGE = 2
"""Large views of each image. Targets are made of these, by the teacher where there is one."""


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """Settings of the crops, with the defaults of most small presets, and of the prototypes' first steps."""

    small_crops: int = 2
    """Small views per image beside the two large ones; they predict targets and make none."""
    small_size: int = 0
    """Side of small crops in pixels; 0: 3/7 of the image's (96 of 224), half of it up to 64 px."""
    large_scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the image that a large crop covers."""
    small_scale: tuple[float, float] = (0.1, 0.4)
    """Smallest and largest share of the image that a small crop covers."""
    frozen: float = 0.0
    """Share of the budget in which the prototypes stay as they were drawn; officially one epoch."""

    def __post_init__(self) -> None:
        at_least("small_crops", self.small_crops, 0)
        at_least("small_size", self.small_size, 0)
        between("frozen", self.frozen, 0.0, 1.0)

    def idle(self) -> dict[str, str]:
        """Settings of small crops, where there are none."""
        return {} if self.small_crops else dict.fromkeys(("small_size", "small_scale"), "small_crops above 0")


def sides(encoder: Encoder, settings: CropSettings, facts: Facts) -> tuple[int, int]:
    """Pixels of large and of small crops. Raises InputError where the encoder does not take the small ones."""
    size = facts.image_size
    return size, small_side(encoder, size, settings.small_size) if settings.small_crops else size


def crop_views(encoder: Encoder, settings: CropSettings, facts: Facts) -> dict[str, ViewPolicy]:
    """Roles `large_0`, `large_1`, `small_0`, ... with the unequal colours of BYOL and DINO."""
    large, small = sides(encoder, settings, facts)
    return unequal_crops(
        large,
        small,
        settings.small_crops,
        large_scale=settings.large_scale,
        small_scale=settings.small_scale,
    )
