"""Exact nearest neighbours by cosine similarity, and the votes that make a classifier of them.

Shapes: query (Q, D), bank (N, D), labels (N,) of the bank. Q x N similarities never exist at once: they are made in
tiles of at most 128 MiB, and each query keeps the k best of the tiles seen so far.

The votes: plain majority (Wu et al. 2018 without weights; the protocol of ISD, arXiv 2012.09259, and MSF), and votes
weighted by exp(similarity / T) (Wu et al. 2018, arXiv 1805.01978, section 3.4; the monitor of MoCo).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import Neighbours, unit

_TILE_BYTES = 128 * 2**20
"""Most memory that one tile of similarities takes; the normalised rows of the bank that make it at most as much."""
_TILE_ROWS = 65536
"""Most rows of the bank in a tile; banks up to this size are searched without merging."""
_GROUP = 8
"""Values whose maximum stands for them in `_sieve`."""

Array = npt.NDArray[Any]


@torch.no_grad()
def neighbours(
    query_QD: Tensor, bank_ND: Tensor, k: int, *, tile_rows: int = _TILE_ROWS, tile_bytes: int = _TILE_BYTES
) -> Neighbours:
    """The `k` pictures of the bank most similar to each query by cosine, nearest first.

    Vectors are normalised here, in float32 (float64 stays); zero vectors have similarity 0 to everything. Equally
    similar pictures come in the order of the bank; of those that tie for the k-th place any may be chosen.

    Raises InputError for `k` outside 1..N, for shapes that do not fit, and for features that are not finite.
    """
    check_features("query", query_QD)
    check_features("bank", bank_ND)
    if query_QD.shape[1] != bank_ND.shape[1]:
        found = f"{query_QD.shape[1]} and {bank_ND.shape[1]}"
        raise InputError(f"queries and bank must have the same dimensions, found {found}")
    if not 1 <= k <= len(bank_ND):
        raise InputError(f"k={k} neighbours asked of a bank of {len(bank_ND)} pictures: allowed are 1 to that many")
    size = 8 if torch.float64 in {query_QD.dtype, bank_ND.dtype} else 4
    tile_rows = max(1, min(tile_rows, tile_bytes // (size * bank_ND.shape[1]), len(bank_ND)))
    queries = max(1, min(tile_bytes // (size * tile_rows), len(query_QD)))
    dtype = torch.float64 if size == 8 else torch.float32
    tile = torch.empty(queries * tile_rows, dtype=dtype, device=query_QD.device)  # once, so its pages fault once
    best: list[Neighbours | None] = [None] * math.ceil(len(query_QD) / queries)
    with torch.autocast(query_QD.device.type, enabled=False):
        for start in range(0, len(bank_ND), tile_rows):
            rows_RD = unit(bank_ND[start : start + tile_rows]).to(dtype)
            for number, part_CD in enumerate(torch.split(query_QD, queries)):
                similarity_CR = tile[: len(part_CD) * len(rows_RD)].view(len(part_CD), len(rows_RD))
                torch.mm(unit(part_CD).to(dtype), rows_RD.T, out=similarity_CR)
                best[number] = _better(best[number], similarity_CR, start, k)
    parts = [part for part in best if part is not None]
    return Neighbours(torch.cat([part.similarity for part in parts]), torch.cat([part.rows for part in parts]))


def majority(found: Neighbours, labels_N: Tensor, k: int) -> Tensor:
    """(Q,) the class most of the `k` nearest have; of classes with equally many, that of the nearest member.

    Raises InputError where `found` has fewer than `k` neighbours.
    """
    votes_Qk = _labels_of(found, labels_N, k)
    counts_QC = _tally(votes_Qk, torch.ones_like(votes_Qk), classes=int(labels_N.max()) + 1)
    has_most_Qk = counts_QC.gather(1, votes_Qk) == counts_QC.amax(1, keepdim=True)
    nearest_Q1 = has_most_Qk.int().argmax(1, keepdim=True)  # argmax finds the first: neighbours come nearest first
    return votes_Qk.gather(1, nearest_Q1).squeeze(1)


def weighted(found: Neighbours, labels_N: Tensor, k: int, temperature: float) -> Tensor:
    """(Q,) the class with the largest sum of exp(similarity / `temperature`) among the `k` nearest.

    Raises InputError where `found` has fewer than `k` neighbours, or the temperature is not above 0.
    """
    _check_temperature(temperature)
    votes_Qk = _labels_of(found, labels_N, k)
    similarity_Qk = found.similarity[:, :k]
    # The largest exponent becomes 0: same order of classes, and no overflow at low temperatures.
    weights_Qk = ((similarity_Qk - similarity_Qk[:, :1]) / temperature).exp()
    return _tally(votes_Qk, weights_Qk, classes=int(labels_N.max()) + 1).argmax(1)


def weighted_scores(
    query_QD: Tensor, bank_ND: Tensor, labels_N: Tensor, k: int, temperature: float, classes: int
) -> Tensor:
    """(Q, classes): sum of exp(similarity / `temperature`) over the neighbours of each class among the `k` nearest.

    Raises InputError as `neighbours` does, for labels outside 0..classes-1, and for a temperature not above 0.
    """
    _check_temperature(temperature)
    if len(labels_N) and not 0 <= int(labels_N.min()) <= int(labels_N.max()) < classes:
        span = f"{int(labels_N.min())} to {int(labels_N.max())}"
        raise InputError(f"labels of the bank go from {span}: allowed are 0 to {classes - 1}")
    found = neighbours(query_QD, bank_ND, k)
    return _tally(_labels_of(found, labels_N, k), (found.similarity / temperature).exp(), classes)


def accuracy(predicted_Q: Tensor, labels_Q: Tensor) -> float:
    """Share of predictions that are right, 0 to 1."""
    return float((predicted_Q == labels_Q).double().mean())


def _better(best: Neighbours | None, similarity_CR: Tensor, start: int, k: int) -> Neighbours:
    """The k nearest of those found so far and of a tile whose first row is row `start` of the bank."""
    values, rows = _best(similarity_CR, min(k, similarity_CR.shape[1]))
    rows += start
    if best is not None:
        values, rows = torch.cat([best.similarity, values], 1), torch.cat([best.rows, rows], 1)
        values, order = values.sort(dim=1, descending=True, stable=True)
        values, rows = values[:, :k], rows.gather(1, order[:, :k])
    return _in_order(values, rows)


def _best(values_CR: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns of the k largest of each row, largest first.

    On a processor long rows are sieved first, which costs a third of a selection from the whole row.
    """
    if values_CR.device.type == "cpu" and values_CR.shape[1] >= 2 * _GROUP**2 * k:
        sieved = _sieve(values_CR, k)
        if sieved is not None:
            kept_CP, columns_CP = sieved
            values, order = kept_CP.topk(k, dim=1)
            return values, columns_CP.gather(1, order)
    values, columns = values_CR.topk(k, dim=1)
    return values, columns


def _sieve(values_CR: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """Few values of each row, padded with minus infinity, that hold its k largest, and their columns.

    The row is cut into groups, and those into groups of groups. k of the latter have a maximum at or above the k-th
    largest of their maxima, so k values stand there, and whatever is below this bar is not wanted. Of values in random
    order about 1.2 k pass. Returns None where far more do: many equal values, as from a collapsed encoder.
    """
    count, rows = values_CR.shape
    bar_C1 = _maxima(_maxima(values_CR)).topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    values = values_CR.numpy()
    passed = np.flatnonzero(values >= bar_C1.numpy())  # ten times faster than torch's `nonzero`
    if len(passed) > 4 * k * count:
        return None
    row, column = np.divmod(passed, rows)
    counts_C = np.bincount(row, minlength=count)
    place = np.arange(len(row)) - (counts_C.cumsum() - counts_C)[row]
    kept_CP = np.full((count, counts_C.max()), -np.inf, values.dtype)
    columns_CP = np.zeros(kept_CP.shape, np.int64)
    kept_CP[row, place], columns_CP[row, place] = values[row, column], column
    return torch.from_numpy(kept_CP), torch.from_numpy(columns_CP)


def _maxima(values_CR: Tensor) -> Tensor:
    """(C, groups) maxima of groups of `_GROUP` columns; columns at the end that fill no group are left out."""
    groups = values_CR.shape[1] // _GROUP
    # Group g is the columns g, g + groups, g + 2 groups, ..: so maxima run along memory.
    return values_CR[:, : groups * _GROUP].reshape(-1, _GROUP, groups).amax(1)


def _in_order(values_CK: Tensor, rows_CK: Tensor) -> Neighbours:
    """Neighbours of which equally similar ones stand in the order of the bank; `values_CK` is sorted already."""
    ties = (values_CK[:, 1:] == values_CK[:, :-1]).any(1).nonzero().flatten()
    rows, order = rows_CK[ties].sort(dim=1)
    rows_CK[ties] = rows.gather(1, values_CK[ties].gather(1, order).argsort(dim=1, descending=True, stable=True))
    return Neighbours(values_CK, rows_CK)


def _labels_of(found: Neighbours, labels_N: Tensor, k: int) -> Tensor:
    """(Q, k) labels of the k nearest."""
    if not 1 <= k <= found.rows.shape[1]:
        raise InputError(f"k={k} votes asked of {found.rows.shape[1]} neighbours: allowed are 1 to that many")
    return labels_N.long()[found.rows[:, :k]]


def _tally(votes_Qk: Tensor, weights_Qk: Tensor, classes: int) -> Tensor:
    """(Q, classes) sum of the weights of each class's votes."""
    sums_QC = weights_Qk.new_zeros(len(votes_Qk), classes)
    return sums_QC.scatter_add_(1, votes_Qk, weights_Qk)


def check_features(what: str, x_ND: Tensor) -> None:
    """Raise InputError, which calls them `what`, unless features are a table of finite numbers."""
    if x_ND.ndim != 2 or 0 in x_ND.shape:
        raise InputError(f"{what} features must be (pictures, dimensions), at least one each, not {tuple(x_ND.shape)}")
    finite_N = torch.isfinite(x_ND.amax(1)) & torch.isfinite(x_ND.amin(1))
    if not bool(finite_N.all()):
        bad = (~finite_N).nonzero().flatten()
        raise InputError(
            f"{what} features of {len(bad)} of {len(x_ND)} pictures are not finite numbers (first: row {int(bad[0])}): "
            "the encoder diverged or its weights are damaged"
        )


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise InputError(f"temperature {temperature} of the votes must be above 0; usual is 0.1")
