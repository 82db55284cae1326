"""SwAV: the balanced cluster assignment of one view is predicted from every other view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from likewise.distributed import gather, rank, world
from likewise.encoders import Encoder, heads
from likewise.encoders.passes.crops import MultiCrop
from likewise.memory import Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.crops import LARGE, CropSettings, sides
from likewise.similarity import similarities, unit
from likewise.similarity.prototypes.across_views import across_views, entropies
from likewise.similarity.prototypes.assign import Gather, sinkhorn
from likewise.views import multi_crop, strong
from likewise.views.policies.pair import blurred


def codes(
    scores_BK: Tensor, queued_LK: Tensor, *, epsilon: float, iterations: int, gather: Gather | None = None
) -> Tensor:
    """Balanced assignment (B, K) of a batch, found together with the scores of earlier images (section 3.1)."""
    together = torch.cat([queued_LK, scores_BK])
    return sinkhorn(together, epsilon=epsilon, iterations=iterations, gather=gather)[len(queued_LK) :]


class SwAV(Method):
    """Swapping Assignments between Views.

    Scores of an image against K unit prototypes c are turned by Sinkhorn-Knopp over the batch into codes q that use
    all prototypes equally; every other view, large or small, must predict the code of a large view. With unit
    embeddings z, s = z C^T, V views and the codes of the two large ones:

        q_i = sinkhorn(s_i / epsilon),   L = mean over i, v != i of -sum_k q_i(k) log softmax(s_v / T)_k

    No gradient goes to the codes. There is no teacher and nothing is pushed away: what keeps images apart is that
    the codes are balanced. With a batch smaller than K they are made together with earlier embeddings, kept in one
    queue per large view, which is used once it is full.

    Order inside a step: prototypes back to unit length, all views, codes with the queues as they were, loss, then the
    embeddings of the large views enter the queues.

    Caron, Misra, Mairal, Goyal, Bojanowski, Joulin: Unsupervised Learning of Visual Features by Contrasting Cluster
    Assignments, NeurIPS 2020, arXiv 2006.09882, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Swapping Assignments between Views",
        paper="Caron, Misra, Mairal, Goyal, Bojanowski, Joulin. Unsupervised Learning of Visual Features by "
        "Contrasting Cluster Assignments. NeurIPS 2020, arXiv 2006.09882",
        summary="High linear accuracy in few epochs where several crops per image are affordable, and when "
        "prototypes are wanted. Not for very unbalanced data: its clusters are forced to be of equal size.",
        memory="prototypes",
        uniform_prior=True,
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(CropSettings):
        """Settings of SwAV. The defaults are those of the small preset."""

        prototypes: int = 128
        """K. The batch, or batch and queue together, should be as large; usual is 10 to 30 per class expected."""
        epsilon: float = 0.02
        """Divides the scores that codes are made of: larger is softer; officially 0.05. With a young network codes are
        nearly uniform, and the loss stays at ln K, unless it is small.
        """
        iterations: int = 3
        """Rounds of Sinkhorn-Knopp; 0 leaves a plain softmax, which collapses."""
        temperature: float = 0.1
        """T: divides the scores that codes are predicted with."""
        hidden: int = 512
        """Width of the hidden layer of the head."""
        embedding: int = 64
        """Length D of the embedding."""
        large_scale: tuple[float, float] = (0.3, 1.0)
        """Smallest and largest share of the image that a large crop covers."""
        small_scale: tuple[float, float] = (0.05, 0.3)
        """Smallest and largest share of the image that a small crop covers."""
        jitter: float = 0.4
        """Strength of the jitter of brightness, contrast and saturation, in 8 of 10 images; hue gets a quarter."""
        queue_size: int = 1024
        """L: earlier embeddings of each large view that codes are balanced over; 0 for the batch alone. The official
        code rounds it down to whole batches."""
        queue_from: float = 0.1
        """Share of the budget after which the queues begin to fill; they are used from when they are full."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("prototypes", self.prototypes, 2)
            positive("epsilon", self.epsilon)
            at_least("iterations", self.iterations, 0)
            positive("temperature", self.temperature)
            for name in ("hidden", "embedding"):
                at_least(name, getattr(self, name), 1)
            at_least("jitter", self.jitter, 0.0)
            at_least("queue_size", self.queue_size, 0)
            between("queue_from", self.queue_from, 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """Settings of small crops and of the queue, where there are none."""
            return super().idle() | ({} if self.queue_size else {"queue_from": "queue_size above 0"})

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings, dim = settings, settings.embedding
        self.network = MultiCrop(encoder, heads.mlp([encoder.features, settings.hidden, dim]))
        self.prototypes = heads.Prototypes(dim, settings.prototypes)
        kept = settings.queue_size
        self.queues = nn.ModuleList(Queue(kept, dim) for _ in range(LARGE if kept else 0))
        self.queueing = False
        large_side, side = sides(encoder, settings, facts)
        large, small = (
            strong(
                pixels,
                scale=scale,
                brightness=settings.jitter,
                contrast=settings.jitter,
                saturation=settings.jitter,
                hue=min(settings.jitter / 4, 0.5),
                blur=blurred(large_side),
            )
            for pixels, scale in ((large_side, settings.large_scale), (side, settings.small_scale))
        )
        self.views = multi_crop(large, small, large_count=LARGE, small_count=settings.small_crops)

    def before_step(self, progress: Progress) -> None:
        """Put the prototypes on the sphere, and see whether the queues take part yet."""
        self.prototypes.normalise()
        self.queueing = progress.fraction >= self.settings.queue_from

    def step(self, views: Views, batch: Batch) -> Terms:
        """Codes of the large views, predicted by all other views; then the queues."""
        z_VBD = unit(self.network([views[role].image for role in self.views]))
        scores_VBK = similarities(z_VBD, self.prototypes.weight)
        codes_GBK = torch.stack([self.codes(scores_VBK[i], i) for i in range(LARGE)])
        loss = across_views(scores_VBK, codes_GBK, self.settings.temperature)
        if self.queueing:
            for i in range(len(self.queues)):
                self.queue_of(i).push(gather(z_VBD[i]))
        used = entropies(codes_GBK, gather)
        return Terms(loss, {"teacher_entropy": used.each, "prototype_entropy": used.mean}, z_VBD[0].detach())

    def queue_of(self, view: int) -> Queue:
        """Earlier embeddings of one large view."""
        return cast("Queue", self.queues[view])

    @torch.no_grad()
    def codes(self, scores_BK: Tensor, view: int) -> Tensor:
        """Codes of one large view; with its queue where that is full."""
        make = partial(codes, scores_BK, epsilon=self.settings.epsilon, iterations=self.settings.iterations)
        alone_BK = make(scores_BK[:0], gather=gather)
        if not (self.queueing and len(self.queues)):
            return alone_BK
        queue = self.queue_of(view)
        # every process takes its share of the rows, since sums are taken over all processes
        queued_LK = similarities(queue.rows[rank() :: world()], self.prototypes.weight)
        # whether it is full is asked on the device, which an `if` would wait for
        return torch.where(queue.filled.eq(queue.size), make(queued_LK, gather=gather), alone_BK)

    def after_backward(self, progress: Progress) -> None:
        """Hold the prototypes while they are frozen."""
        if progress.fraction < self.settings.frozen:
            heads.hold(self.prototypes)

    def encoders(self) -> dict[str, nn.Module]:
        """The one network there is."""
        return {"student": self.network.encoder}

    _published: ClassVar = Settings(
        prototypes=3000,
        epsilon=0.05,
        hidden=2048,
        embedding=128,
        small_crops=6,
        large_scale=(0.14, 1.0),
        small_scale=(0.05, 0.14),
        jitter=0.8,
    )

    _differs: ClassVar = {"views": "normalised by ImageNet's usual deviation of red, .229; published: .228"}

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=replace(_published, queue_size=0, frozen=1 / 800),
            optimisation=Optimisation(
                optimiser="lars",
                lars_form="swav",
                learning_rate=4.8,
                weight_decay=1e-6,
                warmup=10 / 800,
                warmup_from=0.3 / 4.8,
                final=0.001,
                batch_size=4096,
                epochs=800,
            ),
            differs=_differs,
            note="the published recipe, ImageNet, ResNet-50, 2 x 224 + 6 x 96 px, 800 epochs",
        ),
        "imagenet_256": Preset(
            settings=replace(_published, queue_size=3840, queue_from=15 / 200, frozen=1 / 200),
            optimisation=Optimisation(
                optimiser="lars", lars_form="swav", learning_rate=0.6, weight_decay=1e-6, final=0.001, epochs=200
            ),
            differs=_differs,
            note="the published recipe for one machine: batch 256 with a queue, 200 epochs",
        ),
    }
