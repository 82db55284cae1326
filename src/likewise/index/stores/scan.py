"""Exact search: every vector compared with every query, in bounded memory, straight from the memory-mapped file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int64]

_TILE_BYTES = 64 << 20
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
    best_QK = np.empty((len(queries_QD), 0), np.float32)
    rows_QK = np.empty((len(queries_QD), 0), np.int64)
    if not k or not len(queries_QD):
        return best_QK, rows_QK
    gather = places is not None and len(places) < _SPARSE * len(matrix_ND)
    wanted: NDArray[np.bool_] | None = None
    if places is not None and not gather:
        wanted = np.zeros(len(matrix_ND), bool)
        wanted[places] = True
    each = max(1024, min(65536, _TILE_BYTES // (4 * max(len(queries_QD), matrix_ND.shape[1]))))
    for start in range(0, count if gather else len(matrix_ND), each):
        if gather:
            assert places is not None
            numbers = places[start : start + each]
            tile = matrix_ND[numbers]
        else:
            tile = matrix_ND[start : start + each]
            numbers = np.arange(start, start + len(tile))
        values_QR = queries_QD @ tile.astype(np.float32, copy=False).T
        if wanted is not None:
            values_QR[:, ~wanted[start : start + len(tile)]] = -np.inf
        best_QK, rows_QK = _merged(best_QK, rows_QK, values_QR, numbers, k)
    return best_QK, rows_QK


def _merged(best_QK: Float, rows_QK: Int, values_QR: Float, numbers: Int, k: int) -> tuple[Float, Int]:
    """The k best of those so far and of a tile."""
    if values_QR.shape[1] > 4 * k:
        part = np.argpartition(-values_QR, k, axis=1)[:, : k + 1]
        part.sort(axis=1)
        values_QR, found = np.take_along_axis(values_QR, part, 1), numbers[part]
    else:
        found = np.broadcast_to(numbers, values_QR.shape)
    values = np.concatenate([best_QK, values_QR], 1)
    rows = np.concatenate([rows_QK, found], 1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, 1), np.take_along_axis(rows, order, 1)
