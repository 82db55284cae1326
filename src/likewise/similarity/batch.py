"""Contrast within the global batch: its other images are the negatives of a query.

B images in this process, N in all processes together, D dimensions. Without a memory there is nothing to stream: the
B x N logits are small. Gradient goes to queries and keys of all processes (`likewise.distributed`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from likewise.distributed import gather_with_gradient, positions
from likewise.similarity.read import similarities, unit


def contrast_in_batch(query_BD: Tensor, key_BD: Tensor, temperature: float, *, against_queries: bool = False) -> Tensor:
    """Each query must pick its own key among the keys of all images, mean over the batch.

    L = mean_i -log( exp(q_i.k_i/T) / (sum_j exp(q_i.k_j/T) [+ sum_{j != i} exp(q_i.q_j/T)]) ), all vectors unit; the
    part in brackets with `against_queries`. A key that must not be changed is handed in detached.
    """
    q_BD, k_BD = unit(query_BD), unit(key_BD)
    own_B = positions(q_BD)
    logits_BN = similarities(q_BD, gather_with_gradient(k_BD), temperature)
    if against_queries:
        among_BN = similarities(q_BD, gather_with_gradient(q_BD), temperature)
        among_BN = among_BN.masked_fill(own_columns(q_BD, among_BN.shape[1]), -torch.inf)
        logits_BN = torch.cat([logits_BN, among_BN], 1)
    return functional.cross_entropy(logits_BN, own_B)


def nt_xent(first_BD: Tensor, second_BD: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy (SimCLR, arXiv 2002.05709, eq. 1): both views contrast with all.

    Of the 2N views of the global batch each must pick the other view of its image among the 2N - 1 others.
    """
    forth = contrast_in_batch(first_BD, second_BD, temperature, against_queries=True)
    back = contrast_in_batch(second_BD, first_BD, temperature, against_queries=True)
    return (forth + back) / 2


def own_columns(x_BD: Tensor, columns: int) -> Tensor:
    """(B, N) bool: True where a column of the gathered batch is the row's own image."""
    return positions(x_BD).unsqueeze(1) == torch.arange(columns, device=x_BD.device)
