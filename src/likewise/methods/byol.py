"""BYOL: the student predicts the embedding that a slowly moving teacher computes of the other view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from likewise.encoders import Encoder, heads, norms
from likewise.encoders.passes.shuffling import shuffled
from likewise.methods.method import (
    WHOLE_BATCH,
    Batch,
    Card,
    Facts,
    Method,
    Optimisation,
    Preset,
    Progress,
    Terms,
    Views,
    usual,
)
from likewise.methods.parts.checks import at_least, between
from likewise.schedules import momentum_at
from likewise.similarity import pull, unit
from likewise.teachers import Momentum
from likewise.views.policies.pair import two_views


class BYOL(Method):
    """Bootstrap Your Own Latent.

    Projector and predictor on the student, projector on the teacher, no memory, nothing is pushed away:

        L = mean_b |unit(predictor(z_student)) - unit(z_teacher)|^2 = 2 - 2 cos,   summed over directions if symmetric.

    What keeps it from collapsing is the predictor, the stop of the gradient and the slow teacher. The asymmetric form
    with the teacher moving before the step is the small-batch variant that ISD and MSF compare with; MSF with k = 1
    is the same loss.

    Grill et al.: Bootstrap Your Own Latent, NeurIPS 2020, arXiv 2006.07733, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Bootstrap Your Own Latent",
        paper="Grill, Strub, Altche, Tallec, Richemond et al. Bootstrap Your Own Latent: A New Approach to "
        "Self-Supervised Learning. NeurIPS 2020, arXiv 2006.07733",
        summary="The simplest strong baseline without negatives and without a memory.",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of BYOL. The defaults are those of the small preset."""

        symmetric: bool = False
        """Sum of both directions, at twice the cost; otherwise the student sees the first view only."""
        momentum: float = 0.9
        """tau: share of its old weights that the teacher keeps at each step; the first value where it rises."""
        momentum_schedule: Literal["constant", "cosine"] = "constant"
        """cosine: rises to 1 over the budget, tau_t = 1 - (1 - tau)(cos(pi t/T) + 1)/2."""
        update: Literal["before", "after"] = "before"
        """When the teacher moves: before the step (small-batch form) or after the optimiser's (official)."""
        hidden: int = 512
        """Width of the hidden layer of projector and predictor; 0 stands for twice the encoder's features F."""
        embedding: int = 64
        """Length D of the embedding; 0 stands for a quarter of F."""
        last_bias: bool = True
        """Bias in the last layer of both heads; the official code has none."""
        split_batch_norm: int = 1
        """Groups that batch statistics are computed in, as on so many devices: more than 1 is the published form of
        the small-batch baseline; 1, the official one, takes those of the whole batch, over all processes."""
        views: Literal["asymmetric", "same"] = "asymmetric"
        """asymmetric: the official pair (blur 1.0 / .1 above 64 px, solarise 0 / .2); same: the MoCo v2 policy."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("hidden", self.hidden, 0)
            at_least("embedding", self.embedding, 0)
            at_least("split_batch_norm", self.split_batch_norm, 1)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        features, bias = encoder.features, settings.last_bias
        hidden, dim = settings.hidden or 2 * features, settings.embedding or features // 4
        self.student = nn.Sequential(encoder, heads.mlp([features, hidden, dim], last_bias=bias))
        self.predictor = heads.mlp([dim, hidden, dim], last_bias=bias)
        self.teacher = Momentum(self.student)
        norms.convert(self, split=settings.split_batch_norm)
        same = settings.views == "same"
        self.views = two_views(
            facts.image_size,
            scale=settings.crop_scale,
            saturation=0.4 if same else 0.2,
            blurs=(0.5, 0.5) if same else (1.0, 0.1),
            solarises=(0.0, 0.0) if same else (0.0, 0.2),
            interpolation="bilinear" if same else "bicubic",
        )

    def momentum(self, progress: Progress) -> float:
        """The teacher's momentum at this moment."""
        return momentum_at(self.settings.momentum, self.settings.momentum_schedule, progress.fraction)

    def before_step(self, progress: Progress) -> None:
        """Small-batch form: the teacher moves first."""
        if self.settings.update == "before":
            self.teacher.update(self.student, self.momentum(progress))

    def after_step(self, progress: Progress) -> None:
        """Official form: the teacher moves towards the new weights."""
        if self.settings.update == "after":
            self.teacher.update(self.student, self.momentum(progress))

    def step(self, views: Views, batch: Batch) -> Terms:
        """Squared distance of the prediction to the teacher's embedding of the other view."""
        first, second = views["first"].image, views["second"].image
        prediction_BD = self.predictor(self.student(first))
        loss = pull(prediction_BD, unit(shuffled(self.teacher, second)))
        if self.settings.symmetric:
            loss = loss + pull(self.predictor(self.student(second)), unit(shuffled(self.teacher, first)))
        return Terms(loss, {}, prediction_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Online network as student, target network as teacher, each with its own running statistics."""
        return {"student": self.student[0], "teacher": self.teacher.network.get_submodule("0")}

    presets: ClassVar = {
        "small": usual(Settings()),
        "asymmetric": Preset(
            settings=Settings(momentum=0.99, hidden=0, embedding=0, views="same"),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the small-batch baseline of ISD and MSF, ImageNet, heads by the width of the encoder",
            differs={"batch norm": WHOLE_BATCH},
        ),
        "imagenet": Preset(
            settings=Settings(
                symmetric=True,
                momentum=0.996,
                momentum_schedule="cosine",
                update="after",
                hidden=4096,
                embedding=256,
                last_bias=False,
                crop_scale=(0.08, 1.0),
            ),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=3.2,
                weight_decay=1.5e-6,
                decay_norms_and_biases=False,
                warmup=0.01,
                batch_size=4096,
                epochs=1000,
            ),
            note="the published recipe, ImageNet, ResNet-50, 1000 epochs",
        ),
    }
