"""Dynamic distillation: an encoder for a target domain, from labelled images of another and its unlabelled ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Stream, shuffled
from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.schedules import clipped_ramp
from likewise.similarity import cross_entropy
from likewise.similarity.prototypes.centring import recentred
from likewise.teachers import Momentum
from likewise.views import ViewPolicy, strong, weak
from likewise.views.policies.pair import blurred

BASE = "base"
"""The stream of labelled images, and the role of their view."""


class DynDistill(Method):
    """Dynamic Distillation Network for Cross-Domain Few-Shot Recognition with Unlabeled Data.

    Two data sets: labelled base images (`--beside`), and unlabelled images of the target domain, which is what is
    trained on. Student and teacher are an encoder with a linear classifier of the BASE classes; target classes never
    appear. With s the student's logits of base images x and of the strong view u_s of target images, in one pass, and t
    the teacher's logits of the weak view u_w in a pass of its own, in train mode,

        L = l_ce CE(s(x), y) + w(p) l_u mean_u -sum_c softmax(t(u_w) / T)_c log_softmax(s(u_s))_c
        w(p) = min(1, .75 (1 - cos(pi p))),   p the share of the budget used

    The teacher is a moving average of the student's parameters (`momentum`), and keeps running statistics of its own;
    with `momentum` 1 it is fixed, as in STARTUP. It begins as a copy of the student, whatever that was loaded from.
    With `centre` the teacher's logits lose their running mean, which follows the logits that have lost it already.

    `stage` base is the training before: the student alone, by cross-entropy on the labelled images it is given.
    `likewise recipes dyndistill` does both stages. Labels of target images are not looked at.

    Order inside a step: the teacher moves, base and strong images through the student, weak ones through the teacher,
    then the loss.

    Islam, Chen, Panda, Karlinsky, Feris, Radke: Dynamic Distillation Network for Cross-Domain Few-Shot Recognition with
    Unlabeled Data, NeurIPS 2021, arXiv 2106.07807, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Dynamic Distillation Network for Cross-Domain Few-Shot Recognition with Unlabeled Data",
        paper="Islam, Chen, Panda, Karlinsky, Feris, Radke. Dynamic Distillation Network for Cross-Domain Few-Shot "
        "Recognition with Unlabeled Data. NeurIPS 2021, arXiv 2106.07807",
        summary="When images of another domain have labels, and those of your own have none: for few-shot tasks there.",
        needs=("labelled data beside",),
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of dynamic distillation. The defaults are those of the small preset."""

        stage: Literal["distil", "base"] = "distil"
        """`distil` learns from both data sets; `base` is the training before it, on labelled images alone."""
        temperature: float = 0.1
        """T: divides the teacher's logits."""
        momentum: float = 0.99
        """Share of its old weights that the teacher keeps at each step; 1 is a fixed teacher."""
        base_weight: float = 1.0
        """l_ce: weight of the cross-entropy on base images."""
        distillation_weight: float = 1.0
        """l_u: weight of the imitation of the teacher on target images."""
        centre: bool = False
        """Whether the running mean of the teacher's logits is taken from them."""
        centre_momentum: float = 0.9
        """Share of its old value that this mean keeps at each step."""

        def __post_init__(self) -> None:
            positive("temperature", self.temperature)
            between("momentum", self.momentum, 0.0, 1.0)
            between("centre_momentum", self.centre_momentum, 0.0, 1.0)
            at_least("base_weight", self.base_weight, 0.0)
            at_least("distillation_weight", self.distillation_weight, 0.0)

        def idle(self) -> dict[str, str]:
            """What the stage before knows nothing of, and the mean that is not taken."""
            if self.stage == "base":
                names = ("temperature", "momentum", "base_weight", "distillation_weight", "centre", "centre_momentum")
                return dict.fromkeys(names, "stage=distil")
            return {} if self.centre else {"centre_momentum": "centre"}

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Target images and base images; in the stage before, base images alone."""
        if settings.stage == "base":
            return {MAIN: Stream(draw=shuffled, keep="labelled")}
        return {MAIN: Stream(draw=shuffled), BASE: Stream(views=(BASE,), of="beside", keep="labelled")}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        classes = facts.classes if settings.stage == "base" else facts.beside.classes if facts.beside else 0
        if classes < 2:
            where = "--labels" if settings.stage == "base" else "--beside and --beside-labels"
            raise InputError(f"dyndistill needs labelled base images of two classes or more: name them with {where}")
        self.settings, self.share = settings, 0.0
        self.student = nn.Sequential(encoder, nn.Linear(encoder.features, classes))
        self.teacher = Momentum(self.student) if settings.stage == "distil" else None
        if settings.centre and self.teacher is not None:
            self.register_buffer("mean", torch.zeros(1, classes))
        self.views = view_policies(settings, facts)

    mean: Tensor

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update; onto it at the first."""
        self.share = clipped_ramp(progress.fraction)
        if self.teacher is not None:
            self.teacher.update(self.student, self.settings.momentum if progress.step else 0.0)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Base and strong images in one pass of the student; the teacher's guesses for the weak ones are the target."""
        settings = self.settings
        if self.teacher is None:
            features_BF = self.student[0](views[BASE].image)
            known = F.cross_entropy(exact(self.student[1](features_BF)), labels_of(batch))
            return Terms(known, {"classification": known.detach()}, features_BF.detach())
        base, strong_view = views[BASE].image, views["strong"].image
        features_RF = self.student[0](torch.cat([base, strong_view]))
        logits_RC = exact(self.student[1](features_RF))
        known = F.cross_entropy(logits_RC[: len(base)], labels_of(batch.others[BASE]))
        taught_BC = exact(self.teacher(views["weak"].image))
        if settings.centre:
            _, moved_1C = recentred(gather(taught_BC), self.mean.to(taught_BC.dtype), settings.centre_momentum)
            taught_BC = taught_BC - self.mean
            self.mean.copy_(moved_1C)
        target_BC = (taught_BC / settings.temperature).softmax(1)
        distilled = cross_entropy(logits_RC[len(base) :], target_BC).mean()
        loss = settings.base_weight * known + self.share * settings.distillation_weight * distilled
        entropy = -torch.special.xlogy(target_BC, target_BC).sum(1).mean()
        parts = {"classification": known.detach(), "distillation": distilled.detach(), "teacher_entropy": entropy}
        return Terms(loss, parts, features_RF[len(base) :].detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Student, and the teacher where there is one."""
        found: dict[str, nn.Module] = {"student": self.student[0]}
        return found if self.teacher is None else {**found, "teacher": self.teacher.network.get_submodule("0")}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, batch_size=128, epochs=10),
            note="narrow encoders, images up to 64 px; --start names the run of small_base",
        ),
        "small_base": Preset(
            settings=Settings(stage="base"),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, batch_size=128, epochs=20),
            note="the training before, on labelled base images",
        ),
        "miniimagenet": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                learning_rate=0.01,
                weight_decay=1e-4,
                schedule="step",
                milestones=(0.7, 0.9),
                step_factor=0.1,
                batch_size=32,
                epochs=60,
            ),
            note="the published recipe: miniImageNet beside a fifth of the target's images, 32 of each a step, "
            "resnet10; published epochs are passes over miniImageNet, here over the target",
        ),
        "miniimagenet_base": Preset(
            settings=Settings(stage="base"),
            optimisation=Optimisation(
                learning_rate=0.01,
                weight_decay=1e-4,
                schedule="step",
                milestones=(0.7, 0.9),
                step_factor=0.1,
                batch_size=32,
                epochs=200,
            ),
            note="the published training before, on miniImageNet",
        ),
    }


def view_policies(settings: DynDistill.Settings, facts: Facts) -> dict[str, ViewPolicy]:
    """Weak and strong views of target images, weak ones of base images; in the stage before these have colours."""
    size = facts.image_size
    full = strong(size, blur=blurred(size))
    if settings.stage == "base":
        return {BASE: replace(full, grey=0.0, blur=None)}
    light = weak(size)
    return {BASE: light, "weak": light, "strong": full}


def labels_of(batch: Batch) -> Tensor:
    """The labels of base images. Raises InputError where there are none."""
    if batch.labels is None:
        raise InputError("dyndistill learns from labelled base images, and they have no labels")
    return batch.labels


def exact(logits: Tensor) -> Tensor:
    """In float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
