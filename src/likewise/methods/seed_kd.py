"""SEED: a student reproduces a frozen, larger teacher's similarities of an image to a queue of other images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, positive
from likewise.methods.parts.taught import Taught, TaughtSettings, check_headed, headed, teacher_of
from likewise.similarity import Distillation, distill, purity, unit
from likewise.views import multi_crop, strong
from likewise.views.policies.pair import blurred

CROP_SHARE = 96 / 224
"""Side of a small crop as a share of the large one's."""


def seed_distill(
    student_BD: Tensor,
    teacher_BD: Tensor,
    queue_KD: Tensor,
    temperature_student: float,
    temperature_teacher: float,
    *,
    top: int | None = None,
) -> Distillation:
    """Similarity distillation whose memory is the teacher's own vector of the image, then the queue.

    With t = softmax([z_t.z_t ; Q z_t] / tau_T) and s = [z_s.z_t ; Q z_s] / tau_S, SEED minimises the cross-entropy
    -sum_k t_k log softmax(s)_k (arXiv 2101.04731, eq. 5): `cross_entropy` of what this returns. It stops at the
    teacher's entropy and not at 0; `loss` is what is left above that.
    """
    return distill(
        student_BD, teacher_BD, queue_KD, temperature_student, temperature_teacher, own_BE=teacher_BD, top=top
    )


class SEED(Taught):
    """Self-supervised distillation from a frozen teacher.

    One view of each image goes to both networks. With z_s and z_t their unit vectors and Q the queue of earlier z_t,

        L = -mean_i sum_k t_ik log softmax(s_i)_k,
        s_i = [z_s.z_t ; Q z_s] / tau_S,   t_i = softmax([1 ; Q z_t] / tau_T),

    then z_t enters the queue. Since z_t.z_t = 1 is the largest similarity there is, a tau_T near 0 makes t one-hot and
    the loss InfoNCE with the frozen teacher as key encoder; it is the softer tau_T that hands on relations.

        likewise train photos/ --method isd --encoder resnet50 --out runs/big
        likewise train photos/ --method seed_kd --teacher runs/big --out runs/small

    The teacher's vectors are those of its projection head in the published presets; in the small one its pooled
    features, standardised, which any encoder has.

    Fang, Wang, Wang, Zhang, Yang, Liu: SEED, ICLR 2021, arXiv 2101.04731, section 3.2.
    """

    card: ClassVar[Card] = Card(
        title="Self-supervised distillation (SEED)",
        paper="Fang, Wang, Wang, Zhang, Yang, Liu. SEED: Self-supervised Distillation For Visual Representation. "
        "ICLR 2021, arXiv 2101.04731",
        summary="To get a small encoder out of a large one that was trained without labels; the baseline that other "
        "distillation methods compare with.",
        needs=("frozen teacher",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(TaughtSettings):
        """Settings of SEED. The defaults are those of the small preset."""

        queue_size: int = 4096
        """Earlier teacher vectors, K."""
        temperature_student: float = 0.2
        """tau_S: divides the student's similarities."""
        temperature_teacher: float = 0.05
        """tau_T: the paper says 0.01, the official default is 1e-4, which leaves only the image itself."""
        teacher_head: bool = False
        """Compare what the teacher's projection head gives, as published: the teacher must be a run that kept it."""
        centred: bool = True
        """Standardise the teacher's features by the batch. Pooled features are never negative, so that all point the
        same way and few rows of the queue differ; the paper's teachers have a projection head."""
        small_crops: int = 0
        """Small crops (96 of 224 px) of each image that both networks see besides, with a queue of their own; 6 in
        the paper's longest runs."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that the large crop covers."""
        small_crop_scale: tuple[float, float] = (0.05, 0.14)
        """The same for small crops."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.teacher_head:
                check_headed(self.teacher)
            at_least("queue_size", self.queue_size, 1)
            positive("temperature_student", self.temperature_student)
            positive("temperature_teacher", self.temperature_teacher)
            at_least("small_crops", self.small_crops, 0)

        def idle(self) -> dict[str, str]:
            """Settings of small crops, where there are none, and the table of a teacher that is shown views."""
            crops = {} if self.small_crops else {"small_crop_scale": "small_crops above 0"}
            return crops | ({"cached": "teacher_head=False"} if self.teacher_head else {})

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        side, features = facts.image_size, encoder.features
        if settings.teacher_head:
            self.teacher = headed(settings.teacher, facts)
        else:
            self.teacher = teacher_of(settings.teacher, facts, cached=settings.cached)
        dim = self.teacher.features
        self.student = nn.Sequential(encoder, heads.mlp([features, features, dim], hidden_norm=None))
        self.centre = nn.BatchNorm1d(dim, affine=False) if settings.centred else nn.Identity()
        self.queue = Queue(settings.queue_size, dim, columns={"label": LABEL})
        large, small = (
            strong(size, scale=scale, blur=blurred(side))
            for size, scale in (
                (side, settings.crop_scale),
                (max(1, round(side * CROP_SHARE)), settings.small_crop_scale),
            )
        )
        self.views = multi_crop(large, small, large_count=1, small_count=settings.small_crops)
        if settings.small_crops:
            self.small_queue = Queue(settings.queue_size, dim)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Cross-entropy of both views of the queue as it was; then the teacher's vectors enter it."""
        q_BD, result, k_BD = self._compare(views["large_0"].image, batch.ids, self.queue)
        parts = {"teacher_entropy": result.teacher_entropy, "divergence": result.loss.detach()}
        labels = batch.labels
        if labels is not None and result.neighbours is not None:
            parts["purity"] = purity(labels, self.queue.column("label")[result.neighbours])
        self.queue.push(gather(k_BD), label=gather(labels))
        loss = result.cross_entropy
        if self.settings.small_crops:
            crops = torch.cat([views[f"small_{n}"].image for n in range(self.settings.small_crops)])
            index = batch.ids.repeat(self.settings.small_crops)
            _, result, k_crops = self._compare(crops, index, self.small_queue)
            self.small_queue.push(gather(k_crops[: len(k_BD)]))  # one crop of each image
            loss = loss + result.cross_entropy
        return Terms(loss, parts, q_BD.detach())

    def _compare(self, image: Tensor, index: Tensor, queue: Queue) -> tuple[Tensor, Distillation, Tensor]:
        """The student's vectors, how they differ from the teacher's in their view of the queue, and the teacher's."""
        q_BD, k_BD = self.student(image), unit(self.centre(self.teacher.see(image, index)))
        ts, tt = self.settings.temperature_student, self.settings.temperature_teacher
        return q_BD, seed_distill(q_BD, k_BD, queue.rows, ts, tt, top=min(5, queue.size)), k_BD

    def encoders(self) -> dict[str, nn.Module]:
        """The student without its head."""
        return {"student": self.student[0]}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="muon", learning_rate=0.1, weight_decay=5e-4, batch_size=128, epochs=30
            ),
            note="narrow encoders, images up to 64 px",
        ),
        "imagenet": Preset(
            settings=Settings(queue_size=65_536, temperature_teacher=0.01, teacher_head=True, centred=False),
            optimisation=Optimisation(
                learning_rate=0.03,
                weight_decay=1e-4,
                schedule="cosine_epoch",
                cosine_over="start",
                warmup=5 / 200,
                warmup_from=1.0,  # from the base rate, which at a batch of 256 is the peak
                epochs=200,
            ),
            note="the published recipe, ImageNet, MoCo v2 teacher; temperature_teacher from the paper",
        ),
        "swav": Preset(
            settings=Settings(
                queue_size=65_536,
                temperature_teacher=0.01,
                teacher_head=True,
                centred=False,
                small_crops=6,
                crop_scale=(0.14, 1.0),
            ),
            optimisation=Optimisation(
                learning_rate=0.03,
                weight_decay=1e-4,
                schedule="cosine_epoch",
                cosine_over="start",
                warmup=5 / 800,
                warmup_from=1.0,  # from the base rate, which at a batch of 256 is the peak
                epochs=800,
            ),
            note="the published recipe with small crops, ImageNet, SwAV teacher",
        ),
    }
