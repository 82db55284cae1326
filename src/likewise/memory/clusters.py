"""The cluster of each image of the data set: pseudo-labels that are recomputed between epochs.

Shapes: N images, C clusters, D dimensions, B images in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.errors import InputError
from likewise.similarity.kmeans import NONE, Metric, kmeans
from likewise.similarity.members import sums_of_members


class Clusters(nn.Module):
    """A label for every image and a centroid for every cluster, all of it in buffers.

    Until the first `find` no image has a label.
    """

    labels: Tensor
    centroids: Tensor

    def __init__(self, images: int, clusters: int, dim: int) -> None:
        super().__init__()
        if not 1 <= clusters <= images:
            raise InputError(f"clusters={clusters} of {images} images: allowed are 1 to {images}")
        self.register_buffer("labels", torch.full((images,), NONE, dtype=torch.int64))
        self.register_buffer("centroids", torch.zeros(clusters, dim))

    def __len__(self) -> int:
        """Number of clusters."""
        return len(self.centroids)

    @torch.no_grad()
    def find(
        self, rows_ND: Tensor, *, metric: Metric = "cosine", iterations: int = 100, tolerance: float = 1e-4
    ) -> None:
        """Cluster the images by k-means of their embeddings; the same embeddings give the same clusters."""
        found = kmeans(rows_ND, len(self), metric=metric, iterations=iterations, tolerance=tolerance)
        self.labels.copy_(found.assignment)
        self.centroids.copy_(found.centroids)

    def even_weights(self) -> Tensor | None:
        """(N,) 1 / images in the same cluster, 0 for those in none: drawn by these, all clusters come equally often.

        None before the first `find`.
        """
        labelled_N = self.labels >= 0
        if not labelled_N.any():
            return None
        return labelled_N / self.sizes()[self.labels.clamp(min=0)].clamp(min=1)

    @torch.no_grad()
    def recompute(self, rows_ND: Tensor) -> None:
        """Make the centroids the plain means of their members' rows; those without members stay where they are."""
        sums_CD = sums_of_members(rows_ND, self.labels, len(self))
        sizes_C1 = self.sizes().unsqueeze(1)
        self.centroids.copy_(torch.where(sizes_C1 > 0, sums_CD / sizes_C1.clamp(min=1), self.centroids))

    @torch.no_grad()
    def repair(self, rows_ND: Tensor, least: int) -> None:
        """Give up each cluster of fewer than `least` members and let it take half of what is then the largest.

        Its members go to the most similar centroid among the others. Nothing happens where all clusters are small.
        The halves are found by 2-means, and where that finds one only, every other member is taken.
        """
        small_C = self.sizes() < least
        if not small_C.any() or small_C.all():
            return
        kept = small_C.logical_not().nonzero().flatten()
        moving = ((self.labels >= 0) & small_C[self.labels.clamp(min=0)]).nonzero().flatten()
        self.labels[moving] = kept[(rows_ND[moving] @ self.centroids[kept].to(rows_ND).T).argmax(1)]
        for empty in small_C.nonzero().flatten().tolist():
            self._split(rows_ND, int(self.sizes().argmax()), empty)

    def _split(self, rows_ND: Tensor, largest: int, empty: int) -> None:
        """Move one half of cluster `largest` to the cluster `empty`."""
        member = (self.labels == largest).nonzero().flatten()
        if len(member) < 2:
            return
        second = kmeans(rows_ND[member], 2, metric="euclidean", iterations=20).assignment == 1
        if not second.any() or second.all():
            second = torch.arange(len(member), device=member.device) % 2 == 1
        self.labels[member[second]] = empty
        self.centroids[largest] = rows_ND[member[~second]].mean(0)
        self.centroids[empty] = rows_ND[member[second]].mean(0)

    def of(self, index: Tensor) -> Tensor:
        """Labels of the images `index`, of any shape; none where the index is negative, as in unwritten memory."""
        return torch.where(index < 0, NONE, self.labels[index.clamp(min=0)])

    def sizes(self) -> Tensor:
        """(C,) images in each cluster."""
        return torch.bincount(self.labels[self.labels >= 0], minlength=len(self))
