"""ASCL: MoCo with a soft target, its softness adapted to each image by the certainty of the teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads, norms
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.moco import key
from likewise.similarity import own_columns, pull, purity, similarities
from likewise.similarity.positives.adaptive import Target, adaptive_contrast, batch_targets
from likewise.teachers import Momentum
from likewise.views.policies.pair import PairPolicy, teacher_student


class ASCL(Method):
    """Adaptive Soft Contrastive Learning.

    With q, k the unit vectors of student and teacher, n_j the rows of the queue, and kappa the number of neighbours:

        p = softmax_j(k . n_j / Tt),   c = 1 - H(p) / ln K,   s_j = min(1, kappa c p_j)
        y = (1, s_1 ... s_K) / sum,    L = mean cross-entropy( y, softmax((q.k, q.n_1 ... q.n_K) / Ts) )

    A teacher that is sure where the image belongs makes its neighbours positives, too; an unsure one leaves MoCo. In
    the BYOL form the rows are the other keys of the batch, and L = mean 2 - 2 h . sum_j y_j k_j with h the prediction.

    Order inside a step: teacher moves, both look, target and loss with the queue as it was, then the keys enter it.

    Feng, Patras: Adaptive Soft Contrastive Learning, ICPR 2022, arXiv 2207.11163, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Adaptive Soft Contrastive Learning",
        paper="Feng, Patras. Adaptive Soft Contrastive Learning. ICPR 2022, arXiv 2207.11163",
        summary="When many images are of the same kind: MoCo that takes near neighbours for positives as far as it "
        "is sure of them, with no threshold to set.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of ASCL. The defaults are those of the small preset."""

        queue_size: int = 4096
        """Rows of the queue, K. The confidence is relative to ln K."""
        form: Literal["moco", "byol"] = "moco"
        """Contrast with a queue, or prediction of the keys of the batch."""
        target: Target = "ascl"
        """Labels of the neighbours: soft (ascl), c (ahcl), 1 (hard), or none (normal: plain MoCo or BYOL)."""
        neighbours: int = 5
        """kappa: how many neighbours count as much as the positive at most; 1 in most published runs."""
        temperature_student: float = 0.1
        """Ts: divides the student's similarities to the queue; the BYOL form has none."""
        temperature_teacher: float = 0.05
        """Tt: divides the teacher's similarities. Half of Ts; at equal temperatures there is little effect."""
        momentum: float = 0.99
        """m: share of its old weights that the teacher keeps at each step."""
        hidden: int = 512
        """Width of the hidden layer of the projector, which has no batch norm; 2048 in the paper."""
        embedding: int = 128
        """Length D of the embedding."""
        split_batch_norm: int = 8
        """Groups that batch statistics are computed in; 1 turns it off."""
        shuffle: bool = True
        """Permute the images of the teacher for their pass, over all processes, so that none is normalised among the
        same images as for the student. Of effect where batch statistics are those of a part of the batch."""
        views: PairPolicy = "weak/strong"
        """Teacher/student views."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""
        blur: tuple[float, float] = (0.0, 0.5)
        """Shares of strong views that are blurred: of images up to 64 px, half in the paper, and of larger ones."""

        def __post_init__(self) -> None:
            at_least("queue_size", self.queue_size, 1)
            between("neighbours", self.neighbours, 1, self.queue_size)
            positive("temperature_student", self.temperature_student)
            positive("temperature_teacher", self.temperature_teacher)
            between("momentum", self.momentum, 0.0, 1.0)
            for share in self.blur:
                between("blur", share, 0.0, 1.0)
            at_least("hidden", self.hidden, 1)
            at_least("embedding", self.embedding, 1)
            at_least("split_batch_norm", self.split_batch_norm, 1)

        def idle(self) -> dict[str, str]:
            """The queue and what is read in it, where there is none, and blur where no view is strong."""
            blur = {"blur": "a strong view"} if self.views == "weak/weak" else {}
            queue = dict.fromkeys(("queue_size", "temperature_student"), "form=moco")
            return blur if self.form == "moco" else blur | queue

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        norms.convert(encoder, split=settings.split_batch_norm)
        dim = settings.embedding
        self.student = nn.Sequential(encoder, heads.mlp([encoder.features, settings.hidden, dim], hidden_norm=None))
        self.teacher = Momentum(self.student)
        if settings.form == "byol":
            self.predictor = heads.mlp([dim, 4 * dim, dim])
        else:
            self.queue = Queue(settings.queue_size, dim, columns={"label": LABEL})
        self.views = teacher_student(settings.views, facts.image_size, scale=settings.crop_scale, blur=settings.blur)

    @classmethod
    def within_batch(cls, settings: Settings) -> bool:
        """The BYOL form compares with the other keys of the batch."""
        return settings.form == "byol"

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Student and teacher embed their views; then the loss of the form."""
        z_BD = self.student(views["student"].image)
        image = views["teacher"].image
        k_BD = key(self.teacher, image, shuffle=self.settings.shuffle)
        return self.predicted(z_BD, k_BD) if self.settings.form == "byol" else self.contrasted(z_BD, k_BD, batch)

    def contrasted(self, q_BD: Tensor, k_BD: Tensor, batch: Batch) -> Terms:
        """Contrast against the queue as it was; then the keys enter it."""
        settings, labels = self.settings, batch.labels
        soft = adaptive_contrast(
            q_BD,
            k_BD,
            self.queue.rows,
            settings.temperature_student,
            settings.temperature_teacher,
            neighbours=settings.neighbours,
            target=settings.target,
        )
        entropy = (1.0 - soft.confidence.mean()) * math.log(self.queue.size)
        parts = {"confidence": soft.confidence.mean(), "teacher_entropy": entropy}
        if labels is not None:
            parts["purity"] = purity(labels, self.queue.column("label")[soft.neighbours])
        self.queue.push(gather(k_BD), label=gather(labels))
        return Terms(soft.loss, parts, q_BD.detach())

    def predicted(self, z_BD: Tensor, k_BD: Tensor) -> Terms:
        """Distance of the prediction to the weighted keys of the batch."""
        settings, keys_ND = self.settings, gather(k_BD)
        h_BD = self.predictor(z_BD)
        labels_BN, confidence_B = batch_targets(
            k_BD,
            keys_ND,
            own_columns(k_BD, len(keys_ND)),
            settings.temperature_teacher,
            neighbours=settings.neighbours,
            target=settings.target,
        )
        target_BD = similarities(labels_BN, keys_ND.T)  # their product, which autocast leaves alone
        loss = pull(h_BD, target_BD)
        return Terms(loss, {"confidence": confidence_B.mean()}, h_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Student and teacher, each with its own running statistics."""
        return {"student": self.student[0], "teacher": self.teacher.network.get_submodule("0")}

    _cifar: ClassVar = Settings(neighbours=1, hidden=2048, blur=(0.5, 0.5))
    _small_images: ClassVar = Optimisation(
        learning_rate=0.03, weight_decay=5e-4, warmup=5 / 200, batch_size=256, epochs=200
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.06, weight_decay=5e-4, warmup=0.025, epochs=30),
            note="narrow encoders, images up to 64 px",
        ),
        "cifar": Preset(
            settings=_cifar,
            optimisation=_small_images,
            note="the published recipe for CIFAR-10, STL-10 and Tiny ImageNet, ResNet-18; 5 neighbours for CIFAR-100",
            normalisation="cifar10",
        ),
        "cifar_byol": Preset(
            settings=replace(_cifar, form="byol"),
            optimisation=_small_images,
            note="the published BYOL form, CIFAR, ResNet-18",
            normalisation="cifar10",
        ),
        "imagenet": Preset(
            settings=Settings(queue_size=65_536, neighbours=1, momentum=0.999, hidden=2048),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published recipe, ImageNet, ResNet-50; the teacher's view is not stated, weak is assumed",
        ),
    }
