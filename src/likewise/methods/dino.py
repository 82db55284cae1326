"""DINO: the student predicts, from every crop, which prototypes the slow teacher chooses for the large crops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.encoders.passes.crops import MultiCrop, drop_paths
from likewise.gradients import clip_each
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.crops import LARGE, CropSettings, crop_views
from likewise.schedules import linear, rising_momentum
from likewise.similarity import similarities, unit
from likewise.similarity.prototypes.across_views import across_views, entropies
from likewise.similarity.prototypes.centring import Centre, centred
from likewise.teachers import Momentum


def teacher_temperature(settings: DINO.Settings, progress: Progress, steps_per_epoch: int) -> float:
    """Tt at this moment: a line from `warmup_temperature` to `temperature_teacher` over the first share of the budget.

    In stairs it stays the same for an epoch, with both ends of the line among the stairs, as the official code has it.
    """
    start, end, share = settings.warmup_temperature, settings.temperature_teacher, settings.temperature_warmup
    fraction = progress.fraction
    if settings.temperature_stairs and progress.step > 0:
        one_epoch = fraction / progress.step * steps_per_epoch
        fraction, share = progress.epoch * one_epoch, share - one_epoch
    return linear(start, end, fraction / share) if share > 0 else end


def scaled(settings: DINO.Settings) -> DINO.Settings:
    """The settings with the scale that large crops have: another one where there are no small ones."""
    return settings if settings.small_crops else replace(settings, large_scale=settings.only_scale)


class DINO(Method):
    """Self-distillation with no labels.

    Teacher (a moving average) and student score an image against K prototypes; the student, which sees all crops,
    must predict the teacher's softmax of each large crop from every other crop. With student scores s and teacher
    scores t, both cosines, and a running centre c of t:

        P_u = softmax((t_u - c) / Tt),   L = mean over large u and v != u of -sum_k P_u(k) log softmax(s_v / Ts)_k

    The centre keeps the teacher from choosing one prototype for everything, and its low temperature from choosing
    all of them equally; without either it collapses.

    Order inside a step: all look, loss, the centre moves (with this step's scores, after they were used), gradients
    are clipped tensor by tensor, and after the optimiser's step the teacher moves, its prototypes included.

    Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin: Emerging Properties in Self-Supervised Vision
    Transformers, ICCV 2021, arXiv 2104.14294, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Self-Distillation with No Labels",
        paper="Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin. Emerging Properties in Self-Supervised Vision "
        "Transformers. ICCV 2021, arXiv 2104.14294",
        summary="For vision transformers and wherever nearest neighbours of the features are what matters.",
        memory="prototypes",
        uniform_prior=True,
        deploy="teacher",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(CropSettings):
        """Settings of DINO. The defaults are those of the small preset."""

        prototypes: int = 1024
        """K. Many more than the classes expected."""
        temperature_student: float = 0.1
        """Ts: divides the student's scores."""
        temperature_teacher: float = 0.03
        """Tt: divides the teacher's centred scores, after the warm-up; officially 0.04, or 0.07 in long runs. An
        untrained network only leaves the loss of ln K where its views of an image agree by more than Tt / Ts."""
        warmup_temperature: float = 0.02
        """Tt at the start; officially 0.04."""
        temperature_warmup: float = 0.1
        """Share of the budget over which Tt rises."""
        temperature_stairs: bool = False
        """Let Tt rise once an epoch, as the official code does, not at every step."""
        centre_momentum: float = 0.9
        """Share of its old value that the centre keeps at each step."""
        momentum: float = 0.99
        """Share of its old weights that the teacher keeps at each step, at the start; rises to 1 over the budget."""
        hidden: int = 512
        """Width of the two hidden layers of the head."""
        bottleneck: int = 128
        """Length of the unit vectors that are compared with the prototypes."""
        norm_in_head: bool = True
        """Batch norm after the hidden layers of the head; officially without. Small ResNets collapse without."""
        norm_last_layer: bool = True
        """Keep the prototypes at unit length; without, their lengths are learned, which is better for large models."""
        large_scale: tuple[float, float] = (0.4, 1.0)
        """Smallest and largest share of the image that a large crop covers, beside small ones."""
        only_scale: tuple[float, float] = (0.4, 1.0)
        """The same where there are no small crops; officially 0.14 to 1."""
        clip: float = 3.0
        """Greatest norm of the gradient of each tensor; 0 does not clip."""
        drop_path: float = 0.0
        """Share of residual branches that the student skips in its last block, less before; for transformers."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("prototypes", self.prototypes, 2)
            for name in ("temperature_student", "temperature_teacher", "warmup_temperature"):
                positive(name, getattr(self, name))
            for name in ("temperature_warmup", "centre_momentum", "momentum", "drop_path"):
                between(name, getattr(self, name), 0.0, 1.0)
            for name in ("hidden", "bottleneck"):
                at_least(name, getattr(self, name), 1)
            at_least("clip", self.clip, 0.0)

        def idle(self) -> dict[str, str]:
            """The scale of large crops that there are not, beside what small crops need."""
            scale = {"only_scale": "small_crops=0"} if self.small_crops else {"large_scale": "small_crops above 0"}
            return super().idle() | scale

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings, self.steps_per_epoch = settings, facts.steps_per_epoch
        widths = [encoder.features, settings.hidden, settings.hidden, settings.bottleneck]
        head = heads.mlp(widths, hidden_norm="batch" if settings.norm_in_head else None, activation="gelu")
        self.student = MultiCrop(encoder, heads.initialise(head, 0.02, truncated=True))
        self.prototypes = heads.WeightNormalisedLinear(
            settings.bottleneck, settings.prototypes, train_gain=not settings.norm_last_layer
        )
        self.teacher = Momentum(self.student)
        self.teacher_prototypes = Momentum(self.prototypes)
        if settings.drop_path:
            drop_paths(encoder, settings.drop_path)
        self.centre = Centre(settings.prototypes, settings.centre_momentum)
        self.temperature_teacher = settings.warmup_temperature
        self.views = crop_views(encoder, scaled(settings), facts)

    def before_step(self, progress: Progress) -> None:
        """The teacher's temperature follows its schedule."""
        self.temperature_teacher = teacher_temperature(self.settings, progress, self.steps_per_epoch)

    def step(self, views: Views, batch: Batch) -> Terms:
        """The teacher's choices for the large views, predicted from every other view; then the centre."""
        crops = [views[role].image for role in self.views]
        z_VBD = unit(self.student(crops))
        scores_VBK = similarities(z_VBD, self.prototypes.prototypes())
        with torch.no_grad():
            prototypes: heads.WeightNormalisedLinear = self.teacher_prototypes.network  # type: ignore[assignment]
            teacher_GBK = similarities(unit(self.teacher(crops[:LARGE])), prototypes.prototypes())
        targets_GBK = centred(teacher_GBK, self.centre.mean, self.temperature_teacher)
        loss = across_views(scores_VBK, targets_GBK, self.settings.temperature_student)
        self.centre.update(teacher_GBK)
        used = entropies(targets_GBK, gather)
        parts = {"teacher_entropy": used.each, "prototype_entropy": used.mean, "kl": loss.detach() - used.each}
        return Terms(loss, parts, z_VBD[0].detach())

    def after_backward(self, progress: Progress) -> None:
        """Clip each gradient, and hold the prototypes while they are frozen."""
        if self.settings.clip:
            clip_each(self.parameters(), self.settings.clip)
        if progress.fraction < self.settings.frozen:
            heads.hold(self.prototypes)

    def after_step(self, progress: Progress) -> None:
        """The teacher moves towards the new weights."""
        momentum = rising_momentum(self.settings.momentum, progress.fraction)
        self.teacher.update(self.student, momentum)
        self.teacher_prototypes.update(self.prototypes, momentum)

    def encoders(self) -> dict[str, nn.Module]:
        """Student and teacher, each with its own running statistics."""
        return {"student": self.student.encoder, "teacher": self.teacher.network.get_submodule("encoder")}

    _published: ClassVar = Settings(
        only_scale=(0.14, 1.0),
        prototypes=65536,
        temperature_teacher=0.07,
        warmup_temperature=0.04,
        temperature_warmup=30 / 800,
        temperature_stairs=True,
        momentum=0.996,
        hidden=2048,
        bottleneck=256,
        norm_in_head=False,
        small_crops=8,
        small_scale=(0.05, 0.4),
        frozen=1 / 800,
    )

    _long: ClassVar = Optimisation(
        weight_decay=1e-4, decay_norms_and_biases=False, warmup=10 / 800, batch_size=1024, epochs=800
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.8, weight_decay=1e-4, epochs=30),
            note="narrow ResNets, images up to 64 px",
        ),
        "small_vit": Preset(
            settings=Settings(temperature_teacher=0.07, warmup_temperature=0.04, norm_in_head=False, small_crops=4),
            optimisation=Optimisation(
                optimiser="adamw",
                learning_rate=1e-3,
                weight_decay=0.04,
                final_weight_decay=0.1,
                decay_norms_and_biases=False,
                warmup=0.1,
                epochs=30,
            ),
            note="small transformers, images up to 64 px: --encoder vit_tiny_patch16_224",
        ),
        "imagenet": Preset(
            settings=replace(_published, drop_path=0.1),
            optimisation=replace(
                _long, optimiser="adamw", learning_rate=2e-3, weight_decay=0.04, final_weight_decay=0.4, final=5e-4
            ),
            note="the published recipe, ImageNet, 800 epochs: --encoder vit_small_patch16_224",
        ),
        "imagenet_resnet": Preset(
            settings=replace(_published, large_scale=(0.14, 1.0), small_scale=(0.05, 0.14)),
            optimisation=replace(_long, learning_rate=0.12, final=1e-6 / 0.12),
            note="the published recipe for ResNet-50: SGD, rate 0.03 for 256 images",
        ),
    }
