"""Few-shot tasks made from one batch, and the prototype losses on them (UML, arXiv 2011.14663).

Shapes: B images with V views each, rows view-major (row v * B + i is view v of image i); T tasks of `way` images,
`shot` supports and `query` queries of each; D dimensions; k hard negatives.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.errors import InputError

Similarity = Literal["sns", "cosine", "dot", "euclidean"]
"""`sns`: dot product with the prototype normalised and the query not (semi-normalised similarity)."""


class Tasks(NamedTuple):
    """Rows of the batch that make up each task."""

    support: Tensor
    """(T, shot, way) int64."""
    query: Tensor
    """(T, query, way) int64."""

    @property
    def labels(self) -> Tensor:
        """(T * query * way,) the place of each query's image in its task, queries in the order of `query`."""
        tasks, query, way = self.query.shape
        return torch.arange(way, device=self.query.device).repeat(tasks * query)


def draw_tasks(
    images: int, *, tasks: int, way: int, shot: int, query: int, generator: torch.Generator | None = None
) -> Tasks:
    """`tasks` tasks of `way` different images; of each image a random `shot` views support, `query` others ask.

    Raises InputError where there are fewer images than `way`.
    """
    if not 1 <= way <= images:
        raise InputError(f"way={way} of {images} images in a batch: allowed are 1 to {images}")
    chosen = torch.rand(tasks, images, generator=generator).argsort(1)[:, :way]
    views = torch.rand(tasks, way, shot + query, generator=generator).argsort(2)
    rows = (views * images + chosen.unsqueeze(2)).transpose(1, 2)
    return Tasks(rows[:, :shot], rows[:, shot:])


def _all_compared(query_TND: Tensor, to_TKD: Tensor, similarity: Similarity) -> Tensor:
    """(T, N, K) similarity of every query of a task with every vector of it."""
    if similarity == "euclidean":
        return -(query_TND.unsqueeze(2) - to_TKD.unsqueeze(1)).square().sum(3)
    if similarity != "dot":
        to_TKD = F.normalize(to_TKD, dim=2)
    if similarity == "cosine":
        query_TND = F.normalize(query_TND, dim=2)
    return query_TND @ to_TKD.transpose(1, 2)


def prototype_logits(embedding_ND: Tensor, tasks: Tasks, similarity: Similarity, temperature: float) -> Tensor:
    """(T * query * way, way) similarity of each query with the mean of each image's supports (section 3.2).

    The mean is taken of the vectors as they are; what the similarity normalises, it normalises afterwards.
    """
    prototype_TWD = embedding_ND[tasks.support].mean(1)
    query_TQWD = embedding_ND[tasks.query]
    return _task_logits(query_TQWD, prototype_TWD, similarity) / temperature


def _task_logits(query_TQWD: Tensor, prototype_TWD: Tensor, similarity: Similarity) -> Tensor:
    return _all_compared(query_TQWD.flatten(1, 2), prototype_TWD, similarity).flatten(0, 1)


def prototype_loss(logits: Tensor, tasks: Tasks) -> Tensor:
    """Mean cross-entropy over all queries of all tasks."""
    return F.cross_entropy(logits, tasks.labels)


# Hard mixed supports -----------------------------------------------------------------------------------------------


@torch.no_grad()
def hard_negatives(embedding_ND: Tensor, images: int, count: int, similarity: Similarity) -> Tensor:
    """(N, count) for each row the most similar rows of OTHER images of the batch, most similar first (section 3.4)."""
    rows = torch.arange(len(embedding_ND), device=embedding_ND.device)
    together = embedding_ND.unsqueeze(0)
    alike_NN = _all_compared(together, together, similarity)[0]
    alike_NN = alike_NN.masked_fill((rows.unsqueeze(1) % images) == (rows % images), -torch.inf)
    return alike_NN.topk(count, dim=1).indices


def mixed_logits(embedding_ND: Tensor, negative_Nk: Tensor, mix_Nk: Tensor, similarity: Similarity) -> Tensor:
    """(N, k) similarity of each row with (1 - c) negative + c itself: no temperature, gradient on both ends."""
    own_Nk1, other_Nk1 = mix_Nk.unsqueeze(2), (1.0 - mix_Nk).unsqueeze(2)
    mixed_NkD = other_Nk1 * embedding_ND[negative_Nk] + own_Nk1 * embedding_ND.unsqueeze(1)
    return _all_compared(embedding_ND.unsqueeze(1), mixed_NkD, similarity).squeeze(1)


def with_hard(logits: Tensor, hard_Nk: Tensor, tasks: Tasks) -> Tensor:
    """The logits of each query with those of its own k mixed supports appended."""
    return torch.cat([logits, hard_Nk[tasks.query.flatten()]], 1)


def projected_logits(
    embedding_ND: Tensor, tasks: Tasks, head: nn.Module, similarity: Similarity, temperature: float
) -> Tensor:
    """`prototype_logits` of vectors that a head has adapted task by task: supports and queries (T, n, D) together."""
    count, shot, way = tasks.support.shape
    rows = torch.cat([tasks.support.flatten(1), tasks.query.flatten(1)], 1)
    adapted = head(embedding_ND[rows])
    prototype_TWD = adapted[:, : shot * way].unflatten(1, (shot, way)).mean(1)
    query_TQWD = adapted[:, shot * way :].unflatten(1, (tasks.query.shape[1], way))
    assert len(prototype_TWD) == count
    return _task_logits(query_TQWD, prototype_TWD, similarity) / temperature
