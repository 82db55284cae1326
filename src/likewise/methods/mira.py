"""MIRA: targets close to the teacher's that maximise the mutual information of images and prototypes in the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.encoders.passes.crops import MultiCrop
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.crops import LARGE, CropSettings, crop_views
from likewise.schedules import cosine, rising_momentum
from likewise.similarity import similarities, unit
from likewise.similarity.prototypes.across_views import across_views, entropies
from likewise.similarity.prototypes.assign import mira
from likewise.teachers import Momentum


class MIRA(Method):
    """Mutual Information Regularized Assignment.

    Like SwAV it clusters online, but clusters need not be of equal size. The teacher's probabilities p of a batch
    become targets W, rows summing to 1, that stay near p while telling the images apart:

        W = argmin (1/n) sum_i KL(w_i || p_i) - beta I(W),   I(W) = H(mean_i w_i) - (1/n) sum_i H(w_i)

    which a fixed point finds (`likewise.similarity.prototypes.assign.mira`). With student scores s against C unit
    prototypes,

        L = mean over large views i and views v != i of the cross-entropy of softmax(s_v / Ts) with W_i.

    The prototypes are the student's own on both sides. No queue, no centring, no predictor.

    Order inside a step: the teacher (encoder and projector) moves, then all look.

    Lee, Choi, Kim, Chung: Unsupervised Visual Representation Learning via Mutual Information Regularized Assignment,
    NeurIPS 2022, arXiv 2211.02284, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Mutual Information Regularized Assignment",
        paper="Lee, Choi, Kim, Chung. Unsupervised Visual Representation Learning via Mutual Information Regularized "
        "Assignment. NeurIPS 2022, arXiv 2211.02284",
        summary="Online clustering for unbalanced data: clusters may differ in size, and little needs tuning against "
        "collapse.",
        memory="prototypes",
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(CropSettings):
        """Settings of MIRA. The defaults are those of the small preset."""

        prototypes: int = 128
        """C. Not larger than the batch, or the mean over it is noisy."""
        temperature_student: float = 0.1
        """Ts: divides the student's scores."""
        temperature_teacher: float = 0.15
        """Tt: divides the teacher's scores; officially 0.225. With beta the targets are as sharp as at Tt (1 - beta): a
        young network only leaves the loss of ln C where its views of an image agree by more than Tt (1 - beta) / Ts.
        Lower Tt costs balance: it weighs the teacher's word against the mutual information."""
        beta: float = 0.9
        """Weight of the mutual information at the start, below 1; officially 0.75. 0 leaves the teacher's targets."""
        final_beta: float = 0.9
        """Weight of the mutual information at the end, reached along a cosine; officially 2/3."""
        iterations: int = 60
        """Rounds of the fixed point, whose error shrinks by about beta in each."""
        momentum: float = 0.99
        """Share of its old weights that the teacher keeps at each step, at the start; rises to 1 over the budget."""
        hidden: int = 512
        """Width of the two hidden layers of the projector."""
        embedding: int = 128
        """Length D of the embedding."""
        zero_init_residual: bool = False
        """Start the last norm of each residual block at 0, as officially; not for pretrained encoders."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("prototypes", self.prototypes, 2)
            positive("temperature_student", self.temperature_student)
            positive("temperature_teacher", self.temperature_teacher)
            for name in ("beta", "final_beta"):
                if not 0.0 <= getattr(self, name) < 1.0:
                    raise InputError(f"{name}={getattr(self, name)} is out of range: allowed is 0 to below 1")
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("iterations", self.iterations, 0)
            for name in ("hidden", "embedding"):
                at_least(name, getattr(self, name), 1)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings, hidden = settings, settings.hidden
        if settings.zero_init_residual and not encoder.spec.pretrained:
            zero_last_norms(encoder)
        projector = heads.mlp([encoder.features, hidden, hidden, settings.embedding], hidden_bias=False)
        self.student = MultiCrop(encoder, projector)
        self.prototypes = heads.WeightNormalisedLinear(settings.embedding, settings.prototypes)
        self.teacher = Momentum(self.student)
        self.beta = settings.beta
        self.views = crop_views(encoder, settings, facts)

    def before_step(self, progress: Progress) -> None:
        """The teacher moves first; beta follows its cosine."""
        settings = self.settings
        self.teacher.update(self.student, rising_momentum(settings.momentum, progress.fraction))
        self.beta = cosine(settings.beta, progress.fraction, settings.final_beta)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Targets of the large views from the teacher, cross-entropy of every other view with them."""
        crops = [views[role].image for role in self.views]
        z_VBD = unit(self.student(crops))
        prototypes_CD = self.prototypes.prototypes()
        targets_GBC = torch.stack([self.targets(z_BD, prototypes_CD) for z_BD in self.teacher(crops[:LARGE])])
        scores_VBC = similarities(z_VBD, prototypes_CD)
        loss = across_views(scores_VBC, targets_GBC, self.settings.temperature_student)
        used = entropies(targets_GBC, gather)
        return Terms(loss, {"teacher_entropy": used.each, "prototype_entropy": used.mean}, z_VBD[0].detach())

    @torch.no_grad()
    def targets(self, teacher_BD: Tensor, prototypes_CD: Tensor) -> Tensor:
        """Assignment (B, C) of one view, solved over the images of all processes."""
        return mira(
            similarities(unit(teacher_BD), prototypes_CD),
            temperature=self.settings.temperature_teacher,
            beta=self.beta,
            iterations=self.settings.iterations,
            gather=gather,
        )

    def after_backward(self, progress: Progress) -> None:
        """Hold the prototypes while they are frozen."""
        if progress.fraction < self.settings.frozen:
            heads.hold(self.prototypes)

    def encoders(self) -> dict[str, nn.Module]:
        """Student and teacher, each with its own running statistics."""
        return {"student": self.student.encoder, "teacher": self.teacher.network.get_submodule("encoder")}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.4, weight_decay=5e-4, epochs=30),
            note="narrow encoders, images up to 64 px",
        ),
        "imagenet": Preset(
            settings=Settings(
                prototypes=3000,
                temperature_teacher=0.225,
                beta=0.75,
                final_beta=2 / 3,
                iterations=30,
                hidden=2048,
                embedding=256,
                small_crops=6,
                large_scale=(0.14, 1.0),
                small_scale=(0.05, 0.14),
                frozen=1 / 400,
                zero_init_residual=True,
            ),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=4.8,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=10 / 400,
                warmup_from=0.3 / 4.8,
                batch_size=4096,
                epochs=400,
            ),
            note="the published recipe, ImageNet, ResNet-50, 2 x 224 + 6 x 96 px, 400 epochs",
        ),
    }


def zero_last_norms(encoder: nn.Module) -> None:
    """Let every residual block of a timm ResNet begin as the identity (arXiv 1706.02677, section 5.1)."""
    for block in encoder.modules():
        begin = getattr(block, "zero_init_last", None)
        if callable(begin):
            begin()
