"""Exact search: every vector compared with every query, in bounded memory, straight from the memory-mapped file.

A tile of similarities is one matrix product. Which of them can be among the k best is told by the maxima of groups of
32: only groups that exceed the k-th best of the tiles before are looked into. Where these are many, as in the first
tile, the k-th largest of the maxima is a bound, too, since k similarities reach it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int64]

_TILE_VALUES = 1 << 20
"""Similarities of a tile: 4 MB, which stay in the cache between the product and the selection."""
_TILE_ROWS = (1024, 65536)
_QUERIES = 1024
"""Queries that are answered at once, so that the memory does not depend on their number."""
_GROUP = 32
_SPARSE = 0.25
"""Below this share of wanted rows, they are gathered; above it, all are compared and the others passed over."""


def top(
    matrix_ND: NDArray[np.floating[Any]], queries_QD: Float, k: int, places: Int | None = None
) -> tuple[Float, Int]:
    """Similarities (Q, k) and rows (Q, k) of the most similar among `places` (rising; None: all), largest first.

    Equal ones come in the order of the matrix. Where there are fewer than k, so many columns are returned.
    """
    count = len(matrix_ND) if places is None else len(places)
    k = min(k, count)
    if not k or not len(queries_QD):
        return np.empty((len(queries_QD), k), np.float32), np.empty((len(queries_QD), k), np.int64)
    matrix_ND = np.asarray(matrix_ND)  # slices of a memmap are slow to make
    wanted: NDArray[np.bool_] | None = None
    if places is not None and len(places) >= _SPARSE * len(matrix_ND):
        wanted = np.zeros(len(matrix_ND), bool)
        wanted[places] = True
        places = None
    blocks = [
        _block(matrix_ND, queries_QD[start : start + _QUERIES], k, places, wanted)
        for start in range(0, len(queries_QD), _QUERIES)
    ]
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate([values for values, _ in blocks]), np.concatenate([rows for _, rows in blocks])


def _block(
    matrix_ND: NDArray[np.floating[Any]],
    queries_QD: Float,
    k: int,
    places: Int | None,
    wanted: NDArray[np.bool_] | None,
) -> tuple[Float, Int]:
    """`top` of a bounded number of queries; of the rows at `places`, or of those that are `wanted`, or of all."""
    best_QK = np.full((len(queries_QD), k), -np.inf, np.float32)
    rows_QK = np.full((len(queries_QD), k), -1, np.int64)
    each = min(max(_TILE_VALUES // len(queries_QD) // _GROUP * _GROUP, _TILE_ROWS[0]), _TILE_ROWS[1])
    for start in range(0, len(matrix_ND) if places is None else len(places), each):
        numbers = None if places is None else places[start : start + each]
        tile = matrix_ND[start : start + each] if numbers is None else matrix_ND[numbers]
        tile = tile.astype(np.float32, copy=False)
        values_QR = _alone(tile, queries_QD) if len(queries_QD) == 1 else queries_QD @ tile.T
        if wanted is not None:
            values_QR += np.where(wanted[start : start + len(tile)], np.float32(0), np.float32(-np.inf))
        query_C, column_C = _candidates(values_QR, k, best_QK[:, -1])
        if len(query_C):
            row_C = column_C + start if numbers is None else numbers[column_C]
            _merge(best_QK, rows_QK, query_C, values_QR[query_C, column_C], row_C)
    return best_QK, rows_QK


def _alone(tile_RD: Float, query_1D: Float) -> Float:
    """(1, R) products of one query: NumPy's own loop over rows reads memory twice as fast as OpenBLAS does here."""
    found: Float = np.einsum("rd,d->r", tile_RD, query_1D[0])
    return found[None]


def _candidates(values_QR: Float, k: int, beaten_Q: Float) -> tuple[Int, Int]:
    """Query and column (C,) of all similarities above `beaten_Q` that may be among the k largest of their tile."""
    queries, columns = values_QR.shape
    members = min(_GROUP, max(1, columns // (2 * k)))
    groups = columns // members
    spare = columns - groups * members  # fewer than `members`; compared one by one
    grouped_QMG = values_QR[:, : groups * members].reshape(queries, members, groups)
    largest_QG = torch.from_numpy(grouped_QMG).amax(1).numpy()  # numpy takes six times as long
    bound_Q = beaten_Q
    above_QG = largest_QG > bound_Q[:, None]
    if groups >= k and np.count_nonzero(above_QG) > 2 * k * queries:
        kth_Q = np.partition(largest_QG, groups - k, axis=1)[:, groups - k]
        bound_Q = np.maximum(beaten_Q, np.nextafter(kth_Q, np.float32(-np.inf)))
        above_QG = largest_QG > bound_Q[:, None]
    query_P, group_P = np.nonzero(above_QG)
    pair_C, member_C = np.nonzero(grouped_QMG[query_P, :, group_P] > bound_Q[query_P, None])
    query_C, column_C = query_P[pair_C], group_P[pair_C] + groups * member_C
    if spare:
        query_S, column_S = np.nonzero(values_QR[:, -spare:] > bound_Q[:, None])
        query_C = np.concatenate([query_C, query_S])
        column_C = np.concatenate([column_C, column_S + groups * members])
    return query_C, column_C


def _merge(best_QK: Float, rows_QK: Int, query_P: Int, value_P: Float, row_P: Int) -> None:
    """Put candidates into the best so far, in place; where similarities are equal, the lower row comes first."""
    k = best_QK.shape[1]
    touched_T = np.flatnonzero(np.bincount(query_P, minlength=len(best_QK)))
    of = np.concatenate([np.repeat(touched_T, k), query_P])
    values = np.concatenate([best_QK[touched_T].ravel(), value_P])
    rows = np.concatenate([rows_QK[touched_T].ravel(), row_P])
    order = np.lexsort((rows, -values, of))
    first_T = np.searchsorted(of[order], touched_T)
    chosen = order[(first_T[:, None] + np.arange(k)).ravel()]
    best_QK[touched_T] = values[chosen].reshape(-1, k)
    rows_QK[touched_T] = rows[chosen].reshape(-1, k)
