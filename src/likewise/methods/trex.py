"""t-ReX: supervised classification with components of self-supervised learning, for features that transfer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.encoders.passes.crops import MultiCrop, small_side
from likewise.errors import InputError
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity import similarities, unit
from likewise.similarity.labelled.by_label import class_prototypes
from likewise.similarity.mutual import classification
from likewise.teachers import Momentum
from likewise.views import ViewPolicy, multi_crop, strong
from likewise.views.policies.pair import blurred


class TReX(Method):
    """Improving the generalisation of supervised models.

    One large and several small crops of each image are classified by cosine, behind an expendable projector whose
    input is normalised:

        L = mean over all crops of CE( unit(x) . unit(W_c) / T, label ).

    `weights` learns the W_c. `means` (online class means) takes for W_c the sum of a memory's vectors of class c, which
    a moving average of the network writes, as they are, not normalised; a class that the memory lacks has logit 0.

    Order inside a step with means: all look; logits from the memory as it is; the moving average moves; its vector of
    the large crop enters the memory; a batch that reaches past the end is cut and the memory begins again at the front.
    Until the memory is filled with vectors (size / batch steps) its rows are noise and the loss says nothing.

    How its features transfer is judged as published by `likewise evaluate RUN DATA... --probe logistic`, with log-odds.

    Sariyildiz, Kalantidis, Alahari, Larlus: No Reason for No Supervision, ICLR 2023, arXiv 2206.15369, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Transferable supervised pre-training (t-ReX)",
        paper="Sariyildiz, Kalantidis, Alahari, Larlus. No Reason for No Supervision: Improved Generalization in "
        "Supervised Models. ICLR 2023, arXiv 2206.15369",
        summary="With labels for all images, where the encoder is meant for other tasks than these labels.",
        needs=("labels",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of t-ReX. The defaults are those of the small preset."""

        classifier: Literal["means", "weights"] = "means"
        """means: online class means of a memory (eq. 2). weights: learned (eq. 1)."""
        hidden_layers: int = 3
        """Hidden layers of the projector: 3 in t-ReX, 1 in t-ReX*. More is better for other tasks."""
        hidden: int = 512
        """Width of these layers."""
        embedding: int = 128
        """Length of the vectors that are classified."""
        normalised_input: bool = True
        """Give the projector features of unit length."""
        temperature: float = 0.1
        """T: divides the cosines."""
        queue_size: int = 2048
        """Vectors in the memory, with means; a multiple of the batch, or vectors are dropped at each wrap."""
        momentum: float = 0.99
        """Share of its old weights that the moving average keeps at each step, with means."""
        small_crops: int = 4
        """Small crops of each image beside the large one."""
        small_size: int = 0
        """Side of small crops in pixels; 0: 3/7 of the image's (96 of 224), half of it up to 64 px."""
        large_scale: tuple[float, float] = (0.25, 1.0)
        """Smallest and largest share of the image that the large crop covers."""
        small_scale: tuple[float, float] = (0.1, 0.25)
        """The same for small crops."""

        def __post_init__(self) -> None:
            for name in ("hidden_layers", "hidden", "embedding", "queue_size"):
                at_least(name, getattr(self, name), 1)
            positive("temperature", self.temperature)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("small_crops", self.small_crops, 0)
            at_least("small_size", self.small_size, 0)

        def idle(self) -> dict[str, str]:
            """Settings of the memory with learned weights, and of small crops where there are none."""
            crops = {} if self.small_crops else dict.fromkeys(("small_size", "small_scale"), "small_crops above 0")
            means = {} if self.classifier == "means" else dict.fromkeys(("queue_size", "momentum"), "classifier=means")
            return crops | means

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if facts.classes < 2:
            raise InputError("trex needs labels of two classes or more: name their column with --labels")
        self.settings, self.classes = settings, facts.classes
        widths = [encoder.features, *[settings.hidden] * settings.hidden_layers, settings.embedding]
        projector = heads.initialise(heads.mlp(widths, activation="gelu", last_bias=False), 0.02, truncated=True)
        head = nn.Sequential(heads.Unit(), projector) if settings.normalised_input else projector
        self.student = MultiCrop(encoder, head)
        self.weight: nn.Parameter | None = None
        if settings.classifier == "weights":
            self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(facts.classes, settings.embedding), std=0.02))
        else:
            self.teacher = Momentum(self.student)
            self.memory = Queue(settings.queue_size, settings.embedding, columns={"label": LABEL}, end="cut")
            self.memory.rows.normal_()
            self.memory.column("label").random_(facts.classes)
        self.views = _views(encoder, settings, facts)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Classification of all crops; with means, then, the memory."""
        crops = [views[role].image for role in self.views]
        z_VBD = self.student(crops)
        labels_B = cast("Tensor", batch.labels)
        if self.weight is None:
            prototypes_CD = class_prototypes(self.memory.rows, self.memory.column("label"), self.classes)
        else:
            prototypes_CD = unit(self.weight)
        logits_NC = similarities(unit(z_VBD.flatten(0, 1)), prototypes_CD, self.settings.temperature)
        loss = classification(logits_NC, labels_B.repeat(len(crops)))
        right_B = logits_NC[: len(labels_B)].argmax(1) == labels_B
        if self.weight is None:
            self.teacher.update(self.student, self.settings.momentum)
            self.memory.push(gather(self.teacher(crops[:1])[0]), label=gather(labels_B))
        return Terms(loss, {"accuracy": right_B.float().mean()}, z_VBD[0].detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The encoder before the projector."""
        return {"student": self.student.encoder}

    _long: ClassVar = Optimisation(
        learning_rate=0.1, weight_decay=1e-4, decay_norms_and_biases=False, warmup=0.1, final=1e-5, epochs=100
    )
    _published: ClassVar = Settings(
        hidden=2048, embedding=256, queue_size=8192, momentum=0.999, small_crops=8, small_scale=(0.05, 0.25)
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=replace(_long, epochs=30),
            note="narrow encoders, images up to 64 px",
        ),
        "imagenet": Preset(settings=_published, optimisation=_long, note="t-ReX as published, ImageNet, ResNet-50"),
        "imagenet_star": Preset(
            settings=replace(_published, hidden_layers=1, large_scale=(0.4, 1.0), small_scale=(0.05, 0.4)),
            optimisation=_long,
            note="t-ReX* as published: better on the labels trained on, less good on others",
        ),
    }


def _views(encoder: Encoder, settings: TReX.Settings, facts: Facts) -> dict[str, ViewPolicy]:
    """Roles `large_0`, `small_0`, ...: bicubic crops with jitter (.4, .4, .2, .1), blur and solarise by size."""
    size = facts.image_size
    small_size = small_side(encoder, size, settings.small_size) if settings.small_crops else size

    def policy(side: int, scale: tuple[float, float], blur: float, solarise: float) -> ViewPolicy:
        made = strong(side, scale=scale, saturation=0.2, blur=blurred(size, blur), solarise=solarise)
        return replace(made, interpolation="bicubic")

    large = policy(size, settings.large_scale, 0.2, 0.2)
    small = policy(small_size, settings.small_scale, 0.5, 0.0)
    return multi_crop(large, small, large_count=1, small_count=settings.small_crops)
