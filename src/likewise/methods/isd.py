"""ISD: the student reproduces a slowly moving teacher's similarities of an image to a memory of other images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads, norms
from likewise.encoders.passes.shuffling import shuffled
from likewise.memory import LABEL, Queue
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
)
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity import Temperature, distill, purity, unit
from likewise.teachers import Momentum, evaluated
from likewise.views.policies.pair import PairPolicy, teacher_student

WATCHED = 5
"""Nearest rows whose labels are compared with the image's, for a curve."""

Predictor = Literal["wide", "plain", "none"]


def predictor(form: Predictor, features: int, dim: int) -> nn.Module:
    """The student's last head, D -> D, with F = `features`."""
    if form == "none":
        return nn.Identity()
    if form == "wide":
        return heads.mlp([dim, 2 * features, dim])
    return heads.mlp([dim, features, dim], hidden_bias=False)


class ISD(Method):
    """Iterative Similarity Distillation.

    A momentum teacher looks at one view of an image and turns its similarities to a memory of K earlier embeddings
    into a probability distribution; the student, looking at another view, must reproduce it:

        p_t(j) = softmax_j(k . M_j / Tt),   p_s(j) = softmax_j(q . M_j / Ts),   L = mean KL(p_t || p_s)

    with q = unit(predictor(projector(encoder(student view)))), k = unit(teacher(teacher view)). It is MoCo with a soft
    target instead of the one-hot one, and the two views are never compared with each other directly. The loss and its
    gradient are computed as the difference of two reads of the memory (`likewise.similarity.distill`).

    Order inside a step: teacher moves, both look, logits against the memory as it was, then the teacher's vectors
    enter the memory. The published code moves the teacher between the two forward passes, which is the same: the
    student's pass changes no parameter.

    What the small preset does otherwise, since in a few minutes a young teacher finds all images alike, and a student
    that copies this learns nothing: `entropy` lets Tt follow, so that a target always names a few rows; with
    `enqueue=before` an image's own vector is one of them; `centred` embeddings fill the sphere from the first step;
    the teacher is quick, and the memory holds this batch alone, since rows of the batches before come from an encoder
    that has changed much since then; and kernels are updated by Muon. The presets r18 and plus are the paper's.

    Tejankar, Koohpayegani, Pillai, Favaro, Pirsiavash: ISD, ICCV 2021, arXiv 2012.09259, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Iterative Similarity Distillation",
        paper="Tejankar, Koohpayegani, Pillai, Favaro, Pirsiavash. ISD: Self-Supervised Learning by Iterative "
        "Similarity Distillation. ICCV 2021, arXiv 2012.09259",
        summary="For unbalanced data and data with many near-duplicates, small batches, and when nearest-neighbour "
        "quality matters most.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of ISD. The defaults are those of the small preset."""

        queue_size: int = 128
        """Rows of the memory, K. Smaller than the data set, so that no image is in it twice."""
        enqueue: Literal["before", "after"] = "before"
        """Whether the teacher's vectors enter the memory before the loss, each a row of its own target, or after it.
        With `before` the memory has room for a batch at least."""
        temperature_student: float = 0.1
        """Ts: divides the student's similarities."""
        temperature_teacher: float = 0.02
        """Tt: divides the teacher's similarities. Sharper than Ts, only the nearest rows stay in the target."""
        entropy: float = 1.0
        """Nats that the teacher's distribution is kept at: Tt begins as given and follows. 0 keeps Tt, as the paper."""
        momentum: float = 0.7
        """m: share of its old weights that the teacher keeps at each step."""
        projector: bool = True
        """A two-layer head F - 2F - D on student and teacher. Without it the pooled features are compared (D = F)."""
        embedding: int = 64
        """D with a projector; 0 stands for a quarter of the encoder's features F."""
        centred: bool = True
        """A last normalisation over the batch, without weights, behind the projector."""
        predictor: Predictor = "none"
        """Student only. wide: D - 2F - D with biases. plain: F - F - F, the first layer without bias."""
        split_batch_norm: int = 1
        """Groups that batch statistics are computed in, as on so many devices. More than 1 is the published form, where
        the teacher's images are permuted for their pass besides; 1 takes those of the whole batch."""
        views: PairPolicy = "strong/strong"
        """Teacher/student views."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""
        noise: Literal["rows", "columns"] = "rows"
        """How the noise that first fills the memory is normalised. The official ResNet-18 code does it by columns."""

        def __post_init__(self) -> None:
            at_least("queue_size", self.queue_size, 1)
            positive("temperature_student", self.temperature_student)
            positive("temperature_teacher", self.temperature_teacher)
            at_least("entropy", self.entropy, 0.0)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("embedding", self.embedding, 0)
            at_least("split_batch_norm", self.split_batch_norm, 1)

        def idle(self) -> dict[str, str]:
            """Settings of the projector where there is none."""
            return {} if self.projector else dict.fromkeys(("embedding", "centred"), "projector=True")

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        features = encoder.features
        dim = (settings.embedding or features // 4) if settings.projector else features
        last: heads.LastNorm | None = "batch_no_affine" if settings.centred else None
        projector = heads.mlp([features, 2 * features, dim], last_norm=last) if settings.projector else nn.Identity()
        self.student = nn.Sequential(encoder, projector)
        self.predictor = predictor(settings.predictor, features, dim)
        self.teacher = Momentum(self.student)
        norms.convert(self, split=settings.split_batch_norm)
        self.temperature = Temperature(settings.temperature_teacher, settings.entropy)
        size = facts.room(settings.queue_size) if settings.enqueue == "before" else settings.queue_size
        self.queue = Queue(size, dim, columns={"label": LABEL}, noise=settings.noise)
        self.views = teacher_student(settings.views, facts.image_size, scale=settings.crop_scale)

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """KL between the teacher's and the student's view of the memory, which the teacher's vectors enter."""
        q_BD = self.predictor(self.student(views["student"].image))
        k_BD = unit(shuffled(self.teacher, views["teacher"].image))
        own = 1 if self.settings.enqueue == "before" else 0  # the nearest row is then the image itself
        if own:
            self._remember(k_BD, batch)
        result = distill(
            q_BD,
            k_BD,
            self.queue.rows,
            self.settings.temperature_student,
            self.temperature.now(),
            top=min(WATCHED + own, self.queue.size),
        )
        parts = {"teacher_entropy": result.teacher_entropy}
        if batch.labels is not None and result.neighbours is not None:
            parts["purity"] = purity(batch.labels, self.queue.column("label")[result.neighbours[:, own:]])
        if not own:
            self._remember(k_BD, batch)
        self.temperature.follow(result.teacher_entropy)
        return Terms(result.loss, parts, q_BD.detach())

    def _remember(self, k_BD: Tensor, batch: Batch) -> None:
        self.queue.push(gather(k_BD), label=gather(batch.labels))

    def encoders(self) -> dict[str, nn.Module]:
        """Student, and teacher with the student's running statistics, as both are evaluated officially."""
        return evaluated(self.student, self.teacher)

    _paper: ClassVar = Settings(
        queue_size=128_000,
        enqueue="after",
        temperature_student=0.1,
        temperature_teacher=0.01,
        entropy=0.0,
        momentum=0.99,
        embedding=0,
        centred=False,
        predictor="wide",
        views="weak/strong",
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="muon", learning_rate=0.1, weight_decay=5e-4, batch_size=128, epochs=30
            ),
            note="tuned for images up to 64 px and minutes of training; with an hour simclr was ahead on imagenette: "
            "see docs/performance.md",
        ),
        "r18": Preset(
            settings=replace(
                _paper,
                temperature_student=0.02,
                temperature_teacher=0.02,
                momentum=0.999,
                projector=False,
                predictor="plain",
                views="strong/strong",
                noise="columns",
            ),
            optimisation=Optimisation(
                learning_rate=0.01,
                weight_decay=1e-4,
                schedule="step",
                milestones=(140 / 200, 180 / 200),
                step_factor=0.2,
                epochs=200,
            ),
            note="the published ResNet-18 recipe, ImageNet",
            differs={"batch norm": WHOLE_BATCH},
        ),
        "plus": Preset(
            settings=_paper,
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published ResNet-50 recipe, ImageNet",
            differs={"batch norm": WHOLE_BATCH},
        ),
        "proposed": Preset(
            settings=replace(_paper, queue_size=4096, temperature_teacher=0.02, embedding=64),
            optimisation=Optimisation(learning_rate=0.06, weight_decay=5e-4, batch_size=256, epochs=30),
            note="the published form, only scaled down to narrow encoders and images up to 64 px",
        ),
    }
