"""Neighbours among candidates: for each query only a part of the memory is allowed.

A candidate set is either a group (labels, clusters) or a list of rows per query. It may hold fewer rows than are asked
for; `Neighbours.there` says which of those returned are real.

Shapes: B queries, K rows of memory, D dimensions, C candidates per query, k neighbours.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from likewise.similarity.read import Exclude, Neighbours, read, similarities

Few = Literal["available", "any"]
"""Too few candidates: the mean of those there are, or of k rows of which some are no candidates."""


def outside(groups_B: Tensor, groups_K: Tensor) -> Exclude:
    """Leave out the rows that are not of the query's group. -1 stands for no group.

    A query without group may look at everything; a row without group is a candidate of such queries alone.
    """
    groups_B1 = groups_B.unsqueeze(1)

    def exclude(start: int, stop: int) -> Tensor:
        return (groups_K[start:stop] != groups_B1) & (groups_B1 >= 0)

    return exclude


@torch.no_grad()
def among(query_BD: Tensor, memory_KD: Tensor, candidates: Neighbours, k: int) -> Neighbours:
    """The `k` rows most similar to each query among its candidates, nearest first; `k` is at most their number."""
    # a product and a sum, since autocast would make a matrix product of half precision
    similarity_BC = (memory_KD[candidates.rows] * query_BD.unsqueeze(1)).sum(2)
    similarity_Bk, order_Bk = similarity_BC.masked_fill(~candidates.there, -torch.inf).topk(k, dim=1)
    return Neighbours(similarity_Bk, candidates.rows.gather(1, order_Bk))


@torch.no_grad()
def average(memory_KD: Tensor, found: Neighbours, few: Few = "available") -> Tensor:
    """(B, D) mean of the rows found, zero where nothing was. With `few="any"`, also over rows that are not there."""
    rows_BkD = memory_KD[found.rows]
    if few == "any":
        return rows_BkD.mean(1)
    there_Bk = found.there.to(rows_BkD.dtype)
    return (rows_BkD * there_Bk.unsqueeze(2)).sum(1) / there_Bk.sum(1, keepdim=True).clamp_min(1)


def average_of_all(query_BD: Tensor, memory_KD: Tensor, exclude: Exclude) -> Tensor:
    """(B, D) mean of all candidates of each query, zero where it has none: a read without preference among them."""
    return read(torch.zeros_like(query_BD), memory_KD, 1.0, exclude=exclude).mean


@torch.no_grad()
def ranks(query_BD: Tensor, memory_KD: Tensor, rows_Bk: Tensor) -> Tensor:
    """(B, k) int64: how many rows of the whole memory are more similar to the query than each of `rows_Bk`.

    Holds all similarities at once: to watch a few queries with, not for every one of a batch and a long memory.
    """
    similarity_BK = similarities(query_BD, memory_KD)
    own_Bk = similarity_BK.gather(1, rows_Bk)
    return torch.stack([(similarity_BK > own_B.unsqueeze(1)).sum(1) for own_B in own_Bk.unbind(1)], 1)
