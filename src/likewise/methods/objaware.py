"""Object-aware contrast: crops within the boxes of objects, or queries on the backgrounds of other images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.memory import Queue
from likewise.methods.method import Batch, Card, Facts, Optimisation, Preset, Terms, Views, usual
from likewise.methods.parts.around import Around, AroundSettings, coins, global_rows, partners
from likewise.methods.parts.checks import at_least, between
from likewise.views import View
from likewise.views.backgrounds import background_only, composite

FIRST = "first"
"""The view that is mixed: MoCo's query, and the one that BYOL's student sees."""


class Drawn(NamedTuple):
    """Random draws for the mixing of one batch of N images."""

    mixes: Tensor
    """(N,) bool: which images take part, if they have a background."""
    partner: Tensor
    """(N,) int64: whose background each gets."""
    remembered: Tensor
    """(N,) in [0, 1): which remembered background, where the partner has none."""


class ObjectAware(Around):
    """Object-aware contrastive learning, the second stage: another method with the masks of objects.

    `crop`: of each image one box around an object is drawn, and all views are cropped within it, so that two objects of
    one image are not pulled together. Images without a box are cropped as usual.

    `mixup`: with the soft mask m of the first view x, with probability `mix`,

        x' = m x + (1 - m) b,

    where b is the partner's view, a random permutation of the batch, with the rectangle of its object filled by its
    largest strip of background; where the partner has none, one of the last `memory` such backgrounds, or x stays. It
    is done after colours have changed, and the other view stays as it is.

    Masks are those of a first stage: train `base` as it is, then name that run, `--masks contracam:RUN`; published for
    crops are ten rounds of it at twice the resolution (`contracam:RUN:10:2`), drawn to edges, and for mixing one
    (`contracam:RUN:1:1`). The second stage starts from random weights. The small default takes masks that need no
    first stage.

    Mo, Kang, Sohn, Li, Shin: Object-aware Contrastive Learning for Debiased Scene Representation, NeurIPS 2021, arXiv
    2108.00049, sections 3.2 and 3.3.
    """

    card: ClassVar[Card] = Card(
        title="Object-aware contrastive learning",
        paper="Mo, Kang, Sohn, Li, Shin. Object-aware Contrastive Learning for Debiased Scene Representation. NeurIPS "
        "2021, arXiv 2108.00049",
        summary="For images with several objects (crop), and where backgrounds will change (mixup).",
        memory="queue",
    )
    composes: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings(AroundSettings):
        """Settings of object-aware contrast. The defaults are those of the small preset."""

        base: Literal["moco_v2", "byol"] = "moco_v2"
        """Method whose views are changed."""
        augment: Literal["crop", "mixup"] = "mixup"
        """Crops within an object's box, or objects on other backgrounds."""
        mix: float = 0.4
        """Share of images that are mixed."""
        threshold: float = 0.2
        """Value of a mask from which a pixel belongs to the object, when its background is looked for."""
        memory: int = 50
        """Backgrounds of earlier images that are kept for those whose partner has none."""

        def __post_init__(self) -> None:
            super().__post_init__()
            between("mix", self.mix, 0.0, 1.0)
            between("threshold", self.threshold, 0.0, 1.0)
            at_least("memory", self.memory, 1)

        def idle(self) -> dict[str, str]:
            """Settings of mixing, where views are cropped."""
            mixing = self.augment == "mixup"
            return super().idle() | ({} if mixing else dict.fromkeys(("mix", "threshold", "memory"), "augment=mixup"))

    settings: Settings

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__(encoder, settings, facts)
        self.mixing = settings.augment == "mixup"
        self.drawn: Drawn | None = None
        if self.mixing:
            self.side = self.views[FIRST].size
            self.backgrounds = Queue(settings.memory, 3 * self.side**2)
        else:
            self.views = {role: replace(policy, within_region=True) for role, policy in self.views.items()}

    def compose(self, crops: Views, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws what the step mixes, for the whole batch; the views themselves stay."""
        if self.mixing:
            count = len(gather(batch.ids))
            self.drawn = Drawn(
                coins(count, self.settings.mix, generator),
                partners(count, generator),
                torch.rand(count, generator=generator),
            )
        return {}

    def step(self, views: Views, batch: Batch) -> Terms:
        """The base's step with the first view mixed; then the backgrounds of this batch are remembered."""
        if not self.mixing:
            return self.base.step(views, batch)
        assert self.drawn is not None, "compose comes before the step"
        mixed = self._mixed(views[FIRST], self.drawn)
        return self.base.step({**views, FIRST: views[FIRST]._replace(image=mixed)}, batch)

    @torch.no_grad()
    def _mixed(self, view: View, drawn: Drawn) -> Tensor:
        """The first view on other backgrounds; remembers those of this batch afterwards."""
        assert view.mask is not None, "the views of this method carry masks"
        image, mask = gather(view.image), gather(view.mask)
        device = image.device
        own = background_only(image, mask, self.settings.threshold)
        there = own.there & drawn.mixes.to(device)
        partner = drawn.partner.to(device)
        other = torch.where(there[partner].view(-1, 1, 1, 1), own.image[partner], self._remembered(drawn, image))
        known = there[partner] | self.backgrounds.filled.gt(0)
        mixed = torch.where((there & known).view(-1, 1, 1, 1), composite(image, mask, other), image)
        self._remember(own.image[there])
        return mixed[global_rows(view.image).to(device)].to(view.image.dtype)

    def _remembered(self, drawn: Drawn, image: Tensor) -> Tensor:
        """(N, 3, S, S) one remembered background for each image; noise where there are none yet."""
        filled = self.backgrounds.filled
        at = (drawn.remembered.to(filled.device) * filled).long().clamp(max=self.backgrounds.size - 1)
        rows = self.backgrounds.rows[at].view(-1, 3, self.side, self.side)
        return _resized(rows.to(image.dtype), image.shape[-1])

    def _remember(self, background: Tensor) -> None:
        if len(background):
            self.backgrounds.push(_resized(background, self.side).flatten(1))

    _moco: ClassVar = Settings(
        base_preset="imagenet",
        base_settings=("crop_scale=(0.08, 1.0)", "split_batch_norm=1", "shuffle=False"),
        queue_size=65_536,
        masks="contracam",
    )
    _byol: ClassVar = Settings(
        base="byol",
        base_preset="imagenet",
        base_settings=("momentum_schedule='constant'", "views='same'", "last_bias=True"),
        masks="contracam",
    )
    _long: ClassVar = Optimisation(
        learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", final=0.001 / 0.03, epochs=800
    )
    _plain: ClassVar = {
        "heads": "no batch norm; published: one behind the hidden layer, which has no bias",
        "memory": "keys of at most half of the images, unless --queue-size is given; published: 65,536",
    }
    _biased: ClassVar = {"heads": "a bias before each batch norm, which takes it away; published: none there"}
    _boxes: ClassVar = (
        "the published recipe, COCO, ResNet-50; boxes are those of a first stage by ten rounds and a random field: "
        "--masks contracam:RUN:10:2 without the field, or given:FOLDER of likewise localise --refine"
    )
    _softly: ClassVar = (
        "the published recipe, ImageNet-9, ResNet-18; masks are those of a first stage: --masks contracam:RUN:1:1"
    )

    presets: ClassVar = {
        "small": usual(Settings()),
        "small_crop": usual(Settings(augment="crop")),
        "small_byol": usual(Settings(base="byol")),
        "coco": Preset(settings=replace(_moco, augment="crop"), optimisation=_long, note=_boxes, differs=_plain),
        "coco_byol": Preset(settings=replace(_byol, augment="crop"), optimisation=_long, note=_boxes, differs=_biased),
        "imagenet9": Preset(settings=_moco, optimisation=_long, note=_softly, differs=_plain),
        "imagenet9_byol": Preset(settings=_byol, optimisation=_long, note=_softly, differs=_biased),
    }


def _resized(image_B3SS: Tensor, side: int) -> Tensor:
    """Views change their size over a run, and memories do not."""
    if image_B3SS.shape[-1] == side:
        return image_B3SS
    return interpolate(image_B3SS, (side, side), mode="bilinear", align_corners=False)
