"""S2-BNN: self-supervised training of a binary network (1-bit weights) by a real-valued teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.taught import check_headed, check_length, headed, started_from
from likewise.similarity import contrast, cross_entropy, unit
from likewise.teachers import Momentum
from likewise.views import strong
from likewise.views.policies.pair import blurred

Regime = Literal["distil", "contrast", "both"]
EMBEDDING = 128
"""Length of the embeddings where no teacher says it."""


def calibrated(student_BD: Tensor, teacher_BD: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of two embeddings read as distributions over their own dimensions, and how much of it is KL.

    -mean_i sum_d softmax(t_i / T)_d log softmax(s_i / T)_d with unit vectors (arXiv 2102.08946, eq. 6). In 128
    dimensions at T = 0.2 both are nearly flat, so that it stays near log 128 = 4.85.
    """
    target_BD = (unit(teacher_BD.detach()) / temperature).softmax(1)
    loss = cross_entropy(unit(student_BD) / temperature, target_BD).mean()
    entropy = -torch.special.xlogy(target_BD, target_BD).sum(1).mean()
    return loss, loss.detach() - entropy


class S2BNN(Method):
    """Self-supervised binary networks by guided distribution calibration.

    The frozen teacher T, with its projection head, and the student S see the same view; the student's embedding, as a
    distribution over its dimensions, follows the teacher's:

        L_kd = -mean_i sum_d softmax(unit(T(v1)) / tau)_d log softmax(unit(S(v1)) / tau)_d.

    `distil`: L_kd alone (the best in the paper). `contrast`: MoCo v2 with milder views and Adam. `both`: their sum.
    The student is a network of 1-bit weights and activations, `--encoder reactnet_a` or `reactnet_small`, or any other.

    Two steps: first with real weights, then all weights of that run are taken over and binarised.

        likewise train photos/ --method moco_v2 --encoder resnet50 --out runs/big
        likewise train photos/ --method s2bnn --teacher runs/big --encoder reactnet_small_real --out runs/step1
        likewise train photos/ --method s2bnn --teacher runs/big --encoder reactnet_small --first-step runs/step1

    `likewise export RUN --format packed` writes one bit a weight. Order of a step with contrast: key encoder moves, all
    look, logits against the queue as it was, then the keys enter it.

    Shen, Liu, Qin, Huang, Cheng, Savvides: S2-BNN, CVPR 2021, arXiv 2102.08946, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Self-supervised binary networks (S2-BNN)",
        paper="Shen, Liu, Qin, Huang, Cheng, Savvides. S2-BNN: Bridging the Gap Between Self-Supervised Real and 1-bit "
        "Neural Networks via Guided Distribution Calibration. CVPR 2021, arXiv 2102.08946",
        summary="For an encoder of one bit a weight, with the run of a method with a projection head as teacher.",
        needs=("frozen teacher",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of S2-BNN. The defaults are those of the small preset."""

        regime: Regime = "distil"
        """distil: follow the teacher. contrast: MoCo v2, without a teacher. both."""
        teacher: str = ""
        """The frozen teacher: a run directory of a method with a projection head."""
        first_step: str = ""
        """The run of the first step, with real weights, whose networks are taken over."""
        temperature: float = 0.2
        """tau: of the distributions over dimensions, and of the contrast."""
        hidden: int = 0
        """Width of the hidden layer of the student's head; 0: as wide as its features."""
        embedding: int = 0
        """Length of the embeddings; 0: as long as the teacher's, or 128 without one."""
        queue_size: int = 4096
        """Negative keys, K, with contrast."""
        momentum: float = 0.99
        """Share of its old weights that the key encoder keeps at each step, with contrast."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            if self.regime != "contrast":
                check_headed(self.teacher, self.embedding)
            positive("temperature", self.temperature)
            at_least("hidden", self.hidden, 0)
            at_least("embedding", self.embedding, 0)
            at_least("queue_size", self.queue_size, 1)
            between("momentum", self.momentum, 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """Settings of the contrast without it, and of the teacher without distillation."""
            if self.regime == "distil":
                return dict.fromkeys(("queue_size", "momentum"), "regime=both or contrast")
            return {"teacher": "regime=both or distil"} if self.regime == "contrast" else {}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.embedding or EMBEDDING
        if settings.regime != "contrast":
            self.frozen = headed(settings.teacher, facts)
            dim = check_length("embedding", settings.embedding, self.frozen)
        head = heads.mlp([encoder.features, settings.hidden or encoder.features, dim], hidden_norm=None)
        self.student = nn.Sequential(encoder, head)
        parts = ["student"]
        if settings.regime != "distil":
            self.teacher = Momentum(self.student)
            self.queue = Queue(settings.queue_size, dim, columns={"label": LABEL})
            parts.append("teacher")
        if settings.first_step:
            started_from(self, "first_step", settings.first_step, parts)
        side = facts.image_size
        mild = strong(side, scale=settings.crop_scale, jitter=0.6, blur=blurred(side, 0.2))
        self.views = {"first": mild} if settings.regime == "distil" else {"first": mild, "second": mild}

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the student as it was before this step's update."""
        if self.settings.regime != "distil":
            self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """What the regime asks for of the first view; then the keys of the second enter the queue."""
        settings, losses = self.settings, []
        first = views["first"].image
        q_BD = self.student(first)
        parts: dict[str, Tensor] = {}
        if settings.regime != "contrast":
            loss, parts["divergence"] = calibrated(q_BD, self.frozen(first), settings.temperature)
            losses.append(loss)
        if settings.regime != "distil":
            k_BD = unit(self.teacher(views["second"].image))
            losses.append(contrast(q_BD, k_BD, self.queue.rows, settings.temperature))
            self.queue.push(gather(k_BD), label=gather(batch.labels))
            parts["contrast"] = losses[-1].detach()
        return Terms(torch.stack(losses).sum(), parts, q_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The student without its head."""
        return {"student": self.student[0]}

    _adam: ClassVar = Optimisation(
        optimiser="adamw", learning_rate=3e-4, weight_decay=0.0, schedule="cosine_epoch", epochs=200
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=replace(_adam, learning_rate=1e-3, schedule="cosine", epochs=30),
            note="narrow encoders, images up to 64 px",
        ),
        "imagenet": Preset(
            settings=Settings(queue_size=65_536, momentum=0.999),
            optimisation=_adam,
            note="the published recipe, ImageNet, distillation only, each of two steps",
        ),
    }
