"""Pseudo-positives from a graph of neighbours: consensus, diffusion, correction by known labels, and the loss on them.

PromptCAL (arXiv 2212.05590, section 3.3). Shapes: G nodes of the graph, of which the first R are queries and the other
K rows of a bank; D dimensions; k neighbours of a node.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from likewise.similarity.read import similarities, unit


@torch.no_grad()
def consensus(nodes_GD: Tensor, k: int) -> Tensor:
    """(G, G) how often two nodes are named together by the k nearest others (inner product) of any node.

    For each node i: every ordered pair of its neighbours, i with each neighbour, and each neighbour with i count once.
    With N the 0/1 matrix of neighbours that is N'N less its diagonal, plus N plus N'.
    """
    alike_GG = (nodes_GD @ nodes_GD.T).fill_diagonal_(-torch.inf)
    near_Gk = alike_GG.topk(k, dim=1).indices
    near_GG = torch.zeros_like(alike_GG).scatter_(1, near_Gk, 1.0)
    return (near_GG.T @ near_GG).fill_diagonal_(0.0) + near_GG + near_GG.T


@torch.no_grad()
def diffused(consensus_GG: Tensor, queries: int, steps: int = 1) -> Tensor:
    """(R, K) affinity of queries and bank after Q <- A Q A' + I, Q = A at first, A the row-normalised consensus."""
    step_GG = consensus_GG / (consensus_GG.sum(1, keepdim=True) + 1e-10)
    affinity_GG, one_GG = step_GG, torch.eye(len(step_GG), dtype=step_GG.dtype, device=step_GG.device)
    for _ in range(steps):
        affinity_GG = step_GG @ affinity_GG @ step_GG.T + one_GG
    return affinity_GG


@torch.no_grad()
def strong(affinity: Tensor, quantile: float) -> Tensor:
    """bool, entries above the `quantile` of those that exceed the mean of the non-zero ones, if any."""
    positive = affinity[affinity > 0]
    high = positive[positive > positive.mean()].sort().values  # torch.quantile takes 16 million numbers at most
    if not len(high):
        return torch.zeros_like(affinity, dtype=torch.bool)
    place = quantile * (len(high) - 1)
    low, share = int(place), place - int(place)
    threshold = torch.lerp(high[low], high[min(low + 1, len(high) - 1)], share)
    return affinity > threshold


class Pairs(NamedTuple):
    """The rows of the bank that are positives and negatives of a query."""

    positive: Tensor
    """(R, K) bool."""
    negative: Tensor
    """(R, K) bool."""


@torch.no_grad()
def corrected(positive_RK: Tensor, negative_RK: Tensor, labels_R: Tensor, bank_labels_K: Tensor) -> Pairs:
    """The pairs with what labels know: same class positive, other class negative. Labels are -1 where unknown."""
    known_RK = (labels_R >= 0).unsqueeze(1) & (bank_labels_K >= 0)
    same_RK = labels_R.unsqueeze(1) == bank_labels_K
    is_same, is_other = known_RK & same_RK, known_RK & ~same_RK
    return Pairs((positive_RK | is_same) & ~is_other, (negative_RK | is_other) & ~is_same)


@torch.no_grad()
def some_negatives(pairs: Pairs, most: int, drawn_RK: Tensor) -> Pairs:
    """The pairs with so many of the negatives, drawn at random, that a query has `most` pairs of both kinds in all.

    `drawn_RK` is uniform in 0 to 1.
    """
    order_RK = torch.where(pairs.negative, drawn_RK, 2.0).argsort(1).argsort(1)
    room_R1 = (most - pairs.positive.sum(1, keepdim=True)).clamp_min(0)
    return Pairs(pairs.positive, pairs.negative & (order_RK < room_R1))


def affinity_contrast(student_RD: Tensor, own_RD: Tensor, bank_KD: Tensor, pairs: Pairs, temperature: float) -> Tensor:
    """Contrast with an own key and the bank's pseudo-positives against its negatives (eq. 8), mean over queries.

    Rows of the bank that are neither positive nor negative play no part. Vectors are meant to be unit ones; as in the
    published code the own similarity is a cosine and the bank's an inner product, which differ in their gradients.
    """
    own_R1 = (unit(student_RD) * unit(own_RD.detach())).sum(1, keepdim=True) / temperature
    logits = torch.cat([own_R1, similarities(student_RD, bank_KD.detach(), temperature)], 1)
    always = torch.ones_like(own_R1, dtype=torch.bool)
    positive = torch.cat([always, pairs.positive], 1)
    counted = torch.cat([always, pairs.positive | pairs.negative], 1)
    log_share = logits - logits.masked_fill(~counted, -torch.inf).logsumexp(1, keepdim=True)
    return -((log_share * positive).sum(1) / positive.sum(1)).mean()


def contrast_views(query_RD: Tensor, key_RD: Tensor, temperature: float) -> Tensor:
    """InfoNCE over two stacked views: row i must pick the other view's key among all keys but its own row's.

    Rows are the first views of all images, then the second ones. Vectors are used as given.
    """
    logits_RR = similarities(query_RD, key_RD, temperature)
    own_RR = torch.eye(len(logits_RR), dtype=torch.bool, device=logits_RR.device)
    other_R = torch.arange(len(logits_RR), device=logits_RR.device).roll(len(logits_RR) // 2)
    return torch.nn.functional.cross_entropy(logits_RR.masked_fill(own_RR, -torch.inf), other_R)
