"""InterCLR: MoCo, and contrast with other images of the same pseudo-class from a bank of all images.

Shapes: B images in a batch, N in the data set, D dimensions, n negatives of an anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distributed import common, gather, positions
from likewise.encoders import Encoder
from likewise.memory import Bank, Clusters
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.moco import MocoSettings, key, moco_parts
from likewise.similarity import contrast, similarities, unit
from likewise.similarity.labelled.by_label import Strategy, contrast_across, draw_negatives, draw_positives
from likewise.teachers import evaluated


class InterCLR(Method):
    """Inter-image invariance on MoCo.

    Beside MoCo's contrast of two views of an image stands one with other images: the positive is drawn among all
    images of the same pseudo-class, the negatives among those of others, both out of a bank with one embedding for
    each image of the data set. Pseudo-classes are a k-means before training, and are kept up to date online: each
    image of a batch goes to the nearest centroid, and centroids follow their members. Or they are offline, which is
    the small preset: a k-means before each epoch.

        L = 0.75 L_intra + 0.25 L_inter,   L_inter = -log( e^((q.b+ - m)/T) / (e^((q.b+ - m)/T) + sum_n e^(q.b_n/T)) )

    The margin m is negative: the inter branch wants a looser boundary. Order inside a step: teacher moves, both look,
    losses against queue and bank as they were, keys enter queue and bank, the batch gets new labels; after the
    optimiser small clusters are repaired and centroids recomputed, each every few steps.

    Xie, Zhan, Liu, Ong, Loy: Delving into Inter-Image Invariance for Unsupervised Visual Representations, IJCV 2022,
    arXiv 2008.11702, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Inter-Image Contrastive Learning",
        paper="Xie, Zhan, Liu, Ong, Loy. Delving into Inter-Image Invariance for Unsupervised Visual Representations. "
        "IJCV 2022, arXiv 2008.11702",
        summary="MoCo with pull between images of a kind, without clustering the whole data set at each epoch.",
        memory="bank",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(MocoSettings):
        """Settings of InterCLR. The defaults are those of the small preset; N is the number of images."""

        second_neck: bool = False
        """A head of its own for the inter branch, whose embeddings the bank then holds."""
        inter_weight: float = 0.25
        """Weight of the inter branch; the intra branch has the rest."""
        intra_epochs: int = 1
        """First epochs with the intra branch alone; none in the official recipe."""
        clusters: int = 0
        """Pseudo-classes, C; 0 stands for N/200, from 10."""
        pseudo_labels: Literal["online", "offline"] = "offline"
        """online, the official one: a batch's labels change at each step. offline: k-means of all images before each
        epoch instead. In a few epochs embeddings drift faster than the bank is renewed, and online labels then tell
        when an image was last seen rather than what it shows."""
        strategy: Strategy = "semihard"
        """Negatives: out of the nearest (semihard) or farthest (semieasy) rows, the nearest (hard), or any (random)."""
        negatives: int = 0
        """Negatives of an anchor in the inter branch; 0 stands for a fifth of the pool."""
        pool: int = 0
        """Rows of the bank that semihard and semieasy negatives are drawn from; 0 stands for N/10."""
        inter_margin: float = -0.5
        """m: subtracted from the similarity of the positive, or added to its angle; below 0 it makes it easier."""
        margin_form: Literal["cosine", "arc"] = "cosine"
        """What the margin is applied to."""
        bank_momentum: float = 1.0
        """a: share of the new embedding in the bank's row; 1 overwrites."""
        centroids_every: int = 10
        """Steps between two recomputations of the centroids."""
        repair_every: int = 10
        """Steps between two repairs of small clusters; 1 in the official recipe."""
        min_cluster: int = 0
        """Fewest members of a cluster that is not repaired; 0 stands for a twentieth of the average."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("centroids_every", "repair_every"):
                at_least(name, getattr(self, name), 1)
            for name in ("intra_epochs", "clusters", "negatives", "pool", "min_cluster"):
                at_least(name, getattr(self, name), 0)
            between("inter_weight", self.inter_weight, 0.0, 1.0)
            between("inter_margin", self.inter_margin, -2.0, 2.0)
            positive("bank_momentum", self.bank_momentum)
            between("bank_momentum", self.bank_momentum, 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """Repairs of labels that are made anew, and a pool that nothing is drawn from."""
            found: dict[str, str] = {}
            if self.pseudo_labels == "offline":
                found |= dict.fromkeys(("repair_every", "min_cluster"), "pseudo_labels=online")
            if self.strategy in {"hard", "random"} and self.negatives:
                found["pool"] = "strategy=semihard or semieasy"
            return found

    needs_refresh = True

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.necks = 1 + settings.second_neck
        self.student, self.teacher, self.queue, self.views = moco_parts(encoder, settings, facts, necks=self.necks)
        dim, images = settings.embedding, facts.images
        self.bank = Bank(images, dim, momentum=1.0 - settings.bank_momentum)
        self.clusters = Clusters(images, settings.clusters or min(images, max(10, images // 200)), dim)
        self.pool = settings.pool or max(1, images // 10)
        self.negatives = settings.negatives or max(1, self.pool // 5)
        for name, value in (("pool", self.pool), ("negatives", self.negatives)):
            between(name, value, 1, images)
        self.least = settings.min_cluster or max(1, images // len(self.clusters) // 20)
        self.weight = settings.inter_weight
        """Weight of the inter branch now; follows from the progress at each step."""

    def refresh_due(self, epoch: int) -> bool:
        """Before training; offline before each epoch."""
        return epoch == 0 or self.settings.pseudo_labels == "offline"

    def refresh_with(self) -> nn.Module:
        """Key encoder and head; before training it is the student's copy."""
        return self.teacher.network

    def refresh(self, features_ND: Tensor, progress: Progress) -> None:
        """k-means of all images, whose embeddings fill the bank."""
        rows_ND = unit(self._split(features_ND)[1])
        self.clusters.find(rows_ND, metric="euclidean", iterations=20)
        self.clusters.recompute(rows_ND)
        self.bank.write(torch.arange(len(rows_ND), device=rows_ND.device), rows_ND)

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder; know whether the inter branch takes part yet."""
        self.teacher.update(self.student, self.settings.momentum)
        self.weight = 0.0 if progress.epoch < self.settings.intra_epochs else self.settings.inter_weight

    def step(self, views: Views, batch: Batch) -> Terms:
        """Both contrasts, then queue, bank and labels take in the keys."""
        settings = self.settings
        q_BD, inter_q_BD = self._split(self.student(views["first"].image))
        k_BD, inter_k_BD = map(unit, self._split(key(self.teacher, views["second"].image, shuffle=settings.shuffle)))
        loss = contrast(q_BD, k_BD, self.queue.rows, settings.temperature)
        parts = {"intra": loss.detach()}
        index_N = gather(batch.ids)
        if self.weight:
            inter = self._inter(inter_q_BD, batch.ids, len(index_N))
            loss = (1.0 - self.weight) * loss + self.weight * inter
            parts["inter"] = inter.detach()
        self.queue.push(gather(k_BD), label=gather(batch.labels))
        parts["changed"] = self.take_in(index_N, gather(inter_k_BD))
        return Terms(loss, parts, q_BD.detach())

    def _split(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the intra and of the inter branch, which are the same with one neck."""
        parts = embedding.chunk(self.necks, dim=1)
        return parts[0], parts[-1]

    def _inter(self, q_BD: Tensor, index_B: Tensor, drawn: int) -> Tensor:
        """The contrast with images out of the bank; random numbers are drawn for the `drawn` of the global batch."""
        settings, bank_ND, labels_N = self.settings, self.bank.rows, self.clusters.labels
        own_B, here = self.clusters.of(index_B), positions(q_BD)
        columns = self.pool if settings.strategy in ("semihard", "semieasy") else self.negatives
        uniform_BP = common(torch.rand(drawn, 1 + columns, device=q_BD.device))[here]
        positive_B = draw_positives(own_B, labels_N, uniform_BP[:, 0])
        rows, counted = draw_negatives(
            q_BD.detach(), bank_ND, own_B, labels_N, self.negatives, settings.strategy, uniform_BP[:, 1:]
        )
        return contrast_across(
            q_BD,
            bank_ND[positive_B],
            bank_ND[rows],
            settings.temperature,
            margin=settings.inter_margin,
            form=settings.margin_form,
            counted_Bn=counted,
        )

    @torch.no_grad()
    def take_in(self, index_N: Tensor, key_ND: Tensor) -> Tensor:
        """Write the batch's keys into the bank and give it labels anew; returns the share of labels that changed."""
        self.bank.write(index_N, key_ND)
        before_N = self.clusters.of(index_N)
        if self.settings.pseudo_labels == "offline":
            return torch.zeros((), device=key_ND.device)
        now_N = similarities(self.bank.rows[index_N], self.clusters.centroids).argmax(1)
        self.clusters.labels.index_copy_(0, index_N, now_N)
        return (now_N != before_N).float().mean()

    def after_step(self, progress: Progress) -> None:
        """Repair small clusters and recompute the centroids, each every few steps."""
        done = progress.step + 1
        if self.settings.pseudo_labels == "online" and done % self.settings.repair_every == 0:
            self.clusters.repair(self.bank.rows, self.least)
        if done % self.settings.centroids_every == 0:
            self.clusters.recompute(self.bank.rows)

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
                intra_epochs=0,
                clusters=10_000,
                pseudo_labels="online",
                negatives=16_384,
                pool=128_000,
                repair_every=1,
                min_cluster=20,
            ),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=1e-4, epochs=200),
            note="the official recipe, ImageNet, ResNet-50",
        ),
    }
