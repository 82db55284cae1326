"""MoCo v2: a query must pick its own key among a queue of keys of other pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from likewise.distributed import gather, shuffled
from likewise.encoders import Encoder, heads, norms
from likewise.memory import LABEL, Queue
from likewise.methods.checks import at_least, between, positive
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.similarity import contrast, unit
from likewise.teachers import Momentum, with_statistics_of
from likewise.views import strong
from likewise.views.pair import SMALL_PICTURE


class MoCoV2(Method):
    """Momentum Contrast, version 2.

    The exact one-hot counterpart of ISD: with q the unit query of one view, k the unit key that the momentum encoder
    gives to the other, and N the queue of earlier keys,

        L = -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.N_j/T)) ),   mean over the batch.

    No predictor, no batch normalisation in the head. Order inside a step: key encoder moves, both look, logits against
    the queue as it was, then the keys enter the queue (before the logits they would be their own negatives).

    He, Fan, Wu, Xie, Girshick: Momentum Contrast, CVPR 2020, arXiv 1911.05722, algorithm 1; Chen, Fan, Girshick, He:
    Improved Baselines with Momentum Contrastive Learning, 2020, arXiv 2003.04297.
    """

    card: ClassVar[Card] = Card(
        title="Momentum Contrast v2",
        paper="Chen, Fan, Girshick, He. Improved Baselines with Momentum Contrastive Learning. 2020, arXiv 2003.04297",
        summary="The reference contrastive baseline for small batches, and the hard-label counterpart of ISD.",
        memory="queue",
        status="verified",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of MoCo v2. The defaults are those of the small preset."""

        queue_size: int = 4096
        """Negative keys, K."""
        temperature: float = 0.1
        """T: divides all similarities."""
        momentum: float = 0.99
        """m: share of its old weights that the key encoder keeps at each step."""
        embedding: int = 128
        """Length D of queries and keys."""
        hidden: bool = True
        """The v2 head F - F - D; without it one linear layer F - D as in v1 and in the official CIFAR-10 notebook."""
        split_batch_norm: int = 8
        """Groups that batch statistics are computed in, so that they cannot tell a query its key; 1 turns it off."""
        shuffle: bool = False
        """Permute the keys across processes for their forward pass; useful with batch statistics per process."""
        symmetric: bool = False
        """Sum of the losses of both directions, with both views' keys entering the queue."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the picture that a crop covers."""

        def __post_init__(self) -> None:
            at_least("queue_size", self.queue_size, 1)
            positive("temperature", self.temperature)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("embedding", self.embedding, 1)
            at_least("split_batch_norm", self.split_batch_norm, 1)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        norms.convert(encoder, split=settings.split_batch_norm)
        features, dim = encoder.features, settings.embedding
        widths = [features, features, dim] if settings.hidden else [features, dim]
        self.student = nn.Sequential(encoder, heads.mlp(widths, hidden_norm=None))
        self.teacher = Momentum(self.student)
        self.queue = Queue(settings.queue_size, dim, columns={"label": LABEL})
        policy = strong(
            facts.image_size,
            mean=facts.mean,
            std=facts.std,
            scale=settings.crop_scale,
            blur=0.0 if facts.image_size <= SMALL_PICTURE else 0.5,
        )
        self.views = {"first": policy, "second": policy}

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the query encoder as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Contrast of each query with its key against the queue; then the keys enter it."""
        first, second = views["first"].image, views["second"].image
        q_BD, k_BD = self.student(first), self._key(second)
        loss = contrast(q_BD, k_BD, self.queue.rows, self.settings.temperature)
        keys = [k_BD]
        if self.settings.symmetric:
            keys.append(self._key(first))
            loss = loss + contrast(self.student(second), keys[1], self.queue.rows, self.settings.temperature)
        labels = None if batch.labels is None else gather(batch.labels)
        for key_BD in keys:
            self.queue.push(gather(key_BD), label=labels)
        return Terms(loss, {}, q_BD.detach())

    def _key(self, image: Tensor) -> Tensor:
        return unit(shuffled(self.teacher, image) if self.settings.shuffle else self.teacher(image))

    def encoders(self) -> dict[str, nn.Module]:
        """Query encoder as student, key encoder as teacher."""
        student, teacher = self.student[0], self.teacher.network.get_submodule("0")
        return {"student": student, "teacher": with_statistics_of(teacher, student)}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.06, weight_decay=5e-4, epochs=30),
            note="narrow encoders, pictures up to 64 px",
        ),
        "imagenet": Preset(
            settings=Settings(queue_size=65_536, temperature=0.2, momentum=0.999, split_batch_norm=1, shuffle=True),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published recipe, ImageNet, ResNet-50",
        ),
        "cifar": Preset(
            settings=Settings(hidden=False, crop_scale=(0.08, 1.0)),
            optimisation=Optimisation(
                learning_rate=0.06, weight_decay=5e-4, schedule="cosine_epoch", batch_size=512, epochs=200
            ),
            note="the official CIFAR-10 notebook, ResNet-18",
        ),
    }
