"""Exact nearest neighbours by cosine similarity, and the votes that make a classifier of them.

Shapes: query (Q, D), bank (N, D), labels (N,) of the bank. Q x N similarities never exist at once: they are made in
tiles of at most 64 MiB, and each query keeps the k best of the tiles seen so far.

The votes: plain majority (Wu et al. 2018 without weights; the protocol of ISD, arXiv 2012.09259, and MSF), and votes
weighted by exp(similarity / T) (Wu et al. 2018, arXiv 1805.01978, section 3.4; the monitor of MoCo).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import Neighbours, unit

_TILE_BYTES = 64 * 2**20
"""Most memory that one tile of similarities takes; the normalised rows of the bank that make it take at most twice."""
_TILE_ROWS = 65536
"""Most rows of the bank in a tile; banks up to this size are searched without merging."""
_GROUP = 16
"""Similarities whose maximum stands for them in the first pass of `_best`."""


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
    tile_rows = max(1, min(tile_rows, 2 * tile_bytes // (size * bank_ND.shape[1]), len(bank_ND)))
    queries = max(1, min(tile_bytes // (size * tile_rows), len(query_QD)))
    dtype = torch.float64 if size == 8 else torch.float32
    tile = torch.empty(queries * tile_rows, dtype=dtype, device=query_QD.device)  # once, so its pages fault once
    best: list[Neighbours | None] = [None] * math.ceil(len(query_QD) / queries)
    with torch.autocast(query_QD.device.type, enabled=False):
        for start in range(0, len(bank_ND), tile_rows):
            rows_RD = unit(bank_ND[start : start + tile_rows]).to(dtype)
            for number, part_CD in enumerate(query_QD.split(queries)):
                similarity_CR = tile[: len(part_CD) * len(rows_RD)].view(len(part_CD), len(rows_RD))
                torch.mm(unit(part_CD).to(dtype), rows_RD.T, out=similarity_CR)
                best[number] = _better(best[number], similarity_CR, start, k)
    found = [part for part in best if part is not None]
    return Neighbours(torch.cat([part.similarity for part in found]), torch.cat([part.index for part in found]))


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
    values, index = _best(similarity_CR, min(k, similarity_CR.shape[1]))
    index += start
    if best is not None:
        values, index = torch.cat([best.similarity, values], 1), torch.cat([best.index, index], 1)
    return _sorted(values, index, k)


def _best(similarity_CR: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and columns of the k largest of each row, in any order.

    Two passes where the row is long: the k largest of the rows' values lie in the k groups with the largest maxima,
    since each group left out is beaten by k others, each of which holds a value at least as large. Maxima of groups
    cost one fast sweep; a selection from the whole row costs several times more.
    """
    rows = similarity_CR.shape[1]
    groups = rows // _GROUP
    if groups < 2 * k:
        values, index = similarity_CR.topk(k, dim=1, sorted=False)
        return values, index
    # Group g is the columns g, g + groups, g + 2 groups, ..: maxima over them run along memory. The few columns that
    # fill no group are candidates themselves.
    maxima = similarity_CR[:, : groups * _GROUP].unflatten(1, (_GROUP, groups)).amax(1)
    chosen_Ck = maxima.topk(k, dim=1, sorted=False).indices
    offsets = torch.arange(0, groups * _GROUP, groups, device=similarity_CR.device)
    candidates = (chosen_Ck.unsqueeze(2) + offsets).flatten(1)
    rest = torch.arange(groups * _GROUP, rows, device=similarity_CR.device).expand(len(similarity_CR), -1)
    candidates = torch.cat([candidates, rest], 1)
    values, place = similarity_CR.gather(1, candidates).topk(k, dim=1, sorted=False)
    return values, candidates.gather(1, place)


def _sorted(values: Tensor, index: Tensor, k: int) -> Neighbours:
    """The k largest, largest first; equal ones by index."""
    by_index = index.argsort(dim=1)
    values, index = values.gather(1, by_index), index.gather(1, by_index)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return Neighbours(values[:, :k], index.gather(1, order)[:, :k])


def _labels_of(found: Neighbours, labels_N: Tensor, k: int) -> Tensor:
    """(Q, k) labels of the k nearest."""
    if not 1 <= k <= found.index.shape[1]:
        raise InputError(f"k={k} votes asked of {found.index.shape[1]} neighbours: allowed are 1 to that many")
    return labels_N.long()[found.index[:, :k]]


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
