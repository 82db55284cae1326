"""Mutual contrastive learning: networks contrast on their own embeddings and each other's (arXiv 2104.12565).

Shapes: B images in a batch, K in a queue, C classes, D dimensions, M networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from likewise.similarity.losses import contrast, cross_entropy, distill
from likewise.similarity.read import similarities, unit

UNKNOWN = -1
"""Label of an image that has none."""


class MutualContrast(NamedTuple):
    """The four parts of the loss of a cohort, each summed over networks or pairs of them."""

    vcl: Tensor
    """Vanilla: each network by itself."""
    soft_vcl: Tensor
    """Each imitates how every other sees its own keys."""
    icl: Tensor
    """Interactive: queries of each network against keys and queue of every other."""
    soft_icl: Tensor
    """Each imitates, in its view of another's keys, the other's view of its own."""


def mutual_contrast(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    queues: Sequence[Tensor],
    temperature: float,
    kl_temperature: float,
) -> MutualContrast:
    """Mutual contrastive learning of M networks (arXiv 2104.12565, eq. 1-9), with nothing of size B x K.

    `queries` and `keys` are M batches (B, D), `queues` M memories (K, D) whose row j is the same image in all. With
    z^ab = [q_a.k_b ; Q_b q_a] / t, the positive first, and D(s <- r) = T^2 KL(softmax(r/T) || softmax(s/T)):

        VCL  = sum_a CE(z^aa)                    soft VCL = sum_{a != b} D(z^aa <- z^bb)
        ICL  = sum_{a != b} CE(z^ab)             soft ICL = sum_{a != b} D(z^ab <- z^ba)

    all means over the batch. What is imitated, keys and queues get no gradient.
    """
    networks = range(len(queries))
    pairs = list(permutations(networks, 2))

    def plain(a: int, b: int) -> Tensor:
        return contrast(queries[a], keys[b], queues[b], temperature)

    def imitated(a: int, of_a: int, b: int, of_b: int) -> Tensor:
        """D(z^{a, of_a} <- z^{b, of_b})."""
        both = temperature * kl_temperature
        result = distill(
            queries[a],
            queries[b],
            queues[of_b],
            both,
            both,
            student_memory_KD=queues[of_a],
            own_BE=keys[of_b],
            student_own_BD=keys[of_a],
        )
        return kl_temperature**2 * result.loss

    return MutualContrast(
        vcl=torch.stack([plain(a, a) for a in networks]).sum(),
        soft_vcl=torch.stack([imitated(a, a, b, b) for a, b in pairs]).sum(),
        icl=torch.stack([plain(a, b) for a, b in pairs]).sum(),
        soft_icl=torch.stack([imitated(a, b, b, a) for a, b in pairs]).sum(),
    )


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
    each S^ab; the soft terms let rows of S^aa imitate those of S^bb, and S^ab those of S^ba, over all columns, an
    image's own included. Between networks an image's own column is left out of ICL as in the official code; the
    paper counts it as a positive: `own_is_positive`.
    """
    units = [unit(each) for each in embeddings]
    networks = range(len(units))
    pairs = list(permutations(networks, 2))
    logits = {(a, b): similarities(units[a], units[b], temperature) for a in networks for b in networks}

    def between(pair: tuple[int, int]) -> Tensor:
        return supervised_contrast(logits[pair], labels_B, own_is_positive=own_is_positive)

    return MutualContrast(
        vcl=torch.stack([supervised_contrast(logits[a, a], labels_B) for a in networks]).sum(),
        soft_vcl=torch.stack([imitation(logits[a, a], logits[b, b], kl_temperature) for a, b in pairs]).sum(),
        icl=torch.stack([between(pair) for pair in pairs]).sum(),
        soft_icl=torch.stack([imitation(logits[a, b], logits[b, a], kl_temperature) for a, b in pairs]).sum(),
    )


def supervised_contrast(logits_BB: Tensor, labels_B: Tensor, *, own_is_positive: bool = False) -> Tensor:
    """SupCon (arXiv 2004.11362, eq. 2): each anchor must find its class among the others, mean over anchors.

    L = -mean_i mean_{j in P(i)} [ S_ij - log sum_{j allowed} exp S_ij ]. An anchor's own column is neither positive
    nor allowed unless `own_is_positive`. Anchors without a positive have no loss and are not counted; an image
    without a label is no anchor and in nobody's sum.
    """
    known_B = labels_B != UNKNOWN
    allowed_BB = known_B.unsqueeze(0).expand(len(labels_B), -1)
    if not own_is_positive:
        allowed_BB = allowed_BB & ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
    positive_BB = (labels_B.unsqueeze(1) == labels_B) & allowed_BB
    count_B = positive_BB.sum(1)
    target_BB = positive_BB.to(logits_BB.dtype) / count_B.clamp(min=1).unsqueeze(1)
    found_B = count_B > 0
    # a row that allows nothing would give no number; it is not counted either way
    loss_B = cross_entropy(logits_BB, target_BB, mask_BK=allowed_BB | ~found_B.unsqueeze(1))
    return torch.where(found_B, loss_B, 0.0).sum() / found_B.sum().clamp(min=1)


def imitation(student_BK: Tensor, teacher_BK: Tensor, kl_temperature: float) -> Tensor:
    """D(s <- r) = T^2 KL(softmax(r/T) || softmax(s/T)), mean over B, without gradient to r."""
    target_BK = (teacher_BK.detach() / kl_temperature).softmax(1)
    entropy_B: Tensor = -torch.special.xlogy(target_BK, target_BK).sum(1)
    return (cross_entropy(student_BK / kl_temperature, target_BK) - entropy_B).mean() * kl_temperature**2


def classification(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Mean cross-entropy of the images whose label is known; 0 where none is."""
    known_N = labels_N != UNKNOWN
    loss_N = functional.cross_entropy(logits_NC, labels_N, ignore_index=UNKNOWN, reduction="none")
    return loss_N.sum() / known_N.sum().clamp(min=1)
