"""Soft labels for an image's neighbours, as soft as the teacher is uncertain (ASCL, arXiv 2207.11163, section 3)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from likewise.similarity.read import read, similarities, unit

Target = Literal["ascl", "ahcl", "hard", "normal"]


class Soft(NamedTuple):
    """A loss with soft labels, and what the labels were made from."""

    loss: Tensor
    """Scalar, mean over the batch."""
    confidence: Tensor
    """(B,) 1 - entropy / ln K: 0 where the teacher finds all rows alike, 1 where it sees a single one."""
    neighbours: Tensor
    """(B, k) rows of the memory, or other keys of the batch, that are nearest to the key."""


def soft_labels(probability_BK: Tensor, confidence_B: Tensor, neighbours: int, target: Target) -> Tensor:
    """(B, K) labels of the rows beside the positive, whose own label is 1, before both are normalised.

    ascl: min(1, kappa c p). ahcl and hard: c and 1 for the kappa likeliest rows, or all where there are fewer. normal:
    none.
    """
    if target == "normal":
        return torch.zeros_like(probability_BK)
    confidence_B1 = confidence_B.unsqueeze(1)
    if target == "ascl":
        return (neighbours * confidence_B1 * probability_BK).clamp(max=1.0)
    label_B1 = confidence_B1 if target == "ahcl" else torch.ones_like(confidence_B1)
    top_Bk = probability_BK.topk(min(neighbours, probability_BK.shape[1]), dim=1).indices
    return torch.zeros_like(probability_BK).scatter_(1, top_Bk, label_B1.expand_as(top_Bk))


def adaptive_contrast(
    query_BD: Tensor,
    key_BD: Tensor,
    memory_KD: Tensor,
    temperature_student: float,
    temperature_teacher: float,
    *,
    neighbours: int,
    target: Target = "ascl",
) -> Soft:
    """InfoNCE with soft labels for the rows of the memory (ASCL, arXiv 2207.11163, section 3), with nothing B x K.

    What the loss needs of the labels s_j is their sum and sum_j s_j n_j. Without the cap at 1 these are kappa c and
    kappa c m, with m the mean that the key reads in the memory. Fewer than kappa rows can reach the cap, and they are
    among the kappa nearest, so what the cap takes away is known from those. kappa may be more than the rows there are.
    """
    q_BD = unit(query_BD)
    with torch.no_grad():
        k_BD = unit(key_BD)
        seen = read(k_BD, memory_KD, temperature_teacher, top=min(max(1, neighbours), len(memory_KD)))
        assert seen.top_values is not None
        assert seen.top_index is not None
        entropy_B = seen.log_sum_exp - (k_BD * seen.mean).sum(1) / temperature_teacher
        confidence_B = 1.0 - entropy_B / math.log(len(memory_KD)) if len(memory_KD) > 1 else torch.ones_like(entropy_B)
        near_BkD = memory_KD[seen.top_index].to(k_BD.dtype)
        if target == "ascl":
            scale_B1 = (neighbours * confidence_B).unsqueeze(1)
            probability_Bk = (seen.top_values / temperature_teacher - seen.log_sum_exp.unsqueeze(1)).exp()
            capped_Bk = (scale_B1 * probability_Bk - 1.0).clamp(min=0.0)
            total_B1 = scale_B1 - capped_Bk.sum(1, keepdim=True)
            weighted_BD = scale_B1 * seen.mean - (capped_Bk.unsqueeze(2) * near_BkD).sum(1)
        else:
            # the labels of the nearest rows, whatever their probabilities are
            label_Bk = soft_labels(torch.ones_like(seen.top_values), confidence_B, neighbours, target)
            total_B1, weighted_BD = label_Bk.sum(1, keepdim=True), (label_Bk.unsqueeze(2) * near_BkD).sum(1)
        target_BD = (k_BD + weighted_BD) / (1.0 + total_B1)
    positive_B = (q_BD * k_BD).sum(1) / temperature_student
    all_B = torch.logaddexp(positive_B, read(q_BD, memory_KD, temperature_student).log_sum_exp)
    loss = (all_B - (q_BD * target_BD).sum(1) / temperature_student).mean()
    return Soft(loss, confidence_B, seen.top_index)


def batch_targets(
    key_BD: Tensor, keys_ND: Tensor, own_BN: Tensor, temperature: float, *, neighbours: int, target: Target = "ascl"
) -> tuple[Tensor, Tensor]:
    """Labels (B, N) over the unit keys of the whole batch, summing to 1 in each row, and confidence (B,).

    `own_BN` is True where a column is the row's own image, whose label is 1 before it is normalised.
    """
    logits_BN = similarities(key_BD, keys_ND, temperature).masked_fill(own_BN, -torch.inf)
    probability_BN = logits_BN.softmax(1)
    others = len(keys_ND) - 1
    confidence_B = 1.0 - torch.special.entr(probability_BN).sum(1) / math.log(max(2, others))
    if target in {"ahcl", "hard"}:  # with more, the image itself would be among the likeliest
        neighbours = min(neighbours, others)
    labels_BN = soft_labels(probability_BN, confidence_B, neighbours, target)
    labels_BN = labels_BN.masked_fill(own_BN, 1.0)
    return labels_BN / labels_BN.sum(1, keepdim=True), confidence_B
