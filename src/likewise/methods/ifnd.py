"""IFND: MoCo without the negatives that clustering identifies as images of the same kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.memory import Clusters
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.moco import MocoSettings, key, moco_parts
from likewise.similarity import unit
from likewise.similarity.positives.false_negatives import Strategy, accept, assign, contrast_without, false_negatives
from likewise.teachers import evaluated

IMAGES_PER_CLUSTER = (50, 25)
"""About as many as in the finer two of the paper's clusterings of ImageNet. The larger clusters of a young network hold
images of any kind, and leaving these out takes away just the negatives that teach something."""
FEWEST = 10
"""Fewest clusters where their number is not given: a cluster of few sees most images as of one kind."""


class IFND(Method):
    """Incremental False Negative Detection.

    MoCo v2 with a look at the whole data set between epochs: the teacher's embeddings of all images are clustered
    at H granularities, the most confident share r of the assignments is believed, r growing from 0 to 1 over the run,
    and a row of the queue that carries the label of the anchor at granularity h is no negative of it there:

        L = mean_h mean_i -log( exp(q.k/T) / (exp(q.k/T) + sum_{n in N_ih} exp(q.n/T)) )

    The queue remembers which image each key is of, so that its label is the newest one. Before labels are there this
    is MoCo. Order inside a step as in MoCo: teacher moves, both look, logits against the queue as it was, keys enter.

    Chen, Hung, Tseng, Chien, Yang: Incremental False Negative Detection for Contrastive Learning, ICLR 2022,
    arXiv 2106.03719, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Incremental False Negative Detection",
        paper="Chen, Hung, Tseng, Chien, Yang. Incremental False Negative Detection for Contrastive Learning. "
        "ICLR 2022, arXiv 2106.03719",
        summary="MoCo for data with many classes or large sets, where pushing images of the same class apart hurts.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(MocoSettings):
        """Settings of IFND. The defaults are those of the small preset."""

        clusters: tuple[int, ...] = ()
        """C_1 .. C_H: clusters at each granularity. Empty stands for N/50 and N/25 of N images, from 10."""
        refresh_every: int = 1
        """Epochs between two clusterings; the first comes after that many. The paper's interval is not known for sure,
        one epoch is likely."""
        kmeans_iterations: int = 20
        """Most iterations of each k-means."""
        confidence_temperature: float = 0.2
        """xi: divides the similarities to the centroids; likely, but not known for sure, the paper's."""
        acceptance: tuple[float, float] = (0.0, 1.0)
        """r: share of the assignments that is believed at the start and at the end of the budget, linear between."""
        strategy: Strategy = "elimination"
        """What becomes of false negatives: left out, or attraction, which makes positives of them."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for clusters in self.clusters:
                at_least("clusters", clusters, 1)
            at_least("refresh_every", self.refresh_every, 1)
            at_least("kmeans_iterations", self.kmeans_iterations, 1)
            positive("confidence_temperature", self.confidence_temperature)
            for rate in self.acceptance:
                between("acceptance", rate, 0.0, 1.0)

    needs_refresh = True

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.student, self.teacher, self.queue, self.views = moco_parts(encoder, settings, facts, columns=("index",))
        images = facts.images
        usual = sorted({min(images, max(FEWEST, images // each)) for each in IMAGES_PER_CLUSTER})
        self.levels = nn.ModuleList(Clusters(images, count, settings.embedding) for count in settings.clusters or usual)

    def refresh_due(self, epoch: int) -> bool:
        """Every few epochs, but not before the first: nothing is believed of an untrained network."""
        return epoch > 0 and epoch % self.settings.refresh_every == 0

    def refresh_with(self) -> nn.Module:
        """Key encoder and head."""
        return self.teacher.network

    def refresh(self, features_ND: Tensor, progress: Progress) -> None:
        """Cluster all images at each granularity and keep the labels that are believed."""
        v_ND, settings = unit(features_ND), self.settings
        first, last = settings.acceptance
        rate = first + (last - first) * progress.fraction
        for level in cast("list[Clusters]", self.levels):
            level.find(v_ND, iterations=settings.kmeans_iterations)
            level.labels.copy_(accept(assign(v_ND, level.centroids, settings.confidence_temperature), rate))

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the query encoder as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Mean over granularities of the contrast without false negatives; then the keys enter the queue."""
        settings = self.settings
        q_BD = self.student(views["first"].image)
        k_BD = key(self.teacher, views["second"].image, shuffle=settings.shuffle)
        rows_of = self.queue.column("index")
        false_HBK = [
            false_negatives(level.of(batch.ids), level.of(rows_of)) for level in cast("list[Clusters]", self.levels)
        ]
        losses = [
            contrast_without(q_BD, k_BD, self.queue.rows, settings.temperature, false_BK, settings.strategy)
            for false_BK in false_HBK
        ]
        parts = self._watched(false_HBK, batch.labels)
        self.queue.push(gather(k_BD), label=gather(batch.labels), index=gather(batch.ids))
        return Terms(torch.stack(losses).mean(), parts, q_BD.detach())

    def _watched(self, false_HBK: list[Tensor], labels_B: Tensor | None) -> dict[str, Tensor]:
        """Share of negatives found false, and of these the share with the anchor's label (0 while none is found)."""
        found = torch.stack([false_BK.sum() for false_BK in false_HBK]).sum()
        parts = {"false_negatives": found / sum(false_BK.numel() for false_BK in false_HBK)}
        if labels_B is not None:
            right_BK = labels_B.unsqueeze(1) == self.queue.column("label")
            right = torch.stack([(false_BK & right_BK).sum() for false_BK in false_HBK]).sum()
            parts["precision"] = right / found.clamp(min=1)
        return parts

    def encoders(self) -> dict[str, nn.Module]:
        """Query encoder as student, key encoder as teacher."""
        return evaluated(self.student, self.teacher)

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(
                queue_size=65_536,
                temperature=0.2,
                momentum=0.999,
                clusters=(10_000, 25_000, 50_000),
            ),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published recipe, ImageNet, ResNet-50; numbers of clusters as remembered",
        ),
    }
