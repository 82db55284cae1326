"""The supervised form of MCL as a loss: contrast by labels inside a batch, within and between networks.

M networks, B pictures, D dimensions. It has no memory; give it batches with two pictures or more of each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from likewise.methods.mcl import MutualContrast
from likewise.similarity import cross_entropy, similarities, unit


def supervised_mutual_contrast(
    embeddings: Sequence[Tensor],
    labels_B: Tensor,
    temperature: float,
    kl_temperature: float,
    *,
    own_is_positive: bool = False,
) -> MutualContrast:
    """The four parts of mutual contrastive learning with labels (arXiv 2104.12565, eq. 1-9), each a mean over B.

    With S^ab = e_a e_b^T / t the similarities of the batch: VCL is the supervised contrast of each S^aa, ICL that of
    each S^ab; the soft terms let rows of S^aa imitate those of S^bb, and S^ab those of S^ba, over all columns, a
    picture's own included. Between networks a picture's own column is left out of ICL as in the official code; the
    paper counts it as a positive: `own_is_positive`.
    """
    units = [unit(each) for each in embeddings]
    networks = range(len(units))
    pairs = list(permutations(networks, 2))
    logits = {(a, b): similarities(units[a], units[b], temperature) for a in networks for b in networks}

    def imitation(student_BB: Tensor, teacher_BB: Tensor) -> Tensor:
        """D(s <- r) = T^2 KL(softmax(r/T) || softmax(s/T)), without gradient to r."""
        target_BB = (teacher_BB.detach() / kl_temperature).softmax(1)
        entropy_B: Tensor = -torch.special.xlogy(target_BB, target_BB).sum(1)
        divergence_B = cross_entropy(student_BB / kl_temperature, target_BB) - entropy_B
        return divergence_B.mean() * kl_temperature**2

    def across(logits_BB: Tensor) -> Tensor:
        return supervised_contrast(logits_BB, labels_B, own_is_positive=own_is_positive)

    return MutualContrast(
        vcl=torch.stack([supervised_contrast(logits[a, a], labels_B) for a in networks]).sum(),
        soft_vcl=torch.stack([imitation(logits[a, a], logits[b, b]) for a, b in pairs]).sum(),
        icl=torch.stack(
            [supervised_contrast(logits[p], labels_B, own_is_positive=own_is_positive) for p in pairs]
        ).sum(),
        soft_icl=torch.stack([imitation(logits[a, b], logits[b, a]) for a, b in pairs]).sum(),
    )


def supervised_contrast(logits_BB: Tensor, labels_B: Tensor, *, own_is_positive: bool = False) -> Tensor:
    """SupCon (arXiv 2004.11362, eq. 2): each anchor must find its class among the others, mean over anchors.

    L = -mean_i mean_{j in P(i)} [ S_ij - log sum_{j allowed} exp S_ij ]. An anchor's own column is neither positive
    nor allowed unless `own_is_positive`. Anchors without a positive have no loss and are not counted.
    """
    same_BB = labels_B.unsqueeze(1) == labels_B
    allowed_BB = torch.ones_like(same_BB)
    if not own_is_positive:
        allowed_BB = ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
    positive_BB = same_BB & allowed_BB
    count_B = positive_BB.sum(1)
    target_BB = positive_BB.to(logits_BB.dtype) / count_B.clamp(min=1).unsqueeze(1)
    loss_B = cross_entropy(logits_BB, target_BB, mask_BK=allowed_BB)
    found_B = count_B > 0
    return torch.where(found_B, loss_B, 0.0).sum() / found_B.sum().clamp(min=1)
