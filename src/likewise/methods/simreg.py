"""SimReg: a small student with a deep head, discarded after training, regresses a frozen teacher's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import nn

from likewise.encoders import Encoder, heads
from likewise.methods.method import Batch, Card, Facts, Optimisation, Preset, Terms, Views
from likewise.methods.parts.taught import Taught, TaughtSettings, teacher_of
from likewise.similarity import pull, unit
from likewise.teachers import Teacher, check_pretrained, is_table
from likewise.views import strong, weak
from likewise.views.policies.pair import blurred

Head = Literal["mlp4", "mlp2", "linear"]
Strength = Literal["weak", "strong"]


def regressor(form: Head, features: int, dim: int) -> nn.Module:
    """The head F -> dim that exists in training only (section 3.1).

    `mlp4` is two perceptrons of one hidden layer each, with nothing between them.
    """
    if form == "linear":
        return nn.Sequential(nn.BatchNorm1d(features), heads.mlp([features, dim]))
    if form == "mlp2":
        return heads.mlp([features, 2 * features, dim])
    return nn.Sequential(heads.mlp([features, 2 * features, features]), heads.mlp([features, 2 * features, dim]))


class SimReg(Taught):
    """Regression as self-supervised distillation.

    With g the head, f_S the student and f_T the frozen teacher, all vectors of unit length,

        L = mean_i | g(f_S(q_i)) - f_T(t_i) |^2 = mean_i ( 2 - 2 p_i.y_i ).

    q and t are the same view in the recommended form, or two views. No queue, no negatives, no temperature. With
    `further_teachers` each has a head of its own on the shared student, and the losses are summed (how the paper weighs
    them is not said).

        likewise train photos/ --method isd --encoder resnet50 --out runs/big
        likewise train photos/ --method simreg --teacher runs/big --out runs/small

    The head is dropped afterwards: it mimics the teacher better than the student's own features do, yet these are
    what the paper evaluates.

    Navaneet, Koohpayegani, Tejankar, Pirsiavash: SimReg, BMVC 2021, arXiv 2201.05131, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Regression for self-supervised distillation (SimReg)",
        paper="Navaneet, Koohpayegani, Tejankar, Pirsiavash. SimReg: Regression as a Simple Yet Effective Tool for "
        "Self-supervised Knowledge Distillation. BMVC 2021, arXiv 2201.05131",
        summary="To get a small encoder out of a large one in the simplest way: no memory and no negatives.",
        needs=("frozen teacher",),
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(TaughtSettings):
        """Settings of SimReg. The defaults are those of the small preset."""

        further_teachers: tuple[str, ...] = ()
        """More of them, each with a head of its own."""
        head: Head = "mlp4"
        """mlp4: the four layers of the paper. mlp2: two layers. linear: batch norm and one layer."""
        same_view: bool = True
        """Both networks see the student's view of an image; else a view each."""
        student_view: Strength = "weak"
        """weak: crop and flip. strong: colours, grey and blur, too."""
        teacher_view: Strength = "weak"
        """The same for the teacher's view, where it has one of its own."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in self.further_teachers:
                check_pretrained(name)

        @property
        def looks_up(self) -> bool:
            """Whether no teacher is shown a view."""
            return self.cached or all(map(is_table, (self.teacher, *self.further_teachers)))

        def idle(self) -> dict[str, str]:
            """The teacher's view, where it sees the student's or none."""
            if self.looks_up:
                return dict.fromkeys(("same_view", "teacher_view"), "a teacher that is shown views (cached=False)")
            return {"teacher_view": "same_view=False"} if self.same_view else {}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        side = facts.image_size
        self.student = encoder
        names = (settings.teacher, *settings.further_teachers)
        teachers = [teacher_of(name, facts, cached=settings.cached) for name in names]
        self.teachers = nn.ModuleList(teachers)
        self.regressors = nn.ModuleList(regressor(settings.head, encoder.features, one.features) for one in teachers)
        weakly = weak(side, scale=settings.crop_scale)
        strongly = strong(side, scale=settings.crop_scale, blur=blurred(side))
        self.views = {"student": strongly if settings.student_view == "strong" else weakly}
        if not settings.same_view and not settings.looks_up:
            self.views["teacher"] = strongly if settings.teacher_view == "strong" else weakly

    def step(self, views: Views, batch: Batch) -> Terms:
        """Squared distance of unit vectors, summed over the teachers."""
        features_BF = self.student(views["student"].image)
        taught = views["teacher" if "teacher" in views else "student"].image
        losses = [
            pull(head(features_BF), unit(cast("Teacher", teacher).see(taught, batch.ids)))
            for head, teacher in zip(self.regressors, self.teachers, strict=True)
        ]
        parts = {f"loss_{n}": loss.detach() for n, loss in enumerate(losses)} if len(losses) > 1 else {}
        return Terms(torch.stack(losses).sum(), parts, features_BF.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The student without its heads."""
        return {"student": self.student}

    _long: ClassVar = Optimisation(learning_rate=0.05, weight_decay=1e-4, schedule="cosine_epoch", epochs=130)

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="muon", learning_rate=0.1, weight_decay=5e-4, batch_size=128, epochs=30
            ),
            note="narrow encoders, images up to 64 px, minutes of training",
        ),
        "imagenet": Preset(settings=Settings(), optimisation=_long, note="the published recipe, ImageNet"),
    }
