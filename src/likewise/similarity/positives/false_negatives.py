"""Contrast without false negatives, which the clusters of images identify (IFND).

Shapes: N images, C centroids, D dimensions; B queries, K rows of memory.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from likewise.similarity.kmeans import NONE
from likewise.similarity.losses import contrast
from likewise.similarity.read import read, similarities, unit

Strategy = Literal["elimination", "attraction"]


class Assigned(NamedTuple):
    """The cluster of each embedding, and how sure that is."""

    labels: Tensor
    """(N,) int64: the most similar centroid."""
    confidence: Tensor
    """(N,) its share of the softmax over all centroids."""


def assign(rows_ND: Tensor, centroids_CD: Tensor, temperature: float) -> Assigned:
    """Nearest unit centroid l of each unit row v, with confidence exp(v.mu_l / xi) / sum_c exp(v.mu_c / xi)."""
    seen = read(rows_ND, centroids_CD, temperature, top=1)
    assert seen.top_values is not None
    assert seen.top_index is not None
    return Assigned(seen.top_index[:, 0], (seen.top_values[:, 0] / temperature - seen.log_sum_exp).exp())


def accept(assigned: Assigned, rate: float) -> Tensor:
    """(N,) the labels of the share `rate` of images with the most confident ones; -1, none, for the others."""
    surest = assigned.confidence.argsort(descending=True, stable=True)[: math.floor(rate * len(assigned.labels))]
    return torch.full_like(assigned.labels, NONE).index_copy_(0, surest, assigned.labels[surest])


def false_negatives(labels_B: Tensor, memory_labels_K: Tensor) -> Tensor:
    """(B, K) bool, where image and row of the memory carry the same accepted label; none is not the same as none."""
    return (labels_B.unsqueeze(1) == memory_labels_K) & (labels_B >= 0).unsqueeze(1)


def contrast_without(
    query_BD: Tensor,
    key_BD: Tensor,
    memory_KD: Tensor,
    temperature: float,
    false_BK: Tensor,
    strategy: Strategy = "elimination",
) -> Tensor:
    """InfoNCE that does not push away the false negatives F_i, mean over the batch (IFND, arXiv 2106.03719, eq. 3-5).

    With N_i the other rows of the memory, elimination leaves F_i out, attraction makes positives of it too:

        L_i = mean_{s in S_i} -log( exp(q.s/T) / (exp(q.s/T) + sum_{n in N_i} exp(q.n/T)) ),   S_i = {k} or {k} + F_i

    An anchor whose negatives are all false has loss 0. Attraction holds a number for each pair of anchor and row.
    """

    def exclude(start: int, stop: int) -> Tensor:
        return false_BK[:, start:stop]

    if strategy == "elimination":
        return contrast(query_BD, key_BD, memory_KD, temperature, exclude=exclude)
    q_BD = unit(query_BD)
    negatives_B = read(q_BD, memory_KD, temperature, exclude=exclude).log_sum_exp
    own_B = (q_BD * unit(key_BD).detach()).sum(1) / temperature
    own_B = torch.logaddexp(own_B, negatives_B) - own_B
    others_BK = similarities(q_BD, memory_KD.clone(), temperature)  # a copy: the memory changes before backward
    others_BK = torch.logaddexp(others_BK, negatives_B.unsqueeze(1)) - others_BK
    attracted_B = others_BK.masked_fill(~false_BK, 0.0).sum(1)
    return ((own_B + attracted_B) / (1 + false_BK.sum(1))).mean()
