"""EsViT: DINO with a second task, in which every token predicts the teacher's output of its match in another view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.encoders.passes.crops import TokenCrops, drop_paths, without_drop_paths
from likewise.gradients import clip_each
from likewise.methods.dino import DINO, scaled, teacher_temperature
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import between
from likewise.methods.parts.crops import LARGE, crop_views
from likewise.schedules import rising_momentum
from likewise.similarity import similarities, unit
from likewise.similarity.dense.regions import across_regions
from likewise.similarity.prototypes.across_views import across_views, entropies
from likewise.similarity.prototypes.centring import Centre, centred
from likewise.teachers import Momentum


class Seen(NamedTuple):
    """Output of the network for V crops of B images; T tokens of a crop."""

    embedding_VBD: Tensor
    """Unit vectors of the crops."""
    scores_VBK: Tensor
    """Their cosines with the prototypes."""
    regions: list[Tensor]
    """(B, T, K) cosines of each crop's tokens with the prototypes of the region task."""
    tokens: list[Tensor]
    """(B, T, C) the encoder's tokens, by which they are matched."""


class TwoTasks(nn.Module):
    """An encoder with a head and prototypes for crops, and with others for tokens."""

    def __init__(self, encoder: Encoder, settings: ESViT.Settings) -> None:
        super().__init__()

        def head(width: int) -> nn.Module:
            norm = "batch" if settings.norm_in_head else None
            widths = [width, settings.hidden, settings.hidden, settings.bottleneck]
            made = heads.mlp(widths, hidden_norm=norm, activation="gelu")  # type: ignore[arg-type]
            return heads.initialise(made, 0.02, truncated=True)

        def prototypes() -> heads.WeightNormalisedLinear:
            return heads.WeightNormalisedLinear(
                settings.bottleneck, settings.prototypes, train_gain=not settings.norm_last_layer
            )

        self.crops = TokenCrops(encoder, head(encoder.features), head(encoder.map_features))
        self.prototypes, self.region_prototypes = prototypes(), prototypes()

    @property
    def encoder(self) -> Encoder:
        """The encoder inside."""
        return self.crops.encoder

    def forward(self, crops: list[Tensor]) -> Seen:
        """V tensors (B, 3, H, W) -> scores for both tasks."""
        found = self.crops(crops)
        z_VBD = unit(found.pooled_VBD)
        regional = self.region_prototypes.prototypes()
        regions = [similarities(unit(dense_BTE), regional) for dense_BTE in found.dense]
        return Seen(z_VBD, similarities(z_VBD, self.prototypes.prototypes()), regions, found.tokens)


class ESViT(Method):
    """Efficient self-supervised vision transformers.

    The view task L_V is DINO's. In the region task token i of a student's crop v predicts the prototypes that the
    teacher chooses for j*(i), the token of the large view u that is most similar to it by the encoder's own features f:

        j*(i) = argmax_j cos(f_v(i), f_u(j)),   P_u = softmax((t_u - c_R) / Tt),
        L_R = mean over large u and v != u of 1/T_v sum_i -sum_k P_u(j*(i), k) log softmax(s_v(i) / Ts)_k,
        L = (1 - w) L_V + w L_R.

    The paper adds both, the published code has w = 1/2. Each task has a head, prototypes and a centre of its own, and
    no gradient goes through the matching. It is meant for transformers in stages, such as Swin, which lose under DINO
    alone what tells one place of an image from another; ResNets and ViTs do as well.

    Order inside a step: all look, both losses, both centres move (with this step's scores, after they were used; the
    second by all tokens), gradients are clipped tensor by tensor, and after the optimiser's step the teacher moves.

    Li, Yang, Zhang, Gao, Xiao, Dai, Yuan, Gao: Efficient Self-supervised Vision Transformers for Representation
    Learning, ICLR 2022, arXiv 2106.09785, section 3.2.
    """

    card: ClassVar[Card] = Card(
        title="Efficient self-supervised vision transformers (EsViT)",
        paper="Li, Yang, Zhang, Gao, Xiao, Dai, Yuan, Gao. Efficient Self-supervised Vision Transformers for "
        "Representation Learning. ICLR 2022, arXiv 2106.09785",
        summary="For Swin transformers, and for features that are compared place by place.",
        memory="prototypes",
        uniform_prior=True,
        deploy="teacher",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(DINO.Settings):
        """Settings of EsViT. The defaults are those of the small preset."""

        region_weight: float = 0.5
        """w: weight of the region task; the view task has the rest."""
        region_from: float = 0.0
        """Share of the budget from which the region task takes part; before that L = L_V."""

        def __post_init__(self) -> None:
            super().__post_init__()
            between("region_weight", self.region_weight, 0.0, 1.0)
            between("region_from", self.region_from, 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """When the region task begins, where there is none."""
            return super().idle() | ({} if self.region_weight else {"region_from": "region_weight above 0"})

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings, self.steps_per_epoch = settings, facts.steps_per_epoch
        self.student = TwoTasks(encoder, settings)
        self.teacher = Momentum(self.student)
        without_drop_paths(self)
        if settings.drop_path:
            drop_paths(encoder, settings.drop_path)
        self.centre = Centre(settings.prototypes, settings.centre_momentum)
        self.region_centre = Centre(settings.prototypes, settings.centre_momentum)
        self.temperature_teacher = settings.warmup_temperature
        self.region_weight = settings.region_weight
        self.views = crop_views(encoder, scaled(settings), facts)

    def before_step(self, progress: Progress) -> None:
        """The teacher's temperature and the weight of the region task follow their schedules."""
        self.temperature_teacher = teacher_temperature(self.settings, progress, self.steps_per_epoch)
        begun = progress.fraction >= self.settings.region_from
        self.region_weight = self.settings.region_weight if begun else 0.0

    def step(self, views: Views, batch: Batch) -> Terms:
        """The teacher's choices for the large views and their tokens, predicted from every other view; then centres."""
        crops = [views[role].image for role in self.views]
        seen: Seen = self.student(crops)
        taught = cast("Seen", self.teacher(crops[:LARGE]))
        region_GBTK = torch.stack(taught.regions)
        warm, cold = self.temperature_teacher, self.settings.temperature_student
        targets_GBK = centred(taught.scores_VBK, self.centre.mean, warm)
        view_loss = across_views(seen.scores_VBK, targets_GBK, cold)
        taught_GBTK = ((region_GBTK - self.region_centre.mean) / warm).softmax(3)
        region_loss = across_regions(seen.regions, seen.tokens, taught_GBTK, torch.stack(taught.tokens), cold)
        self.centre.update(taught.scores_VBK)
        self.region_centre.update(region_GBTK.flatten(1, 2))
        loss = (1.0 - self.region_weight) * view_loss + self.region_weight * region_loss
        used = entropies(targets_GBK, gather)
        parts = {
            "view": view_loss.detach(),
            "region": region_loss.detach(),
            "teacher_entropy": used.each,
            "prototype_entropy": used.mean,
        }
        return Terms(loss, parts, seen.embedding_VBD[0].detach())

    def after_backward(self, progress: Progress) -> None:
        """Clip each gradient, and hold both sets of prototypes while they are frozen."""
        if self.settings.clip:
            clip_each(self.parameters(), self.settings.clip)
        if progress.fraction < self.settings.frozen:
            heads.hold(self.student.prototypes)
            heads.hold(self.student.region_prototypes)

    def after_step(self, progress: Progress) -> None:
        """The teacher moves towards the new weights, prototypes included."""
        self.teacher.update(self.student, rising_momentum(self.settings.momentum, progress.fraction))

    def encoders(self) -> dict[str, nn.Module]:
        """Student and teacher, each with its own running statistics."""
        return {"student": self.student.encoder, "teacher": self.teacher.network.get_submodule("crops.encoder")}

    _published: ClassVar = Settings(
        only_scale=(0.14, 1.0),
        prototypes=65536,
        temperature_teacher=0.07,
        warmup_temperature=0.04,
        temperature_warmup=30 / 300,
        temperature_stairs=True,
        momentum=0.996,
        hidden=2048,
        bottleneck=256,
        norm_in_head=False,
        norm_last_layer=False,
        small_crops=8,
        small_scale=(0.05, 0.4),
        frozen=1 / 300,
        drop_path=0.1,
    )
    _long: ClassVar = Optimisation(
        optimiser="adamw",
        learning_rate=1e-3,
        weight_decay=0.04,
        final_weight_decay=0.4,
        decay_norms_and_biases=False,
        warmup=10 / 300,
        final=1e-3,
        batch_size=512,
        epochs=300,
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.4, weight_decay=1e-4, epochs=30),
            note="narrow ResNets, images up to 64 px",
        ),
        "small_swin": Preset(
            settings=Settings(temperature_teacher=0.07, warmup_temperature=0.04, norm_in_head=False),
            optimisation=Optimisation(
                optimiser="adamw",
                learning_rate=1e-3,
                weight_decay=0.04,
                final_weight_decay=0.1,
                decay_norms_and_biases=False,
                warmup=0.1,
                batch_size=128,
                epochs=50,
            ),
            note="small transformers, images up to 64 px: --encoder swin_micro",
        ),
        "imagenet": Preset(
            settings=_published,
            optimisation=_long,
            note="the published recipe, both tasks from the start, 300 epochs: --encoder swin_tiny_patch4_window7_224",
        ),
        "imagenet_late": Preset(
            settings=replace(_published, region_from=200 / 300),
            optimisation=_long,
            note="the same with the region task in the last 100 epochs, as for larger networks",
        ),
    }
