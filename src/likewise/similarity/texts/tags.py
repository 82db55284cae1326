"""Contrast with tags and captions: positives that share tags, and ranking by a margin (arXiv 2104.12836).

Shapes: B queries, K rows of a queue of unit keys, D dimensions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from likewise.similarity.compatible import consensus
from likewise.similarity.read import similarities, unit


def shared_tags(tags_BT: Tensor, queue_tags_KT: Tensor, more_than: float) -> Tensor:
    """(B, K) bool: two multi-hot rows have more than `more_than` tags in common."""
    return tags_BT.to(queue_tags_KT.dtype) @ queue_tags_KT.T > more_than


def contrast_matches(query_BD: Tensor, queue_KD: Tensor, match_BK: Tensor, temperature: float) -> Tensor:
    """-mean over a query's matches of log( exp(q.p/T) / sum_queue exp(q.Q/T) ), mean over queries that have one.

    0 where none has. The current key is not among the rows.
    """
    matched_B = match_BK.any(1)
    everything = consensus(
        unit(query_BD), queue_KD, torch.ones_like(match_BK, dtype=queue_KD.dtype), match_BK, temperature
    )
    return everything * len(matched_B) / matched_B.sum().clamp_min(1)


def rank_by_margin(
    query_BD: Tensor,
    key_BD: Tensor,
    queue_KD: Tensor,
    margin: float,
    *,
    reduction: Literal["sum", "mean"] = "sum",
    exclude_BK: Tensor | None = None,
) -> Tensor:
    """sum_K (or mean_K) of [margin - q.k + q.Q]_+, mean over the batch; rows in `exclude_BK` do not count.

    No gradient goes to keys or queue.
    """
    q_BD = unit(query_BD)
    own_B1 = (q_BD * unit(key_BD).detach()).sum(1, keepdim=True)
    hinge_BK = (margin - own_B1 + similarities(q_BD, queue_KD.clone())).clamp_min(0.0)
    counted_B = torch.full_like(own_B1.squeeze(1), queue_KD.shape[0])
    if exclude_BK is not None:
        hinge_BK = hinge_BK.masked_fill(exclude_BK, 0.0)
        counted_B = counted_B - exclude_BK.sum(1)
    each_B = hinge_BK.sum(1)
    return (each_B if reduction == "sum" else each_B / counted_B.clamp_min(1)).mean()
