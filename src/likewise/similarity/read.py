"""One streamed read of a memory: softmax-weighted mean, log-sum-exp and nearest rows, without a B x K matrix.

    read(q) = ( m = sum_j p_j M_j,  lse = log sum_j exp(q . M_j / T) ),   p = softmax(M q / T)

The memory is streamed in tiles with a running maximum, sum and vector per query (online softmax), so the extra memory
is one tile of logits. The derivative of the log-sum-exp is d lse / dq = m / T, which the forward pass has already
computed: backward keeps (B, D) and nothing of the memory, which may therefore be overwritten before backward runs.
Losses of the family are differences of such reads (`distill`, `contrast`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from likewise.errors import InputError

Exclude = Callable[[int, int], Tensor]
"""(start, stop) -> (B, stop - start) bool, True where a row of the memory must be left out for a query."""

_TILE_BYTES = 8 * 2**20  # one tile of logits; larger gains nothing once a tile's matrix product is compute-bound


class Read(NamedTuple):
    """The result of a batch of queries on a memory."""

    mean: Tensor
    """(B, D) softmax-weighted mean of the rows, without gradient."""
    log_sum_exp: Tensor
    """(B,) log of the sum over rows of exp(query . row / temperature); differentiable in the query."""
    top_values: Tensor | None = None
    """(B, top) similarities query . row of the nearest rows, nearest first, without gradient."""
    top_index: Tensor | None = None
    """(B, top) int64, which rows those are."""
    carried: Tensor | None = None
    """(B, E) mean of the rows of `values` with the weights that the memory's rows have in `mean`, without gradient."""


def unit(x_BD: Tensor) -> Tensor:
    """Rows of unit norm, in float32 or better: half precision is too coarse for logits divided by a temperature."""
    return functional.normalize(x_BD if x_BD.dtype == torch.float64 else x_BD.float(), dim=-1)


def read(
    query_BD: Tensor,
    memory_KD: Tensor,
    temperature: float | Tensor,
    *,
    top: int | None = None,
    exclude: Exclude | None = None,
    tile: int | None = None,
    values: Tensor | None = None,
) -> Read:
    """Attend to `memory_KD` with `query_BD` (used as given: normalise first where unit vectors are meant).

    `temperature` is a number, or (B, 1) for one per query. `exclude` masks rows per query; a query with every row
    masked gets a zero mean and a log-sum-exp of minus infinity. `tile` is the number of rows per tile. `values` (K, E)
    is a second memory whose row j belongs to the same image as row j of the first: it is carried along.
    Raises InputError where `top` asks for more rows than there are, and where the two memories differ in length.
    """
    if values is not None and len(values) != len(memory_KD):
        raise InputError(f"memories of {len(memory_KD)} and {len(values)} rows: row j of both has to be one image")
    if top is not None and not 1 <= top <= len(memory_KD):
        raise InputError(f"top={top} neighbours asked of a memory of {len(memory_KD)} rows: allowed are 1 to that many")
    with torch.autocast(query_BD.device.type, enabled=False):
        query = _full(query_BD) / temperature
        beside = None if values is None else _full(values)
        mean, log_sum_exp, near, index, carried = _attend(query, _full(memory_KD), top, exclude, tile, beside)
    return Read(mean, log_sum_exp, None if near is None else near * temperature, index, carried)


class Neighbours(NamedTuple):
    """The nearest rows of a memory."""

    similarity: Tensor
    """(B, k) query . row, nearest first."""
    rows: Tensor
    """(B, k) int64, which rows those are."""

    @property
    def there(self) -> Tensor:
        """(B, k) bool, False where a query had no further row left: what stands there is some excluded row."""
        return self.similarity > -torch.inf


@torch.no_grad()
def neighbours(
    query_BD: Tensor, memory_KD: Tensor, k: int, *, exclude: Exclude | None = None, tile: int | None = None
) -> Neighbours:
    """The `k` rows most similar to each query, nearest first, found tile by tile.

    Where fewer than `k` rows remain after `exclude`, the last similarities are minus infinity.
    """
    if not 1 <= k <= len(memory_KD):
        raise InputError(f"k={k} neighbours asked of a memory of {len(memory_KD)} rows: allowed are 1 to that many")
    with torch.autocast(query_BD.device.type, enabled=False):
        best: tuple[Tensor, Tensor] | None = None
        for start, _, logits_BC in _tiles(_full(query_BD), _full(memory_KD), exclude, tile):
            best = _better(best, logits_BC, start, k)
    assert best is not None
    return Neighbours(*best)


def similarities(query_BD: Tensor, memory_KD: Tensor, temperature: float = 1.0) -> Tensor:
    """All logits (B, K) at once: the plain form, for small memories and for looking at."""
    with torch.autocast(query_BD.device.type, enabled=False):
        return _full(query_BD) @ _full(memory_KD).T / temperature


@torch.no_grad()
def purity(labels_B: Tensor, neighbour_labels_Bk: Tensor, counted_Bk: Tensor | None = None) -> Tensor:
    """Mean share of the neighbours that carry the query's label, 0 to 1; the cheapest sign of life of a memory.

    With `counted_Bk`, of those neighbours alone for which it is True.
    """
    same_Bk = (neighbour_labels_Bk == labels_B.unsqueeze(1)).float()
    return same_Bk.mean() if counted_Bk is None else (same_Bk * counted_Bk).sum() / counted_Bk.sum().clamp_min(1)


def _full(x: Tensor) -> Tensor:
    """`x` in float32 or better."""
    return x if x.dtype == torch.float64 else x.float()


def _tiles(
    query_BD: Tensor, memory_KD: Tensor, exclude: Exclude | None, tile: int | None
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """First row, rows (C, D) and logits (B, C) of each tile; excluded entries are minus infinity."""
    if tile is None:
        tile = max(1024, _TILE_BYTES // (query_BD.element_size() * max(1, len(query_BD))))
    for start in range(0, len(memory_KD), tile):
        rows_CD = memory_KD[start : start + tile]
        logits_BC = query_BD @ rows_CD.T
        if exclude is not None:
            logits_BC.masked_fill_(exclude(start, start + len(rows_CD)), -torch.inf)
        yield start, rows_CD, logits_BC


def _better(best: tuple[Tensor, Tensor] | None, logits_BC: Tensor, start: int, k: int) -> tuple[Tensor, Tensor]:
    """The k best of those found so far and of this tile: values and row numbers."""
    values, index = logits_BC.topk(min(k, logits_BC.shape[1]), dim=1)
    index = index + start
    if best is None:
        return values, index
    values, index = torch.cat([best[0], values], 1), torch.cat([best[1], index], 1)
    values, order = values.topk(min(k, values.shape[1]), dim=1)
    return values, index.gather(1, order)


class _Stream(torch.autograd.Function):
    """Online softmax over the tiles of a memory; only the log-sum-exp carries gradient, and only to the query."""

    @staticmethod
    def forward(
        ctx: Any,
        query_BD: Tensor,
        memory_KD: Tensor,
        top: int | None,
        exclude: Exclude | None,
        tile: int | None,
        values_KE: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        maximum_B = query_BD.new_full((len(query_BD),), -torch.inf)
        total_B = torch.zeros_like(maximum_B)
        weighted_BD = query_BD.new_zeros(len(query_BD), memory_KD.shape[1])
        carried_BE = None if values_KE is None else query_BD.new_zeros(len(query_BD), values_KE.shape[1])
        best: tuple[Tensor, Tensor] | None = None
        for start, rows_CD, logits_BC in _tiles(query_BD, memory_KD, exclude, tile):
            if top is not None:
                best = _better(best, logits_BC, start, top)
            higher_B = torch.maximum(maximum_B, logits_BC.amax(1))
            # A query whose rows are all excluded so far has no maximum; 0 keeps its exponentials at exactly zero.
            anchor_B = torch.where(higher_B == -torch.inf, 0.0, higher_B)
            carry_B = (maximum_B - anchor_B).exp_()
            weights_BC = logits_BC.sub_(anchor_B.unsqueeze(1)).exp_()
            total_B = total_B.mul_(carry_B).add_(weights_BC.sum(1))
            weighted_BD = weighted_BD.mul_(carry_B.unsqueeze(1)).addmm_(weights_BC, rows_CD)
            if carried_BE is not None and values_KE is not None:
                carried_BE.mul_(carry_B.unsqueeze(1)).addmm_(weights_BC, values_KE[start : start + len(rows_CD)])
            maximum_B = higher_B
        log_sum_exp_B = maximum_B + total_B.log()
        total_B1 = total_B.clamp_min(torch.finfo(total_B.dtype).tiny).unsqueeze(1)
        mean_BD = weighted_BD.div_(total_B1)
        ctx.save_for_backward(mean_BD)
        near, index = best if best is not None else (None, None)
        if carried_BE is not None:
            carried_BE.div_(total_B1)
        ctx.mark_non_differentiable(*(each for each in (mean_BD, near, index, carried_BE) if each is not None))
        return mean_BD, log_sum_exp_B, near, index, carried_BE

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _mean: Any, grad_B: Tensor, *_: Any) -> tuple[Tensor, None, None, None, None, None]:
        (mean_BD,) = ctx.saved_tensors
        return grad_B.unsqueeze(1) * mean_BD, None, None, None, None, None


_attend: Callable[..., tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]] = _Stream.apply
