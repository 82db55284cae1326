"""Deterministic sums over the members of clusters, the same on every run and device.

Shapes: N rows of D dimensions, K clusters.
"""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 1 << 20
"""Values (rows x clusters, or rows x dimensions) held at a time."""


def tiles(x_N: Tensor, columns: int) -> tuple[Tensor, ...]:
    """The rows in pieces that have at most `TILE` values in `columns` columns."""
    return torch.split(x_N, max(1, TILE // columns))


def add_members(sums_KD: Tensor, cluster_N: Tensor, rows_ND: Tensor) -> None:
    """Add each row to the sum of its cluster (from 0 to K - 1), in place.

    On accelerators scattered additions come in another order every time, and their rounding with it; products do not.
    """
    if rows_ND.device.type == "cpu":
        sums_KD.index_add_(0, cluster_N, rows_ND)
        return
    member_NK = rows_ND.new_zeros(len(rows_ND), len(sums_KD)).scatter_(1, cluster_N[:, None], 1.0)
    sums_KD += member_NK.T @ rows_ND


def sums_of_members(rows_ND: Tensor, cluster_N: Tensor, clusters: int) -> Tensor:
    """(K, D) sums of the rows of each cluster; rows of a negative cluster are in none."""
    sums_KD = rows_ND.new_zeros(clusters, rows_ND.shape[1])
    columns = max(sums_KD.shape)
    for of_C, rows_CD in zip(tiles(cluster_N, columns), tiles(rows_ND, columns), strict=True):
        add_members(sums_KD, of_C.clamp(min=0), rows_CD.masked_fill((of_C < 0)[:, None], 0.0))
    return sums_KD
