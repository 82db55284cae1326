"""Images drawn from a bank by label: the anchor's own for positives, any other for negatives.

Random numbers are arguments, so that all processes can draw alike. Shapes: B anchors, N rows of the bank, D dimensions,
n negatives of an anchor, P numbers drawn for one.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from likewise.similarity.read import neighbours, unit

Strategy = Literal["semihard", "hard", "semieasy", "random"]
STRATEGIES: tuple[Strategy, ...] = ("semihard", "hard", "semieasy", "random")


class Negatives(NamedTuple):
    """The rows of the bank that are negatives of each anchor."""

    rows: Tensor
    """(B, n) int64."""
    counted: Tensor
    """(B, n) bool, False where there was no image of another class left to draw."""


def members(labels_B: Tensor, ordered_N: Tensor) -> tuple[Tensor, Tensor]:
    """First place and number of images with each label, in the labels put in order."""
    first_B = torch.searchsorted(ordered_N, labels_B)
    return first_B, torch.searchsorted(ordered_N, labels_B, right=True) - first_B


@torch.no_grad()
def draw_positives(labels_B: Tensor, labels_N: Tensor, drawn_B: Tensor) -> Tensor:
    """(B,) an image with the anchor's label each, uniform; it may be the anchor. `drawn_B` is uniform in 0 to 1."""
    ordered_N, order_N = labels_N.sort(stable=True)
    first_B, count_B = members(labels_B, ordered_N)
    return order_N[first_B + (drawn_B * count_B).long().minimum(count_B - 1)]


@torch.no_grad()
def draw_negatives(
    query_BD: Tensor,
    bank_ND: Tensor,
    labels_B: Tensor,
    labels_N: Tensor,
    count: int,
    strategy: Strategy,
    drawn_BP: Tensor,
) -> Negatives:
    """`count` images with another label than the anchor's, by how similar they are to it (InterCLR, section 3.3).

    hard: the most similar. semihard, semieasy: drawn uniformly from the P rows most or least similar, each once while
    there are enough with another label, then again from the first. random: uniform over the bank. Nothing is redrawn
    in the hope of a better draw, so nothing waits where a pool holds one label only.

    `drawn_BP` is uniform in 0 to 1: P is the pool for semihard and semieasy, `count` for random, anything for hard.
    """
    q_BD = unit(query_BD)
    if strategy == "hard":
        found = neighbours(q_BD, bank_ND, count, exclude=lambda a, b: labels_B.unsqueeze(1) == labels_N[a:b])
        return Negatives(found.rows, found.similarity > -torch.inf)
    if strategy == "random":
        ordered_N, order_N = labels_N.sort(stable=True)
        first_B, own_B = members(labels_B, ordered_N)
        others_B = len(labels_N) - own_B
        place_Bn = (drawn_BP * others_B.unsqueeze(1)).long().minimum((others_B - 1).clamp(min=0).unsqueeze(1))
        place_Bn = place_Bn + own_B.unsqueeze(1) * (place_Bn >= first_B.unsqueeze(1))  # past those with the same label
        counted_Bn = (others_B > 0).unsqueeze(1).expand_as(place_Bn)
        return Negatives(order_N[place_Bn.clamp(max=len(labels_N) - 1)], counted_Bn)
    pool_BP = neighbours(q_BD if strategy == "semihard" else -q_BD, bank_ND, drawn_BP.shape[1]).rows
    other_BP = labels_N[pool_BP] != labels_B.unsqueeze(1)
    # The smallest of the numbers drawn are a uniform choice without repetition; those of the own label come last.
    order = drawn_BP.masked_fill(~other_BP, 2.0).topk(min(count, drawn_BP.shape[1]), dim=1, largest=False).indices
    available_B1 = other_BP.sum(1, keepdim=True)
    again = torch.arange(count, device=order.device) % available_B1.clamp(min=1, max=order.shape[1])
    return Negatives(pool_BP.gather(1, order.gather(1, again)), (available_B1 > 0).expand(-1, count))


def with_margin(positive_B: Tensor, margin: float, form: Literal["cosine", "arc"] = "cosine") -> Tensor:
    """The positive's similarity, harder by a margin m > 0 or easier by m < 0 (InterCLR, arXiv 2008.11702, eq. 4-5).

    cosine: p - m, so -0.5 adds 0.5. arc: cos(angle + m), and a straight line where the angle would leave 0 to pi.
    """
    if form == "cosine":
        return positive_B - margin
    sine_B = (1.0 - positive_B.square()).clamp(min=torch.finfo(positive_B.dtype).eps).sqrt()
    turned_B = positive_B * math.cos(margin) - sine_B * math.sin(margin)
    if margin < 0:
        return torch.where(positive_B < math.cos(margin), turned_B, positive_B + margin * math.sin(margin))
    inside_B = positive_B > math.cos(math.pi - margin)
    return torch.where(inside_B, turned_B, positive_B - margin * math.sin(math.pi - margin))


def contrast_across(
    query_BD: Tensor,
    positive_BD: Tensor,
    negative_BnD: Tensor,
    temperature: float,
    *,
    margin: float = 0.0,
    form: Literal["cosine", "arc"] = "cosine",
    counted_Bn: Tensor | None = None,
) -> Tensor:
    """InfoNCE with one positive and its own negatives for each query, mean over the batch (InterCLR, eq. 3).

    Rows of the bank are constants of unit length. Negatives that are not `counted_Bn` play no part; with none the loss
    of a query is 0.
    """
    q_BD = unit(query_BD)
    positive_B = with_margin((q_BD * positive_BD).sum(1), margin, form) / temperature
    negative_Bn = torch.einsum("bd,bnd->bn", q_BD, negative_BnD.to(q_BD.dtype)) / temperature
    if counted_Bn is not None:
        negative_Bn = negative_Bn.masked_fill(~counted_Bn, -torch.inf)
    return (torch.cat([positive_B.unsqueeze(1), negative_Bn], 1).logsumexp(1) - positive_B).mean()


@torch.no_grad()
def class_prototypes(rows_KD: Tensor, labels_K: Tensor, classes: int) -> Tensor:
    """(C, D) unit sums of the rows of each class as they are, longer rows weighing more; zero for an absent class.

    The online class means of t-ReX (arXiv 2206.15369, eq. 2). Rows labelled -1 belong to none.
    """
    member_CK = labels_K == torch.arange(classes, device=labels_K.device).unsqueeze(1)
    return torch.nn.functional.normalize(member_CK.to(rows_KD.dtype) @ rows_KD, dim=1)
