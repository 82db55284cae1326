"""Shared parts of GCD and PromptCAL: head, views, losses of one branch, and the trained part of the encoder.

Shapes: B images of the global batch, two views each, first views of all images before the second ones (2B rows); D
outputs of the head, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Stream, evenly
from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.methods.method import Batch, Facts, Optimisation
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity import nt_xent, similarities, unit
from likewise.similarity.mutual import supervised_contrast
from likewise.views import ViewPolicy
from likewise.views.policies.pair import strong_views
from likewise.views.policies.policy import Crop
from likewise.views.policies.presets import weak

Tuned = Literal["all", "last"]
FIXED = (0.875**2, 0.875**2)
"""Area of the published crop: 224 of 256 pixels."""

FIXED_CROP = (
    "a square of 49/64 of the image's area, anywhere in it; published: resized to 256 px at the short side, "
    "then 224 x 224 px of it, which is the same for square images"
)
"""A difference that the published presets have."""


@dataclass(frozen=True, kw_only=True)
class BranchSettings:
    """Settings of GCD that PromptCAL has as well, with the defaults of the small presets."""

    supervised: float = 0.35
    """Share of the supervised loss; the rest is that of the unsupervised one."""
    temperature: float = 0.07
    """Divides similarities in the supervised loss."""
    temperature_unsupervised: float = 0.2
    """Divides similarities between views; 1 in both published codes."""
    hidden: int = 512
    """Width of the head's two hidden layers."""
    bottleneck: int = 128
    """Length of the unit vector before the last layer."""
    embedding: int = 1024
    """D: rows of the last, weight-normalised layer."""
    tuned: Tuned = "all"
    """What of the encoder is trained: all, or the last block (of a ResNet the last stage), as published."""
    colours: bool = True
    """Views of MoCo v2: crops of a fifth to all of the image, colours, grey. Without, the published crop of fixed size
    and flip, which suit an encoder that was trained before."""

    def __post_init__(self) -> None:
        between("supervised", self.supervised, 0.0, 1.0)
        positive("temperature", self.temperature)
        positive("temperature_unsupervised", self.temperature_unsupervised)
        for name in ("hidden", "bottleneck", "embedding"):
            at_least(name, getattr(self, name), 1)


PUBLISHED: Mapping[str, Any] = {
    "temperature_unsupervised": 1.0,
    "hidden": 2048,
    "bottleneck": 256,
    "embedding": 65_536,
    "tuned": "last",
    "colours": False,
}
"""Settings of both published recipes, for a ViT-B/16 of DINO."""


def published(epochs: float) -> Optimisation:
    """Of both published recipes."""
    return Optimisation(
        learning_rate=0.1, weight_decay=5e-5, schedule="cosine_epoch", final=1e-3, batch_size=128, epochs=epochs
    )


def small(epochs: float) -> Optimisation:
    """Of both small presets."""
    return Optimisation(learning_rate=0.06, weight_decay=5e-4, batch_size=128, epochs=epochs)


def equally() -> Mapping[str, Stream]:
    """Labelled and unlabelled images equally often on average, drawn with replacement."""
    return {MAIN: Stream(draw=evenly)}


def branch_head(features: int, settings: BranchSettings) -> nn.Sequential:
    """F - hidden - hidden - bottleneck with GELU, unit length, then D weight-normalised rows (DINO's head)."""
    perceptron = heads.mlp(
        [features, settings.hidden, settings.hidden, settings.bottleneck], hidden_norm=None, activation="gelu"
    )
    heads.initialise(perceptron, 0.02, truncated=True)
    return nn.Sequential(
        *perceptron, heads.Unit(), heads.WeightNormalisedLinear(settings.bottleneck, settings.embedding)
    )


def branch_views(settings: BranchSettings, facts: Facts) -> dict[str, ViewPolicy]:
    """Two views of each image, made alike."""
    roles = ("first", "second")
    if settings.colours:
        return strong_views(roles, facts.image_size)
    plain = weak(facts.image_size)
    return dict.fromkeys(roles, replace(plain, crop=Crop(scale=FIXED, ratio=(1.0, 1.0)), interpolation="bicubic"))


def check_labelled(name: str, facts: Facts) -> None:
    """Raise InputError where no image has a label."""
    if not facts.classes:
        raise InputError(
            f"{name} needs labels of some images, and there are none: name them with --labels, or learn by simclr"
        )


def labels_of(batch: Batch) -> Tensor:
    """(2B,) labels of the global batch for both views, -1 where unknown."""
    labels_B = torch.full_like(batch.ids, -1) if batch.labels is None else batch.labels
    return gather(labels_B).repeat(2)


def both_views(x_RD: Tensor) -> Tensor:
    """(2B, D) of the global batch, with gradient, of the rows of this process: its first views, then its second."""
    return torch.cat([gather_with_gradient(half) for half in x_RD.chunk(2)])


def supervised(student_RD: Tensor, key_RD: Tensor, labels_R: Tensor, temperature: float) -> Tensor:
    """SupCon of labelled rows against labelled keys, each row's own key left out; 0 without any pair of a label.

    Takes rows of the global batch.
    """
    return supervised_contrast(similarities(unit(student_RD), unit(key_RD), temperature), labels_R)


def gcd_loss(h_RD: Tensor, labels_R: Tensor, settings: BranchSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of one branch (GCD, arXiv 2201.02609, eq. 1-3), its unsupervised and its supervised part.

    `h_RD` are the rows of this process, `labels_R` those of the global batch.
    """
    first_BD, second_BD = h_RD.chunk(2)
    unsupervised = nt_xent(first_BD, second_BD, settings.temperature_unsupervised)
    everyone = both_views(h_RD)
    by_label = supervised(everyone, everyone, labels_R, settings.temperature)
    total = (1 - settings.supervised) * unsupervised + settings.supervised * by_label
    return total, unsupervised, by_label


def freeze(encoder: Encoder, tuned: Tuned) -> None:
    """With `last`, let only the last block of the encoder be trained, and prompts where it has some, in place."""
    if tuned == "all":
        return
    encoder.requires_grad_(False)
    last_block(encoder.backbone).requires_grad_(True)
    prompts = getattr(encoder.backbone, "prompts", None)
    if isinstance(prompts, nn.Parameter):
        prompts.requires_grad_(True)


def last_block(backbone: nn.Module) -> nn.Module:
    """The last block of a transformer, the last stage of others: the last child that holds matrices."""
    children = [child for child in backbone.children() if any(p.ndim > 1 for p in child.parameters())]
    for name in ("blocks", "stages", "groups"):
        found = getattr(backbone, name, None)
        if isinstance(found, nn.Sequential | nn.ModuleList):
            children = list(found)
    return children[-1]
