"""The exact nearest neighbours by cosine similarity, in bounded memory.

Shapes: query (Q, D), bank (N, D); R rows of the bank and C queries in a tile. Q x N similarities never exist at once:
they are made in tiles of about 128 MiB in all, and each query keeps the k best of the tiles seen so far.

On a processor each thread makes tiles of its own by NumPy: its products are made for every make of processor alike
(torch's take 1.3 times as long on AMD's), and threads that share nothing have nothing to wait for.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import Neighbours, unit

_TILE_BYTES = 128 * 2**20
"""Memory of the tiles of similarities that exist at once; the normalised rows that make them take as much at most."""
_TILE_ROWS = 65536
"""Most rows of the bank in a tile; banks up to this size are searched without merging."""
_FEWEST_QUERIES, _MOST_THREADS = 128, 16
"""Queries of a tile, fewer of which are slow to multiply, and threads, more of which would need more memory for it."""
_GROUP = 8
"""Values whose maximum stands for them in `_sieve`."""

Array = npt.NDArray[Any]


@torch.no_grad()
def neighbours(
    query_QD: Tensor, bank_ND: Tensor, k: int, *, tile_rows: int = _TILE_ROWS, tile_bytes: int = _TILE_BYTES
) -> Neighbours:
    """The `k` images of the bank most similar to each query by cosine, nearest first.

    Vectors are normalised here, in float32 (float64 stays); zero vectors have similarity 0 to everything. Equally
    similar images come in the order of the bank; of those that tie for the k-th place any may be chosen.

    Raises InputError for `k` outside 1..N, for shapes that do not fit, and for features that are not finite.
    """
    check_features("query", query_QD)
    check_features("bank", bank_ND)
    if query_QD.shape[1] != bank_ND.shape[1]:
        widths = f"{query_QD.shape[1]} and {bank_ND.shape[1]}"
        raise InputError(f"queries and bank must have the same dimensions, found {widths}")
    if not 1 <= k <= len(bank_ND):
        raise InputError(f"k={k} neighbours asked of a bank of {len(bank_ND)} images: allowed are 1 to that many")
    dtype = torch.float64 if torch.float64 in {query_QD.dtype, bank_ND.dtype} else torch.float32
    rows_at_once = max(1, tile_bytes // (dtype.itemsize * bank_ND.shape[1]))
    look = _by_processor if query_QD.device.type == "cpu" else _by_accelerator
    best: Neighbours | None = None
    with torch.autocast(query_QD.device.type, enabled=False):
        for start in range(0, len(bank_ND), min(tile_rows, rows_at_once)):
            rows_RD = unit(bank_ND[start : start + min(tile_rows, rows_at_once)]).to(dtype)
            parts = [
                look(unit(part_PD).to(dtype), rows_RD, min(k, len(rows_RD)), tile_bytes)
                for part_PD in torch.split(query_QD, rows_at_once)
            ]
            found = Neighbours(torch.cat([part.similarity for part in parts]), torch.cat([part.rows for part in parts]))
            found.rows.add_(start)
            best = found if best is None else _better(best, found, k)
    assert best is not None
    return _in_order(best)


def check_features(what: str, x_ND: Tensor) -> None:
    """Raise InputError, which calls them `what`, unless features are a table of finite numbers."""
    if x_ND.ndim != 2 or 0 in x_ND.shape:
        raise InputError(f"{what} features must be (images, dimensions), at least one each, not {tuple(x_ND.shape)}")
    finite_N = torch.isfinite(x_ND.amax(1)) & torch.isfinite(x_ND.amin(1))
    if not bool(finite_N.all()):
        bad = (~finite_N).nonzero().flatten()
        raise InputError(
            f"{what} features of {len(bad)} of {len(x_ND)} images are not finite numbers (first: row {int(bad[0])}): "
            "the encoder diverged or its weights are damaged"
        )


def _by_accelerator(query_QD: Tensor, rows_RD: Tensor, k: int, tile_bytes: int) -> Neighbours:
    """The k nearest of these rows, both of unit length."""
    size = max(1, tile_bytes // (rows_RD.itemsize * len(rows_RD)))
    parts = [torch.mm(part_CD, rows_RD.T).topk(k, dim=1) for part_CD in torch.split(query_QD, size)]
    return Neighbours(torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts]))


def _by_processor(query_QD: Tensor, rows_RD: Tensor, k: int, tile_bytes: int) -> Neighbours:
    """The same, each of torch's number of threads with queries of its own."""
    threads = min(torch.get_num_threads(), _MOST_THREADS)
    size = tile_bytes // (threads * rows_RD.itemsize * len(rows_RD))
    size = max(1, min(max(size, _FEWEST_QUERIES), -(-len(query_QD) // threads)))
    query, rows = query_QD.numpy(), rows_RD.numpy()
    similarity_QK = np.empty((len(query), k), query.dtype)
    rows_QK = np.empty((len(query), k), np.int64)

    def work(thread: int) -> None:
        tile = np.empty((size, len(rows)), query.dtype)  # once, so its pages fault once
        for start in range(thread * size, len(query), threads * size):
            here = slice(start, start + size)
            tile_CR = tile[: len(query[here])]
            np.matmul(query[here], rows.T, out=tile_CR)
            similarity_QK[here], rows_QK[here] = _best(tile_CR, k)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return Neighbours(torch.from_numpy(similarity_QK), torch.from_numpy(rows_QK))


def _best(values_CR: Array, k: int) -> tuple[Array, Array]:
    """Values and columns of the k largest of each row, largest first.

    Long rows are sieved first, which costs a third of a selection from the whole row.
    """
    kept_CP, columns_CP = values_CR, None
    if values_CR.shape[1] >= 2 * _GROUP**2 * k and (sieved := _sieve(values_CR, k)) is not None:
        kept_CP, columns_CP = sieved
    elif k < values_CR.shape[1]:
        columns_CP = np.argpartition(values_CR, -k, axis=1)[:, -k:]
        kept_CP = np.take_along_axis(values_CR, columns_CP, 1)
    order_Ck = np.argsort(-kept_CP, axis=1)[:, :k]
    columns_Ck = order_Ck if columns_CP is None else np.take_along_axis(columns_CP, order_Ck, 1)
    return np.take_along_axis(kept_CP, order_Ck, 1), columns_Ck


def _sieve(values_CR: Array, k: int) -> tuple[Array, Array] | None:
    """Few values of each row, padded with minus infinity, that hold its k largest, and their columns.

    The row is cut into groups, and those into groups of groups. k of the latter have a maximum at or above the k-th
    largest of their maxima, so k values stand there, and whatever is below this bar is not wanted. Of values in random
    order about 1.2 k pass. Returns None where far more do: many equal values, as from a collapsed encoder.
    """
    count, rows = values_CR.shape
    bar_C = np.partition(_maxima(_maxima(values_CR)), -k, axis=1)[:, -k]
    passed = np.flatnonzero(values_CR >= bar_C[:, None])
    if len(passed) > 4 * k * count:
        return None
    row, column = np.divmod(passed, rows)
    counts_C = np.bincount(row, minlength=count)
    place = np.arange(len(row)) - (counts_C.cumsum() - counts_C)[row]
    kept_CP = np.full((count, counts_C.max()), -np.inf, values_CR.dtype)
    columns_CP = np.zeros(kept_CP.shape, np.int64)
    kept_CP[row, place], columns_CP[row, place] = values_CR[row, column], column
    return kept_CP, columns_CP


def _maxima(values_CR: Array) -> Array:
    """(C, groups) maxima of groups of `_GROUP` columns; columns at the end that fill no group are left out."""
    groups = values_CR.shape[1] // _GROUP
    # Group g is the columns g, g + groups, g + 2 groups, ..: so maxima run along memory.
    largest: Array = values_CR[:, : groups * _GROUP].reshape(-1, _GROUP, groups).max(1)
    return largest


def _better(best: Neighbours, found: Neighbours, k: int) -> Neighbours:
    """The k nearest of both, of which `best` stand earlier in the bank."""
    values = torch.cat([best.similarity, found.similarity], 1)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return Neighbours(values[:, :k], torch.cat([best.rows, found.rows], 1).gather(1, order[:, :k]))


def _in_order(found: Neighbours) -> Neighbours:
    """The same, equally similar ones in the order of the bank."""
    values_QK, rows_QK = found
    ties = (values_QK[:, 1:] == values_QK[:, :-1]).any(1).nonzero().flatten()
    rows, order = rows_QK[ties].sort(dim=1)
    rows_QK[ties] = rows.gather(1, values_QK[ties].gather(1, order).argsort(dim=1, descending=True, stable=True))
    return found
