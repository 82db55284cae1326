"""Contrast of images and captions with soft targets: other captions of the batch may fit an image too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Stream, shuffled
from likewise.data.texts import with_text
from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.texts.captions import (
    Captions,
    CaptionSettings,
    Reader,
    TextTower,
    caption_column,
    check_captioned,
    draws,
)
from likewise.schedules import young_momentum
from likewise.similarity import unit
from likewise.similarity.texts.image_text import Targets, divergence, pair_contrast, scale_of, soft_targets
from likewise.teachers import Momentum, pretrained
from likewise.views import Crop, ViewPolicy

LOG_SCALE = 3.9
"""Where the logarithms of both scales begin: 49.4 times the cosine."""


class Towers(nn.Module):
    """Both networks: images to (B, D) and captions to (B, D)."""

    def __init__(self, encoder: Encoder, settings: CaptionSettings, dim: int) -> None:
        super().__init__()
        self.image = nn.Sequential(encoder, heads.mlp([encoder.features, dim], last_bias=False))
        self.text = TextTower(settings, dim)

    def forward(self, image: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Both of a batch."""
        return self.image(image), self.text(texts)


class CLIPDistill(Method):
    """Contrast of images with captions, blended with a teacher's soft targets (CLIP with self-distillation, OTTER).

    V and X are the N unit vectors of images and captions, s and s' learned scales:

        L_c = CE(s V X', identity) + CE(s X V', identity)
        L_d = KL(P || softmax(s' V X')) + KL(P' || softmax(s' X V')),   L = a L_c + (1 - a) L_d

    The targets P follow from vectors of a teacher, an average of both networks: A = c_v V V' + c_t X X' + V X'. With
    `softmax` P = softmax(T A). With `transport` P is the plan of exp(A / lambda) with even margins, in which nothing
    goes to an image's own caption: so a caption that fits as well as the right one gets weight. With `alike=frozen`
    V V' is that of a frozen image encoder (`teacher`), X X' that of the sentence encoder, where there is one.

    Order inside a step: the teacher follows the student's weights first; both see the same batch, the teacher by the
    statistics of its own batch. Images without a caption are left out. Captions of all processes are compared, with
    gradient; the published code has none for those of other processes.

    Cheng, Wu, Zhang, Vajda, Gonzalez: CVPR Workshops 2021, arXiv 2104.08945; Wu, Cheng, Zhang, Gao, Gonzalez, Vajda:
    OTTER, ICLR 2022, arXiv 2112.09445, equations 3 to 8, and its code, which has both.
    """

    card: ClassVar[Card] = Card(
        title="Language-supervised learning with self-distillation (OTTER)",
        paper="Cheng, Wu, Zhang, Vajda, Gonzalez. Data-Efficient Language-Supervised Zero-Shot Learning with "
        "Self-Distillation. CVPR Workshops 2021, arXiv 2104.08945. Wu, Cheng, Zhang, Gao, Gonzalez, Vajda. Data "
        "Efficient Language-Supervised Zero-Shot Recognition with Optimal Transport Distillation. ICLR 2022, arXiv "
        "2112.09445",
        summary="When images have captions: search by words, classes by their names. Soft targets help where captions "
        "are noisy or alike.",
        needs=("pairs",),
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(CaptionSettings):
        """Settings of clipdistill. The defaults are those of the small preset."""

        targets: Literal["transport", "softmax", "none"] = "transport"
        """How soft targets are made: OTTER's transport, the first paper's softmax, or none, which is CLIP."""
        hard_share: float = 0.5
        """a: weight of the hard pairs; the rest is that of the soft targets."""
        smoothing: float = 0.0
        """Share of a hard pair that goes to all other captions."""
        teacher_scale: float = 100.0
        """T: scale of the softmax."""
        regularisation: float = 0.15
        """lambda: how even the transport plan is. The published code has .1 by default."""
        iterations: int = 5
        """Rounds of balancing the transport plan."""
        keep_own: bool = False
        """Whether the plan may send an image to its own caption, which is then all it does."""
        image_weight: float = 1.0
        """c_v: weight of how alike images are."""
        text_weight: float = 1.0
        """c_t: weight of how alike captions are."""
        alike: Literal["average", "frozen"] = "average"
        """Whose vectors say what is alike: the teacher's, or those of encoders that were trained before."""
        teacher: str = ""
        """With alike=frozen: a trained image encoder, as a run directory, a .safetensors file or a timm model."""
        momentum: float = 0.99
        """Share of its old weights that the teacher keeps at most; in the first steps it is less."""
        embedding: int = 128
        """Length D of the vectors that images and texts are compared by."""
        crop_scale: tuple[float, float] = (0.5, 1.0)
        """Smallest and largest share of an image that a crop covers: what a caption names should stay in it."""
        mirrored: float = 0.0
        """Share of images that are mirrored; captions may say left and right."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("hard_share", "smoothing", "momentum", "mirrored"):
                between(name, getattr(self, name), 0.0, 1.0)
            positive("teacher_scale", self.teacher_scale)
            positive("regularisation", self.regularisation)
            at_least("iterations", self.iterations, 1)
            at_least("embedding", self.embedding, 1)
            if self.alike == "frozen" and not (self.teacher or self.sentences):
                raise InputError("alike=frozen needs trained encoders: name one with --teacher, or --sentences minilm")

        def idle(self) -> Mapping[str, str]:
            """What only some kinds of targets have."""
            found = dict(super().idle())
            soft = ("hard_share", "image_weight", "text_weight", "alike", "momentum")
            if self.targets == "none":
                found |= dict.fromkeys(soft, "targets=transport or targets=softmax")
            if self.targets != "softmax":
                found["teacher_scale"] = "targets=softmax"
            if self.targets != "transport":
                found |= dict.fromkeys(("regularisation", "iterations", "keep_own"), "targets=transport")
            if self.targets == "none" or self.alike != "frozen":
                found["teacher"] = "alike=frozen"
            return found

    @classmethod
    def columns(cls, settings: Settings) -> tuple[str, ...]:
        """The captions."""
        return (settings.captions,)

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Images that have a caption."""
        check_captioned(facts.columns, settings.captions)
        return {MAIN: Stream(draw=shuffled, where=lambda rows: with_text(rows.columns[settings.captions]))}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.towers = Towers(encoder, settings, settings.embedding)
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE))
        self.captions = Captions(caption_column(facts.columns, settings.captions), settings)
        self.reader = Reader(settings)
        self.teacher: Momentum | None = None
        self.alike: nn.Module | None = None
        if settings.targets != "none":
            self.log_scale_soft = nn.Parameter(torch.tensor(LOG_SCALE))
            self.teacher = Momentum(self.towers)
            if settings.alike == "frozen" and settings.teacher:
                self.alike = pretrained(settings.teacher, image_size=facts.image_size, mean=facts.mean, std=facts.std)
        crop = Crop(scale=settings.crop_scale)
        self.views = {"image": ViewPolicy(size=facts.image_size, crop=crop, flip=settings.mirrored)}
        self.at = 0

    def before_step(self, progress: Progress) -> None:
        """The teacher moves first."""
        self.at = progress.step
        if self.teacher is not None:
            self.teacher.update(self.towers, young_momentum(progress.step + 1, self.settings.momentum))

    def step(self, views: Views, batch: Batch) -> Terms:
        """Pairs of the whole batch, hard and soft."""
        settings, image = self.settings, views["image"].image
        codes_B = batch.columns[settings.captions]
        texts = self.captions.read(self.captions.pick(codes_B, draws(self.at, codes_B, 1)[:, 0]))
        v_BD, x_BD = self.towers(image, texts)
        v_ND, x_ND = gather_with_gradient(v_BD), gather_with_gradient(x_BD)
        loss = pair_contrast(v_ND, x_ND, self.log_scale, smoothing=settings.smoothing)
        parts = {"contrast": loss.detach(), "scale": scale_of(self.log_scale.detach())}
        if self.teacher is not None:
            targets = self.soft(image, texts)
            soft = divergence(v_ND, x_ND, self.log_scale_soft, targets)
            loss = settings.hard_share * loss + (1 - settings.hard_share) * soft
            entropy = -torch.special.xlogy(targets.texts, targets.texts).sum(1).mean()
            parts |= {"distillation": soft.detach(), "teacher_entropy": entropy}
        found = (unit(v_ND.detach()) @ unit(x_ND.detach()).T).argmax(1)
        parts["paired"] = (found == torch.arange(len(found), device=found.device)).float().mean()
        return Terms(loss, parts, v_BD.detach())

    @torch.no_grad()
    def soft(self, image: Tensor, texts: Tensor) -> Targets:
        """(N, N) targets of the whole batch, by the teacher."""
        assert self.teacher is not None
        settings, form = self.settings, self.settings.targets
        assert form != "none"
        v_BD, x_BD = self.teacher.network(image, texts)
        frozen = settings.alike == "frozen"
        by_image = gather(self.alike(image)) if self.alike is not None else None
        by_text = gather(texts) if frozen and settings.sentences else None
        return soft_targets(
            gather(v_BD),
            gather(x_BD),
            form,
            scale=settings.teacher_scale,
            regularisation=settings.regularisation,
            iterations=settings.iterations,
            keep_own=settings.keep_own,
            weights=(settings.image_weight, settings.text_weight),
            alike_by=(by_image, by_text),
        )

    def image_joint(self, features_BF: Tensor) -> Tensor:
        """(B, D) unit vectors of pooled features."""
        return unit(cast("Tensor", self.towers.image[1](features_BF)))

    def text_joint(self, texts: Sequence[str]) -> Tensor:
        """(T, D) unit vectors of texts."""
        return unit(cast("Tensor", self.towers.text(self.reader(texts).to(self.log_scale.device))))

    def encoders(self) -> dict[str, nn.Module]:
        """The image encoder."""
        return {"student": self.towers.image[0]}

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Images; texts at their own rate; the scales, which are not decayed."""
        yield {"params": list(self.towers.image.parameters())}
        yield {"params": list(self.towers.text.parameters()), "rate": self.settings.text_rate}
        scales = [self.log_scale] if self.teacher is None else [self.log_scale, self.log_scale_soft]
        yield {"params": scales, "weight_decay": 0.0}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(optimiser="adamw", learning_rate=5e-3, weight_decay=1e-4, warmup=0.05, epochs=20),
            note="narrow encoders, images up to 64 px, both networks from scratch; at a rate of .001 they do not find "
            "each other within a few minutes",
        ),
        "cc3m": Preset(
            settings=Settings(
                words=60,
                text_width=768,
                text_layers=6,
                vocabulary=50000,
                momentum=0.999,
                embedding=768,
                crop_scale=(0.76, 0.77),
            ),
            optimisation=Optimisation(
                learning_rate=3e-3, weight_decay=0.0, schedule="cosine_epoch", batch_size=512, epochs=10
            ),
            note="the published recipe for 3 million captioned images, ResNet-50 from ImageNet weights (--pretrained)",
            differs={
                "heads": "texts are read by a transformer of ours, from scratch; published: a trained sentence "
                "encoder (DeCLUTR), trained further"
            },
        ),
    }
