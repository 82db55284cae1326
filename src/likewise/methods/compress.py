"""CompRess: a small student reproduces a frozen, larger teacher's similarities of images to a bank of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.taught import Taught, TaughtSettings, teacher_of
from likewise.similarity import distill, purity, unit
from likewise.teachers import Momentum
from likewise.views import weak


class CompRess(Taught):
    """Compressing representations.

    The student must find an image as similar to each anchor of a bank as the teacher does. One view of each image
    goes to both; with unit vectors t and s, row j of the banks A_t and A_s being the same image,

        L = KL(p_t || p_s),   p_t = softmax(A_t t / T),   p_s = softmax(A_s s / T).

    Two banks (2q): A_s holds vectors of a slow copy of the student, or of the student itself, of any length. One bank
    (1q): A_s is A_t, and a linear layer brings the student to the teacher's length. Logits are taken before the banks
    are written; the slow copy moves after the optimiser.

        likewise train photos/ --method isd --encoder resnet50 --out runs/big
        likewise train photos/ --method compress --teacher runs/big --out runs/small

    Koohpayegani, Tejankar, Pirsiavash: CompRess, NeurIPS 2020, arXiv 2010.14713, sections 3 and 4.
    """

    card: ClassVar[Card] = Card(
        title="Compressing representations (CompRess)",
        paper="Koohpayegani, Tejankar, Pirsiavash. CompRess: Self-Supervised Learning by Compressing Representations. "
        "NeurIPS 2020, arXiv 2010.14713",
        summary="To get a small encoder that is better than training it alone would make it, where a good large one "
        "exists. ISD is this with the student's own moving average as teacher.",
        needs=("frozen teacher",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(TaughtSettings):
        """Settings of CompRess. The defaults are those of the small preset."""

        queue_size: int = 4096
        """Anchors in each bank; accuracy grows with its logarithm."""
        temperature: float = 0.04
        """T of both sides."""
        banks: Literal["two", "one"] = "two"
        """two (2q): the student looks at its own vectors of the anchors; one (1q): at the teacher's."""
        keys: Literal["momentum", "student"] = "momentum"
        """With two banks, whose vectors fill the student's: a slow copy's, or the student's own."""
        momentum: float = 0.999
        """Share of its old weights that the slow copy keeps at each step."""
        embedding: int = 0
        """With two banks, length of a linear layer on the student, 0 for none (the official ResNet-50 has 8192)."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("queue_size", self.queue_size, 1)
            positive("temperature", self.temperature)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("embedding", self.embedding, 0)

        def idle(self) -> dict[str, str]:
            """Settings of the student's own bank, and of the slow copy that fills it."""
            if self.banks == "one":
                return dict.fromkeys(("keys", "momentum", "embedding"), "banks=two")
            return {} if self.keys == "momentum" else {"momentum": "keys=momentum"}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        side, two = facts.image_size, settings.banks == "two"
        self.teacher = teacher_of(settings.teacher, facts, cached=settings.cached)
        length = settings.embedding if two else self.teacher.features
        head = heads.mlp([encoder.features, length]) if length else nn.Identity()
        self.student = nn.Sequential(encoder, head)
        self.teacher_bank = Queue(settings.queue_size, self.teacher.features, columns={"label": LABEL}, noise="uniform")
        if two:
            self.student_bank = Queue(settings.queue_size, length or encoder.features, noise="uniform")
        self.slow = Momentum(self.student) if two and settings.keys == "momentum" else None
        self.views = {"image": weak(side, scale=settings.crop_scale)}

    def after_step(self, progress: Progress) -> None:
        """The slow copy moves towards the student's new weights."""
        if self.slow is not None:
            self.slow.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """KL between both views of the banks as they were; then row for row the same images enter both."""
        image, two, temperature = views["image"].image, self.settings.banks == "two", self.settings.temperature
        s_BD = self.student(image)
        t_BE = self.teacher.see(image, batch.ids)
        result = distill(
            s_BD,
            t_BE,
            self.teacher_bank.rows,
            temperature,
            temperature,
            student_memory_KD=self.student_bank.rows if two else None,
            top=min(5, self.teacher_bank.size),
        )
        parts = {"teacher_entropy": result.teacher_entropy}
        labels = batch.labels
        if labels is not None and result.neighbours is not None:
            parts["purity"] = purity(labels, self.teacher_bank.column("label")[result.neighbours])
        self.teacher_bank.push(gather(unit(t_BE)), label=gather(labels))
        if two:
            key_BD = s_BD.detach() if self.slow is None else self.slow(image)
            self.student_bank.push(gather(unit(key_BD)))
        return Terms(result.loss, parts, s_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The student without its linear layer."""
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
            settings=Settings(queue_size=128_000, crop_scale=(0.08, 1.0)),
            optimisation=Optimisation(
                learning_rate=0.01,
                weight_decay=1e-4,
                schedule="step",
                milestones=(90 / 130, 120 / 130),
                step_factor=0.2,
                epochs=130,
            ),
            note="the published recipe with two banks, ImageNet",
        ),
        "imagenet_1q": Preset(
            settings=Settings(queue_size=128_000, banks="one", crop_scale=(0.08, 1.0)),
            optimisation=Optimisation(
                learning_rate=0.01,
                weight_decay=1e-4,
                schedule="step",
                milestones=(90 / 130, 120 / 130),
                step_factor=0.2,
                epochs=130,
            ),
            note="the published recipe with one bank, ImageNet",
        ),
    }
