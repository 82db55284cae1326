"""The losses on a memory as pure functions of raw embeddings, which are normalised inside.

B queries, K rows of memory, D dimensions. The memory is expected to hold unit rows, as `Queue` does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from likewise.similarity.read import Exclude, read, unit


class Distillation(NamedTuple):
    """The divergence of the student's similarities to the memory from the teacher's."""

    loss: Tensor
    """Scalar: KL(teacher || student), summed over the memory, mean over the batch."""
    teacher_entropy: Tensor
    """Scalar: mean entropy of the teacher's distribution in nats; ln K means that it sees nothing."""
    neighbours: Tensor | None
    """(B, top) rows of the memory nearest to the teacher's embedding, where asked for."""
    cross_entropy: Tensor
    """Scalar: loss plus the teacher's entropy. The same gradient; exact where a sharp teacher has huge logits."""


def distill(
    student_BD: Tensor,
    teacher_BE: Tensor,
    memory_KE: Tensor,
    temperature_student: float,
    temperature_teacher: float | Tensor,
    *,
    student_memory_KD: Tensor | None = None,
    own_BE: Tensor | None = None,
    student_own_BD: Tensor | None = None,
    top: int | None = None,
    exclude: Exclude | None = None,
) -> Distillation:
    """Iterative similarity distillation (ISD, arXiv 2012.09259, eq. 1-3), with nothing of size B x K.

    With p_s = softmax(M q / Ts), p_t = softmax(M k / Tt) and the reads (m, lse) of both,
    KL(p_t || p_s) = (k . m_t)/Tt - lse_t - (q . m_t)/Ts + lse_s, and its gradient in q is (m_s - m_t)/Ts.
    No gradient goes to the teacher or the memory.

    With `student_memory_KD` the student looks at a memory of its own, of any width, whose row j is the same image as
    row j of the teacher's. With `own_BE` each image has one row more, its own, which nobody else sees; the student's
    side of it is `student_own_BD`, or the same. Both enter as one more logit of each read.

    A query whose rows are all excluded, and that has no row of its own, has no target: it counts in the means over the
    batch with a loss, an entropy and a gradient of zero.
    """
    q_BD = unit(student_BD)
    memory_KD = memory_KE if student_memory_KD is None else student_memory_KD
    with torch.no_grad():
        k_BE = unit(teacher_BE)
        target = read(k_BE, memory_KE, temperature_teacher, top=top, exclude=exclude, values=student_memory_KD)
        lse_B, mean_BE = target.log_sum_exp, target.mean
        carried_BD = mean_BE if target.carried is None else target.carried
        own_BD: Tensor | None = None
        if own_BE is not None:
            row_BE = unit(own_BE)
            own_BD = row_BE if student_own_BD is None else unit(student_own_BD)
            logit_B = (k_BE * row_BE).sum(1) / temperature_teacher
            lse_B = torch.logaddexp(target.log_sum_exp, logit_B)
            share_B1 = (logit_B - lse_B).exp().unsqueeze(1)
            mean_BE, carried_BD = mean_BE.lerp(row_BE, share_B1), carried_BD.lerp(own_BD, share_B1)
        has_neighbour_B = lse_B > -torch.inf
        # sum_j p_t log p_t, the negative entropy
        certainty_B = torch.where(has_neighbour_B, (k_BE * mean_BE).sum(1) / temperature_teacher - lse_B, 0.0)
    seen_B = read(q_BD, memory_KD, temperature_student, exclude=exclude).log_sum_exp
    if own_BD is not None:
        seen_B = torch.logaddexp(seen_B, (q_BD * own_BD).sum(1) / temperature_student)
    seen_B = torch.where(has_neighbour_B, seen_B, 0.0)
    agreement_B = (q_BD * carried_BD).sum(1) / temperature_student
    loss = (certainty_B - agreement_B + seen_B).mean()
    return Distillation(loss, -certainty_B.mean(), target.top_index, (seen_B - agreement_B).mean())


def contrast(
    query_BD: Tensor,
    key_BD: Tensor,
    memory_KD: Tensor,
    temperature: float,
    *,
    exclude: Exclude | None = None,
    own_negative_BD: Tensor | None = None,
    with_own_B: Tensor | None = None,
) -> Tensor:
    """InfoNCE with one positive and a memory of negatives (MoCo, arXiv 1911.05722, eq. 1), mean over the batch.

    L = -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.M_j/T)) ): the read of the memory and one more logit. With
    `own_negative_BD` each query has one negative more that nobody else sees, where `with_own_B` (B,) says so. No
    gradient goes to the key, the memory or that negative.

    A query without any negative, all of its rows excluded, counts in the mean with a loss and a gradient of zero.
    """
    q_BD = unit(query_BD)
    positive_B = (q_BD * unit(key_BD).detach()).sum(1) / temperature
    negative_B = read(q_BD, memory_KD, temperature, exclude=exclude).log_sum_exp
    if own_negative_BD is not None:
        own_B = (q_BD * unit(own_negative_BD).detach()).sum(1) / temperature
        joined_B = torch.logaddexp(negative_B, own_B)
        # Not by a logit of minus infinity: where all rows are excluded as well, its gradient is no number.
        negative_B = joined_B if with_own_B is None else torch.where(with_own_B, joined_B, negative_B)
    return (torch.logaddexp(positive_B, negative_B) - positive_B).mean()


def pull(student_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Mean of 2 - 2 v.n over the batch: v the unit student vector, n the target as given, without gradient.

    With a unit target this is the squared distance |v - n|^2 (BYOL); with the mean of k unit rows it is the mean of
    the k squared distances to them (mean shift).
    """
    target = target_BD.detach()
    return (2.0 - 2.0 * (unit(student_BD) * target).sum(1)).mean()


def cross_entropy(logits_BK: Tensor, target_BK: Tensor, *, mask_BK: Tensor | None = None) -> Tensor:
    """Cross-entropy with soft targets per row, (B,): -sum_j target_j log softmax(logits)_j.

    `mask_BK` is True where a column takes part; masked columns get probability zero and their targets are not counted.
    The caller reduces, so that a mean over the batch is never mistaken for a mean over all elements.
    """
    if mask_BK is None:
        return -(target_BK * functional.log_softmax(logits_BK, dim=1)).sum(1)
    log_probability = functional.log_softmax(logits_BK.masked_fill(~mask_BK, -torch.inf), dim=1)
    return -(target_BK * log_probability.masked_fill(~mask_BK, 0.0)).sum(1)
