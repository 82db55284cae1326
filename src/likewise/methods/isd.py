"""ISD: the student must see a picture's similarities to a memory of others as a slowly moving teacher sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.memory import LABEL, Queue
from likewise.methods.checks import at_least, between, positive
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.similarity import distill, purity, unit
from likewise.teachers import Momentum, with_statistics_of
from likewise.views.pair import PairPolicy, teacher_student


class ISD(Method):
    """Iterative Similarity Distillation.

    A momentum teacher looks at one view of a picture and turns its similarities to a memory of K earlier embeddings
    into a probability distribution; the student, looking at another view, must reproduce it:

        p_t(j) = softmax_j(k . M_j / Tt),   p_s(j) = softmax_j(q . M_j / Ts),   L = mean KL(p_t || p_s)

    with q = unit(predictor(projector(encoder(student view)))), k = unit(teacher(teacher view)). It is MoCo with a soft
    target instead of the one-hot one, and the two views are never compared with each other directly. The loss and its
    gradient are computed as the difference of two reads of the memory (`likewise.similarity.distill`).

    Order inside a step: teacher moves, both look, logits against the memory as it was, then the teacher's vectors
    enter the memory. The published code moves the teacher between the two forward passes, which is the same: the
    student's pass changes no parameter.

    Tejankar, Koohpayegani, Pillai, Favaro, Pirsiavash: ISD, ICCV 2021, arXiv 2012.09259, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Iterative Similarity Distillation",
        paper="Tejankar, Koohpayegani, Pillai, Favaro, Pirsiavash. ISD: Self-Supervised Learning by Iterative "
        "Similarity Distillation. ICCV 2021, arXiv 2012.09259",
        summary="For unbalanced data and data with many near-duplicates, small batches, and when nearest-neighbour "
        "quality matters most.",
        memory="queue",
        status="verified",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of ISD. The defaults are those of the small preset."""

        queue_size: int = 4096
        """Rows of the memory, K. Smaller than the data set, so that no picture is in it twice."""
        temperature_student: float = 0.1
        """Ts: divides the student's similarities."""
        temperature_teacher: float = 0.02
        """Tt: divides the teacher's similarities. Sharper than Ts, only the nearest rows stay in the target."""
        momentum: float = 0.99
        """m: share of its old weights that the teacher keeps at each step."""
        projector: bool = True
        """A two-layer head F - 2F - D on student and teacher. Without it the pooled features are compared (D = F)."""
        embedding: int = 64
        """D with a projector; 0 stands for a quarter of the encoder's features F."""
        predictor: Literal["wide", "plain"] = "wide"
        """Student only. wide: D - 2F - D with biases. plain: F - F - F, the first layer without bias."""
        views: PairPolicy = "weak/strong"
        """Teacher/student views."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the picture that a crop covers."""
        noise: Literal["rows", "columns"] = "rows"
        """How the noise that first fills the memory is normalised. The official ResNet-18 code does it by columns."""

        def __post_init__(self) -> None:
            at_least("queue_size", self.queue_size, 1)
            positive("temperature_student", self.temperature_student)
            positive("temperature_teacher", self.temperature_teacher)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("embedding", self.embedding, 0)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        features = encoder.features
        dim = (settings.embedding or features // 4) if settings.projector else features
        projector = heads.mlp([features, 2 * features, dim]) if settings.projector else nn.Identity()
        self.student = nn.Sequential(encoder, projector)
        self.predictor = (
            heads.mlp([dim, 2 * features, dim])
            if settings.predictor == "wide"
            else heads.mlp([dim, features, dim], hidden_bias=False)
        )
        self.teacher = Momentum(self.student)
        self.queue = Queue(settings.queue_size, dim, columns={"label": LABEL}, noise=settings.noise)
        self.views = teacher_student(
            settings.views, facts.image_size, mean=facts.mean, std=facts.std, scale=settings.crop_scale
        )

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """KL between the teacher's and the student's view of the memory; then the teacher's vectors enter it."""
        q_BD = self.predictor(self.student(views["student"].image))
        k_BD = self.teacher(views["teacher"].image)
        told = distill(
            q_BD,
            k_BD,
            self.queue.rows,
            self.settings.temperature_student,
            self.settings.temperature_teacher,
            top=min(5, self.queue.size),
        )
        parts = {"teacher_entropy": told.teacher_entropy}
        labels = batch.labels
        if labels is not None and told.neighbours is not None:
            parts["purity"] = purity(labels, self.queue.column("label")[told.neighbours])
        self.queue.push(gather(unit(k_BD)), label=None if labels is None else gather(labels))
        return Terms(told.loss, parts, q_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Student, and teacher with the student's running statistics, as both are evaluated officially."""
        student, teacher = self.student[0], self.teacher.network.get_submodule("0")
        return {"student": student, "teacher": with_statistics_of(teacher, student)}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.06, weight_decay=5e-4, batch_size=128, epochs=30),
            note="tuned for pictures up to 64 px and minutes of training; see docs/performance.md",
        ),
        "r18": Preset(
            settings=Settings(
                queue_size=128_000,
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
        ),
        "plus": Preset(
            settings=Settings(queue_size=128_000, temperature_teacher=0.01, embedding=0),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published ResNet-50 recipe, ImageNet",
        ),
    }
