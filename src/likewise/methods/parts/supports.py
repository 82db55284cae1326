"""Shared parts of PAWS and NNCSL: views, support images, the network over both, the soft nearest-neighbour loss.

Shapes: V views (large ones first) of U images, S support rows, C classes of the supports, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Stream, shuffled, stratified
from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.encoders.passes.crops import small_side
from likewise.errors import InputError
from likewise.methods.method import Batch, Facts, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity.labelled.support import consistency, mean_entropy, smoothed, soft_neighbours, swapped_targets
from likewise.views import Crop, Operation, Operations, Solarise, ViewPolicy, multi_crop, strong
from likewise.views.policies.pair import blurred

LARGE = 2
SUPPORT = "support"
"""The stream of labelled images, and the beginning of the roles of their views."""


@dataclass(frozen=True, kw_only=True)
class SupportSettings:
    """Settings of the views, the supports and the soft neighbours, with the defaults of the small presets."""

    support_classes: int = 0
    """Different classes among the supports of a step; 0: all that are known."""
    per_class: int = 16
    """Support images of each of these classes."""
    support_views: int = 1
    """Views of each support image."""
    small_crops: int = 2
    """M: small views of each image beside the two large ones; they predict targets and make none."""
    small_size: int = 0
    """Side of small crops in pixels; 0: 3/7 of the image's (96 of 224), half of it up to 64 px."""
    large_scale: tuple[float, float] = (0.75, 1.0)
    """Smallest and largest share of the image that a large crop covers."""
    small_scale: tuple[float, float] = (0.3, 0.75)
    """Smallest and largest share of the image that a small crop covers."""
    jitter: float = 0.5
    """s: .8 s is the strength of brightness, contrast and saturation, .2 s that of hue, in 8 of 10 images."""
    solarise: float = 0.2
    """Share of images that are solarised, at a threshold of their own."""
    equalise: float = 0.2
    """Share of images whose histogram is equalised."""
    grey: float = 0.0
    """Share of images turned to grey."""
    temperature: float = 0.1
    """tau: divides the cosines to the supports."""
    sharpen: float = 0.25
    """T: targets are taken to the power 1 / T."""
    smoothing: float = 0.1
    """Share of a support's label that is spread over all classes."""
    embedding: int = 128
    """Length D of the embedding."""

    def __post_init__(self) -> None:
        at_least("support_classes", self.support_classes, 0)
        at_least("per_class", self.per_class, 1)
        at_least("support_views", self.support_views, 1)
        at_least("small_crops", self.small_crops, 0)
        at_least("small_size", self.small_size, 0)
        at_least("jitter", self.jitter, 0.0)
        for name in ("solarise", "equalise", "grey", "smoothing"):
            between(name, getattr(self, name), 0.0, 1.0)
        positive("temperature", self.temperature)
        positive("sharpen", self.sharpen)
        at_least("embedding", self.embedding, 1)

    def idle(self) -> dict[str, str]:
        """Settings of small crops, where there are none."""
        return {} if self.small_crops else dict.fromkeys(("small_size", "small_scale"), "small_crops above 0")


def support_roles(settings: SupportSettings) -> tuple[str, ...]:
    """Roles of the views of a support image."""
    return tuple(f"{SUPPORT}_{number}" for number in range(settings.support_views))


def support_streams(settings: SupportSettings, facts: Facts) -> Mapping[str, Stream]:
    """All images, their labels not looked at; and supports, equally many of each class, in the order a, b, c, a, ..."""
    draw = stratified(settings.support_classes or max(1, facts.classes), settings.per_class)
    return {
        MAIN: Stream(draw=shuffled),
        SUPPORT: Stream(views=support_roles(settings), keep="labelled", draw=draw),
    }


def support_views(encoder: Encoder, settings: SupportSettings, facts: Facts) -> dict[str, ViewPolicy]:
    """Roles `support_0`, ..., `large_0`, `large_1`, `small_0`, ...; supports look like large views."""
    size, jitter = facts.image_size, 0.8 * settings.jitter
    large = strong(
        size,
        scale=settings.large_scale,
        brightness=jitter,
        contrast=jitter,
        saturation=jitter,
        hue=min(0.2 * settings.jitter, 0.5),
        grey=settings.grey,
        blur=blurred(size),
    )
    equalise = Operations(choices=(Operation(name="equalise"),), probability=settings.equalise)
    large = replace(
        large,
        solarise=Solarise(probability=settings.solarise, threshold=(0.0, 1.0)) if settings.solarise else None,
        operations=equalise if settings.equalise else None,
    )
    side = small_side(encoder, size, settings.small_size) if settings.small_crops else size
    small = replace(large, size=side, crop=Crop(scale=settings.small_scale))
    crops = multi_crop(large, small, large_count=LARGE, small_count=settings.small_crops)
    return {**dict.fromkeys(support_roles(settings), large), **crops}


def projector(encoder: Encoder, embedding: int) -> nn.Sequential:
    """Linear, norm, ReLU, twice, and a last layer; biases everywhere (PAWS, section 4)."""
    width = encoder.features
    return heads.mlp([width, width, width, embedding])


class Seen(NamedTuple):
    """Output of the network for a batch."""

    views: Tensor
    """((2 + M) U, D) of the images, a view after the other."""
    supports: Tensor
    """(S, D) of the support images, a view after the other."""
    features: Tensor
    """(S, F) the encoder's own features of the supports."""


def seen(encoder: nn.Module, head: nn.Module, views: Views, roles: Mapping[str, ViewPolicy]) -> Seen:
    """One pass for the supports and the large views, whose batch statistics are shared, and one for the small ones."""
    support = [views[role].image for role in roles if role.startswith(f"{SUPPORT}_")]
    large = [views[role].image for role in roles if role.startswith("large_")]
    small = [views[role].image for role in roles if role.startswith("small_")]
    count = sum(map(len, support))
    features = encoder(torch.cat([*support, *large]))
    together = head(features)
    rows = [together[count:]]
    if small:
        rows.append(head(encoder(torch.cat(small))))
    return Seen(torch.cat(rows), together[:count], features[:count])


class Supports(NamedTuple):
    """The supports of all processes."""

    rows: Tensor
    """(S, D), with gradient."""
    labels: Tensor
    """(S,) classes as the data numbers them."""


def supports_of(rows_SD: Tensor, batch: Batch, views: int) -> Supports:
    """Supports of all processes, a view after the other. Raises InputError where the data has no labels."""
    labels_B = batch.others[SUPPORT].labels
    if labels_B is None:
        raise InputError("supports are labelled images, and the data has no labels")
    labels_N = gather(labels_B)
    each = rows_SD.view(views, -1, rows_SD.shape[1])
    rows_SD = torch.cat([gather_with_gradient(view_BD) for view_BD in each])
    return Supports(rows_SD, labels_N.repeat(views))


class Neighbourly(NamedTuple):
    """The two terms of PAWS, and what is worth watching."""

    consistency: Tensor
    """Views against the sharpened predictions of other views."""
    mean_entropy: Tensor
    """Negative entropy of the mean prediction, to be added."""
    parts: dict[str, Tensor]
    """Named scalars."""


def neighbourly(
    anchors_VD: Tensor,
    supports: Supports,
    targets_VD: Tensor,
    target_supports_SD: Tensor,
    settings: SupportSettings,
) -> Neighbourly:
    """PAWS's loss (section 3) of this process's views against the supports of all.

    `targets_VD` and `target_supports_SD` are what targets are made of, without gradient; only the large views count.
    Classes are those among the supports, so smoothing spreads over them alone, as in the published code.
    """
    known_C, column_S = torch.unique(supports.labels, return_inverse=True)
    rows_SC = smoothed(column_S, len(known_C), settings.smoothing, supports.rows.dtype)
    views = LARGE + settings.small_crops
    large = len(anchors_VD) // views * LARGE
    with torch.no_grad():
        taught_2UC = soft_neighbours(targets_VD[:large], target_supports_SD, rows_SC, settings.temperature)
        target_VC = swapped_targets(taught_2UC, settings.sharpen, settings.small_crops)
    p_VC = soft_neighbours(anchors_VD, supports.rows, rows_SC, settings.temperature)
    entropy = mean_entropy(gather_with_gradient(p_VC), settings.sharpen)
    peak = taught_2UC.amax(1).mean()
    spread = -torch.special.xlogy(target_VC, target_VC.clamp_min(1e-12)).sum(1).mean()
    return Neighbourly(consistency(p_VC, target_VC), entropy, {"confidence": peak, "teacher_entropy": spread})
