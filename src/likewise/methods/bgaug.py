"""Background augmentations: objects on other backgrounds, and their own background as a hard negative."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.methods.byol import BYOL
from likewise.methods.method import Batch, Card, Facts, Preset, Terms, Views, usual
from likewise.methods.moco_v2 import MoCoV2, Own
from likewise.methods.parts.around import Around, AroundSettings, coins, global_rows, partners
from likewise.methods.parts.checks import between
from likewise.methods.swav import SwAV
from likewise.views.backgrounds import background_only, composite, usable

NEGATIVE = "negative"
"""Role of the crops whose objects the negatives show."""
LEAST, MOST = 0.02, 0.9
"""Shares of a crop that its object covers at least and at most for its background to be changed."""


class Crops(NamedTuple):
    """Crops of one role with their masks, of the whole batch."""

    image: Tensor
    """(N, 3, S, S) in [0, 1]."""
    mask: Tensor
    """(N, 1, S, S) in [0, 1]."""


class BackgroundAugmentation(Around):
    """Background augmentations (BG-RM, BG-Random, BG-Swaps) around a method with two views.

    With a foreground mask m of each image, cut and mirrored like its view, before colours change,

        composite(x, m, b) = m x + (1 - m) b,

    in each positive view with probability `p_positive`, independently: b is one grey level (`bg_rm`) or the
    background of another image of the batch, whose object is filled with its largest strip of background
    (`bg_random`). `bg_swaps` does the latter and, on MoCo v2, adds to each query with probability `p_negative` one
    negative more, which nobody else sees: another image's object on the background that the query has, replaced or its
    own, seen by the key encoder. It does not enter the queue. BYOL and SwAV have no negatives; of SwAV the large crops
    are changed.

    A crop of which the object covers less than 2 % or more than 90 %, and an image of which it covers less than 5 % or
    more than 90 %, keeps its background.

    Ryali, Schwab, Morcos: Characterizing and Improving the Robustness of Self-Supervised Learning through Background
    Augmentations, 2021, arXiv 2103.12719, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Background augmentations",
        paper="Ryali, Schwab, Morcos. Characterizing and Improving the Robustness of Self-Supervised Learning through "
        "Background Augmentations. 2021, arXiv 2103.12719",
        summary="Where the background gives the object away in the data and will not later, as with fixed cameras.",
        memory="queue",
    )
    usable_masks: ClassVar[tuple[float, float]] = (0.05, 0.9)
    composes: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings(AroundSettings):
        """Settings of background augmentations. The defaults are those of the small preset."""

        base: Literal["moco_v2", "byol", "swav"] = "moco_v2"
        """Method whose views are changed."""
        augment: Literal["bg_rm", "bg_random", "bg_swaps"] = "bg_swaps"
        """One grey level; another image's background; the latter and a negative on the query's background."""
        p_positive: float = 0.5
        """Share of views whose background is changed; about .2 in the paper."""
        p_negative: float = 0.8
        """Share of queries with a negative on their background."""

        def __post_init__(self) -> None:
            super().__post_init__()
            between("p_positive", self.p_positive, 0.0, 1.0)
            between("p_negative", self.p_negative, 0.0, 1.0)
            if self.augment == "bg_swaps" and self.base != "moco_v2":
                raise InputError(
                    f"augment='bg_swaps' adds negatives, and {self.base} has none: nearest is augment='bg_random', its "
                    "other half"
                )

        def idle(self) -> dict[str, str]:
            """The share of negatives, where there are none."""
            return super().idle() | ({} if self.augment == "bg_swaps" else {"p_negative": "augment=bg_swaps"})

    settings: Settings

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__(encoder, settings, facts)
        self.negatives = settings.augment == "bg_swaps"
        self.positives = tuple(role for role in self.views if not role.startswith("small_"))
        if self.negatives:
            self.views = {**self.views, NEGATIVE: self.views["second"]}
        self.with_negative = torch.zeros(0, dtype=torch.bool)

    def compose(self, crops: Views, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Other backgrounds for the positive views, and the negatives."""
        rows = global_rows(crops[self.positives[0]].image)
        placed, behind = {}, {}
        for role in self.positives:
            placed[role], behind[role] = self._with_other_background(self._of_all(crops, role), generator)
        if self.negatives:
            first = self.positives[0]
            there, background = behind[first]
            placed[NEGATIVE], used = self._negatives(self._of_all(crops, NEGATIVE), background, there, generator)
            self.with_negative = used[rows]
        return {role: image[rows] for role, image in placed.items()}

    def _of_all(self, crops: Views, role: str) -> Crops:
        view = crops[role]
        assert view.mask is not None, "the views of this method carry masks"
        return Crops(gather(view.image), gather(view.mask))

    def _with_other_background(self, crops: Crops, generator: torch.Generator) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The images, some on another background; whether each has a background that is known, and that one."""
        image, mask = crops
        count, settings = len(image), self.settings
        partner, coin = partners(count, generator), coins(count, settings.p_positive, generator)
        grey_N = torch.rand(count, generator=generator)
        change = coin.to(image.device) & usable(mask, LEAST, MOST)
        if settings.augment == "bg_rm":
            grey = grey_N.to(image).view(-1, 1, 1, 1).expand_as(image)
            return _where(change, composite(image, mask, grey), image), (change, grey)
        own = background_only(image, mask)
        there, background = own.there[partner], own.image[partner]
        change = change & there & (partner != torch.arange(count)).to(image.device)
        known = change | own.there
        return _where(change, composite(image, mask, background), image), (known, _where(change, background, own.image))

    def _negatives(
        self, crops: Crops, background: Tensor, there: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Another image's object on each background, and whether there is one."""
        image, mask = crops
        count = len(image)
        partner, coin = partners(count, generator), coins(count, self.settings.p_negative, generator)
        used = coin.to(image.device) & there & usable(mask, LEAST, MOST)[partner]
        used = used & (partner != torch.arange(count)).to(image.device)
        return composite(image[partner], mask[partner], background), used

    def step(self, views: Views, batch: Batch) -> Terms:
        """The base's step; on MoCo v2 with the negatives that `compose` has made for this batch."""
        if not (self.negatives and isinstance(self.base, MoCoV2)):
            return self.base.step(views, batch)
        return self.base.contrasted(views, batch, Own(views[NEGATIVE].image, self.with_negative))

    _unsure: ClassVar = {"rate": "the base's published one; what the paper trained with is not known here"}
    _note: ClassVar = (
        "ImageNet, ResNet-50, in the base's published recipe; published masks are of DeepUSPS, a network that is not "
        "here: --masks onnx:FILE takes any like it. p_positive and p_negative are about those of the paper"
    )

    presets: ClassVar = {
        "small": usual(Settings()),
        "small_byol": usual(Settings(base="byol", augment="bg_random")),
        "small_swav": usual(Settings(base="swav", augment="bg_random", queue_size=1024)),
        "imagenet": Preset(
            settings=Settings(base_preset="imagenet", queue_size=65_536, p_positive=0.2),
            optimisation=replace(MoCoV2.presets["imagenet"].optimisation, epochs=800),
            note=_note,
            differs=_unsure,
        ),
        "imagenet_byol": Preset(
            settings=Settings(base="byol", base_preset="imagenet", augment="bg_random", p_positive=0.2),
            optimisation=BYOL.presets["imagenet"].optimisation,
            note=_note,
            differs=_unsure,
        ),
        "imagenet_swav": Preset(
            settings=Settings(
                base="swav", base_preset="imagenet_256", augment="bg_random", queue_size=3840, p_positive=0.2
            ),
            optimisation=SwAV.presets["imagenet_256"].optimisation,
            note=_note,
            differs={**SwAV.presets["imagenet_256"].differs, **_unsure},
        ),
    }


def _where(condition_N: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(condition_N.view(-1, 1, 1, 1), first, second)
