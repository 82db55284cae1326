"""ReSSL: a strongly augmented view reproduces the teacher's similarities of a weakly augmented view to a memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads, norms
from likewise.encoders.passes.shuffling import shuffled
from likewise.errors import InputError
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, between, positive
from likewise.schedules import momentum_at
from likewise.similarity import Temperature, distill, purity, unit
from likewise.teachers import Momentum, evaluated
from likewise.views.policies.crops import five_crops
from likewise.views.policies.pair import PairPolicy, teacher_student


class Relations(NamedTuple):
    """The relational loss of a batch and where it came from."""

    loss: Tensor
    """Scalar: cross-entropy, mean over the batch."""
    teacher_entropy: Tensor
    """Scalar: mean entropy of the teacher's distribution, the least that the loss can be."""
    rows: Tensor | None
    """(B, top) rows nearest to the teacher's vector, where asked for."""


def relate(
    student_BD: Tensor,
    teacher_BD: Tensor,
    memory_KD: Tensor,
    temperature_student: float,
    temperature_teacher: float | Tensor,
    top: int | None = None,
) -> Relations:
    """Cross-entropy of the relations, eq. 3-5 of arXiv 2107.09282: ISD's divergence plus the teacher's entropy.

    L = -sum_j p_t(j) log p_s(j) with p = softmax(unit(z) . M_j / T), over the memory alone: the teacher's vector of
    the same image is no column. Gradient goes to the student only.
    """
    result = distill(student_BD, teacher_BD, memory_KD, temperature_student, temperature_teacher, top=top)
    return Relations(result.loss + result.teacher_entropy, result.teacher_entropy, result.neighbours)


class ReSSL(Method):
    """Relational Self-Supervised Learning.

    As in ISD a momentum teacher turns its similarities to a memory into a distribution that the student reproduces:

        p_t(j) = softmax_j(k . M_j / Tt),   p_s(j) = softmax_j(q . M_j / Ts),   L = -mean sum_j p_t(j) log p_s(j)

    It differs from ISD in having no predictor and no batch norm in its head, and in its value: a cross-entropy, with
    the teacher's entropy in it. That the teacher looks at a weakly changed view and that Tt is well below Ts is what
    it lives on. The small preset centres the embeddings and lets Tt follow an entropy, as ISD's does; the published
    ones do neither.

    Order inside a step: teacher moves, both look, logits against the memory as it was, then the teacher's vectors
    enter it.

    Zheng, You, Wang, Qian, Zhang, Wang, Xu: ReSSL, NeurIPS 2021, arXiv 2107.09282, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Relational Self-Supervised Learning",
        paper="Zheng, You, Wang, Qian, Zhang, Wang, Xu. ReSSL: Relational Self-Supervised Learning with Weak "
        "Augmentation. NeurIPS 2021, arXiv 2107.09282",
        summary="The nearest relative of ISD, to compare it with: no predictor, a weak view for the teacher, several "
        "crops for the student if wanted.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of ReSSL. The defaults are those of the small preset."""

        queue_size: int = 512
        """Rows of the memory, K."""
        temperature_student: float = 0.1
        """Ts: divides the student's similarities."""
        temperature_teacher: float = 0.04
        """Tt: divides the teacher's similarities; well below Ts: at equal temperatures little is learned."""
        entropy: float = 1.0
        """Nats that the teacher's distribution is kept at: Tt begins as given and follows. 0 keeps Tt, as the paper."""
        momentum: float = 0.7
        """m: share of its old weights that the teacher keeps at each step; the first value where it rises."""
        momentum_schedule: Literal["constant", "cosine"] = "constant"
        """cosine: rises to 1 over the budget, which the recipe usual for CIFAR does and the paper does not."""
        hidden: int = 1024
        """Width of the head's hidden layer, F - hidden - D, without batch norm between."""
        embedding: int = 128
        """Length D of the embedding."""
        centred: bool = True
        """Batch norm without scale and shift at the end of the head, as ISD's small preset has it: the paper's head has
        none, and in a few minutes its embeddings spread little (effective rank 6 where with it they have 11)."""
        crops: Literal[1, 5] = 1
        """Student views: one, or five of falling size with the same target, mean of the losses."""
        split_batch_norm: int = 1
        """Groups that batch statistics are computed in, as on so many devices; 1 takes those of the whole batch."""
        shuffle: bool = True
        """Permute the teacher's images for their pass, over all processes, so that none is normalised among the same
        images as for the student. Of effect where batch statistics are those of a part of the batch."""
        views: PairPolicy = "weak/strong"
        """Teacher/student views. Strong for the teacher loses several points, which is the paper's point."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""
        blur: tuple[float, float] = (0.0, 0.5)
        """Shares of strong views that are blurred: of images up to 64 px, half in the paper, and of larger ones."""

        def __post_init__(self) -> None:
            at_least("queue_size", self.queue_size, 1)
            positive("temperature_student", self.temperature_student)
            positive("temperature_teacher", self.temperature_teacher)
            if self.temperature_teacher > self.temperature_student:
                raise InputError(
                    f"temperature_teacher={self.temperature_teacher} is too large: allowed is up to "
                    f"temperature_student={self.temperature_student}, since a teacher less sharp teaches nothing"
                )
            at_least("entropy", self.entropy, 0.0)
            between("momentum", self.momentum, 0.0, 1.0)
            for share in self.blur:
                between("blur", share, 0.0, 1.0)
            at_least("hidden", self.hidden, 1)
            at_least("split_batch_norm", self.split_batch_norm, 1)
            at_least("embedding", self.embedding, 1)
            if self.crops not in {1, 5}:
                raise InputError(f"crops={self.crops} is not a number of student views: allowed are 1 and 5")

        def idle(self) -> dict[str, str]:
            """Blur, where no view is strong."""
            return {"blur": "a strong view"} if self.views == "weak/weak" else {}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        widths = [encoder.features, settings.hidden, settings.embedding]
        head = heads.mlp(widths, hidden_norm=None, last_norm="batch_no_affine" if settings.centred else None)
        self.student = nn.Sequential(encoder, head)
        norms.convert(self.student, split=settings.split_batch_norm)
        self.teacher = Momentum(self.student)
        self.temperature = Temperature(settings.temperature_teacher, settings.entropy)
        self.queue = Queue(settings.queue_size, settings.embedding, columns={"label": LABEL})
        self.views = teacher_student(settings.views, facts.image_size, scale=settings.crop_scale, blur=settings.blur)
        if settings.crops == 5:
            self.views |= five_crops("student", self.views["student"], settings.crop_scale)
        self.roles = [role for role in self.views if role != "teacher"]

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update."""
        settings = self.settings
        self.teacher.update(self.student, momentum_at(settings.momentum, settings.momentum_schedule, progress.fraction))

    def step(self, views: Views, batch: Batch) -> Terms:
        """Relations of each student view against the teacher's; then the teacher's vectors enter the memory."""
        settings, image = self.settings, views["teacher"].image
        k_BD = shuffled(self.teacher, image) if settings.shuffle else self.teacher(image)
        seen = [self.student(views[role].image) for role in self.roles]
        result = [
            relate(
                q_BD,
                k_BD,
                self.queue.rows,
                settings.temperature_student,
                self.temperature.now(),
                top=min(5, self.queue.size),
            )
            for q_BD in seen
        ]
        parts, labels, rows = {"teacher_entropy": result[0].teacher_entropy}, batch.labels, result[0].rows
        if labels is not None and rows is not None:
            parts["purity"] = purity(labels, self.queue.column("label")[rows])
        self.queue.push(gather(unit(k_BD)), label=gather(labels))
        self.temperature.follow(result[0].teacher_entropy)
        return Terms(torch.stack([each.loss for each in result]).mean(), parts, seen[0].detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Student, and teacher with the student's running statistics."""
        return evaluated(self.student, self.teacher)

    presets: ClassVar = {
        "small": usual(Settings()),
        "cifar": Preset(
            settings=Settings(queue_size=4096, entropy=0.0, momentum=0.99, hidden=2048, centred=False, blur=(0.5, 0.5)),
            normalisation="cifar10",
            optimisation=Optimisation(learning_rate=0.06, weight_decay=5e-4, warmup=5 / 200, epochs=200),
            note="the paper's CIFAR recipe, ResNet-18, as far as it is known: head and memory are, warm-up is not",
        ),
        "imagenet": Preset(
            settings=Settings(
                queue_size=131_072,
                entropy=0.0,
                momentum=0.999,
                hidden=4096,
                embedding=512,
                centred=False,
                split_batch_norm=8,
            ),
            optimisation=Optimisation(
                learning_rate=0.05, weight_decay=1e-4, decay_norms_and_biases=False, warmup=5 / 200, epochs=200
            ),
            note="the published recipe, ImageNet, ResNet-50; five crops with `crops=5`",
        ),
    }
