"""Candidate rows of the memory in CMSF: by an earlier augmentation, a cluster, or a label.

Each constraint is a module that hears of every teacher vector (`remember`) and of every step (`begin`), and finds the
nearest rows that it allows (`nearest`). What it knows lies in buffers.

Shapes: B images of this process, A of all processes, N in the data set, K rows of memory, D dimensions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from likewise.memory import Bank, History, Queue
from likewise.methods.method import Batch, Progress
from likewise.similarity import Exclude, Neighbours, among, neighbours, outside
from likewise.similarity.kmeans import kmeans

Unwritten = Literal["masked", "last"]
"""Rows that were never written: no candidates, or taken for the last image of the data set (official)."""
FirstVisit = Literal["unconstrained", "noise"]
"""Images seen once: plain neighbours, or the noise that stands in place of their earlier embedding (official)."""


class Constraint(nn.Module):
    """The interface of a constraint of CMSF."""

    def begin(self, progress: Progress) -> None:
        """Called before each step."""

    def remember(self, index_A: Tensor, teacher_AD: Tensor) -> None:
        """Called with the unit teacher vectors of the images `index_A`, after they have entered the memory."""

    def nearest(self, teacher_BD: Tensor, batch: Batch, memory: Queue, plain: Neighbours) -> Neighbours:
        """As many of the nearest candidates as the `plain` neighbours are; `memory` has the column `image`."""
        raise NotImplementedError(f"{type(self).__name__} finds nothing")


class EarlierView(Constraint):
    """2Q: the rows of those images whose embeddings of an epoch ago were nearest to the query's of an epoch ago.

    Another augmentation was looked at then. What it made close is of the same kind, and farther away now than the
    nearest rows are. The published description has a second memory with a third augmentation instead; the published
    code, and this, take the embedding of the last visit, which costs no forward pass but 2 x N x D numbers.
    """

    def __init__(
        self, images: int, dim: int, topk_prime: int, *, first_visit: FirstVisit, unwritten: Unwritten
    ) -> None:
        super().__init__()
        self.history = History(images, dim)
        self.topk_prime, self.first_visit, self.unwritten = topk_prime, first_visit, unwritten

    def remember(self, index_A: Tensor, teacher_AD: Tensor) -> None:
        """The older of an image's two embeddings makes room."""
        self.history.write(index_A, teacher_AD)

    def nearest(self, teacher_BD: Tensor, batch: Batch, memory: Queue, plain: Neighbours) -> Neighbours:
        """The nearest of the k' rows found by the earlier embeddings; plain ones for images without any."""
        image_K, history = memory.column("image"), self.history
        barred_K = (image_K < 0) if self.unwritten == "masked" else torch.zeros_like(image_K, dtype=torch.bool)
        free_B = torch.zeros_like(batch.ids, dtype=torch.bool)
        if self.first_visit == "unconstrained":
            barred_K = barred_K | ~history.has_older(image_K)
            free_B = ~history.has_older(batch.ids)
        candidates = neighbours(
            history.older(batch.ids),
            history.older(image_K),
            min(self.topk_prime, memory.size),
            exclude=lambda start, stop: barred_K[start:stop].expand(len(teacher_BD), -1),
        )
        found = among(teacher_BD, memory.rows, candidates, plain.rows.shape[1])
        free_B1 = free_B.unsqueeze(1)
        return Neighbours(
            torch.where(free_B1, plain.similarity.to(found.similarity.dtype), found.similarity),
            torch.where(free_B1, plain.rows, found.rows),
        )


class SameGroup(Constraint):
    """The rows of the query's group. Images without a group (-1) have the plain neighbours."""

    def exclude(self, batch: Batch, memory: Queue) -> Exclude:
        """Which rows are no candidates."""
        raise NotImplementedError(f"{type(self).__name__} has no groups")

    def nearest(self, teacher_BD: Tensor, batch: Batch, memory: Queue, plain: Neighbours) -> Neighbours:
        """The nearest rows of the same group."""
        return neighbours(teacher_BD, memory.rows, plain.rows.shape[1], exclude=self.exclude(batch, memory))


class SameLabel(SameGroup):
    """The rows with the query's label. Wrong labels need nothing else."""

    def exclude(self, batch: Batch, memory: Queue) -> Exclude:
        """Rows of other labels."""
        assert batch.labels is not None
        return outside(batch.labels, memory.column("label"))


class SameCluster(SameGroup):
    """KM: the rows of the query's cluster, by k-means on the last teacher vectors of all images after each epoch.

    Distances are Euclidean between unit vectors, the first centres are images drawn at random, no image is left
    out. In the first epoch there are no clusters, so everything is a candidate.
    """

    cluster: Tensor
    epoch: Tensor

    def __init__(self, images: int, dim: int, clusters: int, iterations: int, *, unwritten: Unwritten) -> None:
        super().__init__()
        self.pool = Bank(images, dim)
        self.clusters, self.iterations, self.unwritten = clusters, iterations, unwritten
        self.register_buffer("cluster", torch.full((images,), -1))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))

    def begin(self, progress: Progress) -> None:
        """New clusters when an epoch has ended. Drawn from its number, so that all processes draw the same."""
        if progress.epoch <= int(self.epoch):
            return
        self.epoch.fill_(progress.epoch)
        seen_P = self.pool.written.nonzero().flatten()
        count = min(self.clusters, len(seen_P))
        if not count:
            return
        points_PD = self.pool.rows[seen_P]
        order_P = torch.randperm(len(seen_P), generator=torch.Generator().manual_seed(progress.epoch))
        start_CD = points_PD[order_P[:count].to(points_PD.device)]
        found = kmeans(points_PD, count, metric="euclidean", iterations=self.iterations, tolerance=0.0, start=start_CD)
        self.cluster[seen_P] = found.assignment

    def remember(self, index_A: Tensor, teacher_AD: Tensor) -> None:
        """The newest embedding of each image."""
        self.pool.write(index_A, teacher_AD)

    def exclude(self, batch: Batch, memory: Queue) -> Exclude:
        """Rows of images in other clusters."""
        image_K = memory.column("image")
        cluster_K = self.cluster[image_K]  # -1, never written, is the last image here
        if self.unwritten == "masked":
            cluster_K = cluster_K.masked_fill(image_K < 0, -1)
        return outside(self.cluster[batch.ids], cluster_K)
