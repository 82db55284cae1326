"""DisCo: MoCo v2, with both of the student's embeddings regressed onto those of a frozen teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads, norms
from likewise.encoders.passes.shuffling import shuffled
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.taught import check_headed, check_length, headed
from likewise.similarity import contrast, pull, unit
from likewise.teachers import Momentum
from likewise.views.policies.pair import strong_views

Mode = Literal["eval", "train"]


def distilled(student_BD: Tensor, teacher_BD: Tensor, *, reduction: Literal["mean", "sum"]) -> Tensor:
    """Squared distance of unit vectors, summed over dimensions; mean or sum over the images (eq. 4)."""
    mean = pull(student_BD, unit(teacher_BD))
    return mean if reduction == "mean" else len(student_BD) * mean


class DisCo(Method):
    """Distilled contrastive learning.

    Both views v1, v2 of an image go through the student S and the frozen teacher T with its own projection head; the
    student's key encoder S' sees v2. With unit vectors s1, s2, t1, t2, k2, and Q the queue of earlier k2,

        L_co  = mean_i -log softmax([s1.k2 ; s1.Q] / tau)_0
        L_dis = w * mean_i ( |s1 - t1|^2 + |s2 - t2|^2 )
        L     = L_co + L_dis.

    The official code sums L_dis over the images of each of 8 devices, 32 each, and averages gradients over devices:
    w = 32 is the same on any number of devices. `reduction="sum"` is the plain sum over a process's batch, w = 1 then.

    Order inside a step: key encoder moves, all look, logits against the queue as it was, then k2 enters the queue. The
    head's hidden layer is wide whatever the student's width (a narrow one is a bottleneck), and is thrown away.

        likewise train photos/ --method moco_v2 --encoder resnet50 --out runs/big
        likewise train photos/ --method disco --teacher runs/big --out runs/small

    Gao, Zhuang, Lin, Cheng, Sun, Li, Shen: DisCo, ECCV 2022, arXiv 2104.09124, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Distilled contrastive learning (DisCo)",
        paper="Gao, Zhuang, Lin, Cheng, Sun, Li, Shen. DisCo: Remedy Self-supervised Learning on Lightweight Models "
        "with Distilled Contrastive Learning. ECCV 2022, arXiv 2104.09124",
        summary="For a small encoder that learns little by contrast alone, where a run of a contrastive method with "
        "its projection head can teach.",
        needs=("frozen teacher",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of DisCo. The defaults are those of the small preset."""

        teacher: str = ""
        """The frozen teacher: a run directory of a method with a projection head."""
        loss: Literal["both", "distil"] = "both"
        """both: contrast and distillation. distil: the distance to the teacher alone (only MSE)."""
        distill_weight: float = 2.0
        """w: weight of the distillation term; 32 as published, under which a student of few steps ends at the mean of
        the teacher's vectors, from where the contrast does not lift it."""
        reduction: Literal["mean", "sum"] = "mean"
        """Of the distillation term, over the images of a process's batch."""
        teacher_mode: Mode = "eval"
        """eval: the teacher normalises by its running statistics. train: by those of the batch, which also move the
        running ones, as in the official code."""
        hidden: int = 1024
        """Width of the hidden layer of the student's head; as wide as the encoder's features it is a bottleneck."""
        embedding: int = 0
        """Length of the embeddings; 0: as long as the teacher's, and no other works."""
        queue_size: int = 4096
        """Negative keys, K."""
        temperature: float = 0.2
        """tau: divides the similarities of the contrast."""
        momentum: float = 0.99
        """Share of its old weights that the key encoder keeps at each step."""
        split_batch_norm: int = 8
        """Groups that the student's batch statistics are computed in; 1 turns it off."""
        shuffle: bool = True
        """Permute the images of the keys for their pass. Of effect where batch statistics are those of a part."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            check_headed(self.teacher, self.embedding)
            positive("distill_weight", self.distill_weight)
            for name in ("hidden", "queue_size", "split_batch_norm"):
                at_least(name, getattr(self, name), 1)
            at_least("embedding", self.embedding, 0)
            positive("temperature", self.temperature)
            between("momentum", self.momentum, 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """Settings of the contrast, without it."""
            if self.loss == "both":
                return {}
            return dict.fromkeys(("queue_size", "temperature", "momentum", "shuffle"), "loss=both")

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        norms.convert(encoder, split=settings.split_batch_norm)
        self.frozen = headed(settings.teacher, facts)
        dim = check_length("embedding", settings.embedding, self.frozen)
        head = heads.mlp([encoder.features, settings.hidden, dim], hidden_norm=None)
        self.student = nn.Sequential(encoder, head)
        if settings.loss == "both":
            self.teacher = Momentum(self.student)
            self.queue = Queue(settings.queue_size, dim, columns={"label": LABEL})
        self.views = strong_views(("first", "second"), facts.image_size, scale=settings.crop_scale)

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the student as it was before this step's update."""
        if self.settings.loss == "both":
            self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Both distances to the teacher, and the contrast of the first view; then the keys enter the queue."""
        settings = self.settings
        images = [views["first"].image, views["second"].image]
        s1_BD, s2_BD = (self.student(image) for image in images)
        t1_BD, t2_BD = (self._taught(image) for image in images)
        pairs = ((s1_BD, t1_BD), (s2_BD, t2_BD))
        apart = torch.stack([distilled(s, t, reduction=settings.reduction) for s, t in pairs]).sum()
        loss = settings.distill_weight * apart
        parts = {"distance": apart.detach()}
        if settings.loss == "both":
            k2_BD = unit(shuffled(self.teacher, images[1]) if settings.shuffle else self.teacher(images[1]))
            contrasted = contrast(s1_BD, k2_BD, self.queue.rows, settings.temperature)
            self.queue.push(gather(k2_BD), label=gather(batch.labels))
            parts["contrast"] = contrasted.detach()
            loss = loss + contrasted
        return Terms(loss, parts, s1_BD.detach())

    def _taught(self, image: Tensor) -> Tensor:
        """(B, D) of the frozen teacher in its mode."""
        if self.settings.teacher_mode == "train":
            self.frozen.network.train()
        try:
            found: Tensor = self.frozen(image)
        finally:
            self.frozen.train()
        return found

    def encoders(self) -> dict[str, nn.Module]:
        """The student without its head."""
        return {"student": self.student[0]}

    _long: ClassVar = Optimisation(learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", epochs=200)

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="muon", learning_rate=0.1, weight_decay=5e-4, batch_size=128, epochs=30
            ),
            note="narrow encoders, images up to 64 px, minutes of training",
        ),
        "imagenet": Preset(
            settings=Settings(distill_weight=32.0, hidden=2048, queue_size=65_536, momentum=0.999),
            optimisation=_long,
            note="the published recipe, ImageNet, MoCo v2 teacher",
        ),
    }
