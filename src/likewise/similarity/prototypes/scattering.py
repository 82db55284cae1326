"""Prototypes as means of the batch, pushed apart, and positives sampled around an image.

ProPos, arXiv 2111.11821, sections 3.2 and 3.3.

Shapes: B images, C clusters, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from likewise.similarity.losses import pull
from likewise.similarity.read import similarities, unit

ABSENT = -10.0
"""Logit of a prototype that has no member in the batch, as in the official code."""


def prototypes(rows_BD: Tensor, labels_B: Tensor, clusters: int) -> Tensor:
    """Unit mean of the unit rows of each cluster (C, D), with gradient; zero rows where a cluster has no member.

    Rows without a label, -1, belong to none.
    """
    member_BC = (labels_B.unsqueeze(1) == torch.arange(clusters, device=labels_B.device)).to(rows_BD.dtype)
    return functional.normalize(member_BC.T @ rows_BD, dim=1)


def scatter(query_CD: Tensor, key_CD: Tensor, temperature: float) -> Tensor:
    """Prototype scattering loss: each prototype must find the teacher's of its cluster among the student's others.

    l_c = -q_c.k_c/t + log( exp(q_c.k_c/t) + sum_{e != c} exp(q_c.q_e/t) ), mean over clusters with members; both sides
    of q_c.q_e carry gradient, the key none (ProPos, section 3.2). Clusters without members, zero rows, stay in the sum
    with a logit of -10. With none at all the loss is 0.
    """
    present_C = key_CD.detach().square().sum(1) > 0
    logits_CC = similarities(query_CD, query_CD, temperature)
    own_C = (query_CD * key_CD.detach()).sum(1) / temperature
    logits_CC = torch.where(torch.eye(len(own_C), dtype=torch.bool, device=own_C.device), own_C, logits_CC)
    logits_CC = logits_CC.masked_fill(~present_C, ABSENT)
    loss_C = logits_CC.logsumexp(1) - own_C
    return loss_C.masked_fill(~present_C, 0.0).sum() / present_C.sum().clamp(min=1)


def sampled(query_BD: Tensor, noise_BD: Tensor, noise_std: float) -> Tensor:
    """z + sigma noise: the positive is sampled around the image's own embedding (ProPos, section 3.3).

    The noise is added to the raw projection, so what it does depends on the norm of z.
    """
    return query_BD + noise_std * noise_BD


def alignment(prediction_BD: Tensor, key_BD: Tensor) -> Tensor:
    """-2 mean cos(p, k) of predictions of `sampled` and keys, which get no gradient."""
    return pull(prediction_BD, unit(key_BD)) - 2.0
