"""Approximate search by a graph of neighbours (HNSW, Malkov and Yashunin, arXiv 1603.09320) from usearch.

The graph holds the vectors in 8 bits a number. What it proposes is compared again with the vectors themselves, and rows
that came after it was made are all compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, missing
from likewise.index.stores.scan import top

LEAST_ALIVE = 0.25
"""Share of its vectors that have to be there still for a graph to be used: below, most of what it proposes is none."""
_GATHERED = 1 << 23
"""Numbers that are gathered at once to be compared again."""


@dataclass(kw_only=True)
class _Facts:
    file: str
    """Name of the file of the graph."""
    rows: int
    """Vectors from the first that it covers."""
    measured: int
    """Queries that recall was measured with."""
    effort: int
    """Candidates that a search keeps (`efSearch`)."""
    fetched: int
    """Times k that are compared again."""
    k: int
    """Neighbours that recall was measured for."""
    recall: float
    """Share of the true k nearest that is found, measured."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end."""
    asked: float
    """Recall that was asked for."""


class Graph(_Facts):
    """A graph over a file of vectors."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        super().__init__(**facts)
        self.folder = folder

    def suits(self, k: int) -> bool:
        """Whether what was measured says something about `k` neighbours."""
        return k <= self.k

    @cached_property
    def opened(self) -> Any:
        """The graph, memory-mapped. Raises FileNotFoundError, as files do that a writer has taken away."""
        (self.folder / self.file).stat()
        index = library().Index.restore(str(self.folder / self.file), view=True)
        if index is None:
            raise InputError(f"{self.folder / self.file} is no graph: `likewise search --recall` makes another")
        index.expansion_search = self.effort
        return index


class Beside(NamedTuple):
    """What a graph does not know of the vectors of its space."""

    dead: NDArray[np.bool_] | None
    """(M,) those that are replaced or removed; None where none is."""
    later: NDArray[np.int64]
    """Places of those that came after it was made."""
    share: float
    """Of the vectors that it covers, those that are still there."""

    @classmethod
    def of(cls, graph: Graph, count: int, dead: NDArray[np.bool_] | None) -> Beside:
        """Of the `count` vectors of a space."""
        later = np.arange(graph.rows, count)
        if dead is None:
            return cls(None, later, 1.0)
        share = 1.0 - float(np.count_nonzero(dead[: graph.rows])) / max(1, graph.rows)
        return cls(dead if dead.any() else None, later[~dead[graph.rows :]], share)


def graph_nearest(
    graph: Graph, matrix_ND: NDArray[Any], queries_QD: NDArray[np.float32], k: int, beside: Beside
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarities (Q, k) and places (Q, k), largest first; of vectors that are none any more -inf."""
    # As many as were looked at when recall was measured: of fewer, 8 bits may not hold the nearest.
    wanted = int(graph.fetched * max(k, graph.k) / max(beside.share, LEAST_ALIVE))
    proposed_QP = propose(graph.opened, queries_QD, wanted)
    found = reranked(matrix_ND, queries_QD, proposed_QP, k, beside.dead)
    if not len(beside.later):
        return found
    later = top(matrix_ND, queries_QD, k, beside.later)
    return _first(np.concatenate([found[0], later[0]], 1), np.concatenate([found[1], later[1]], 1), k)


def propose(index: Any, queries_QD: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(Q, P) places that the graph finds near, -1 where it finds fewer."""
    if len(queries_QD) == 1:
        return np.asarray(index.search(queries_QD[0], count).keys).astype(np.int64)[None]
    found = index.search(queries_QD, min(count, len(index)))
    keys = np.asarray(found.keys).astype(np.int64)
    keys[np.arange(keys.shape[1]) >= np.asarray(found.counts)[:, None]] = -1
    return keys


def reranked(
    matrix_ND: NDArray[Any],
    queries_QD: NDArray[np.float32],
    proposed_QP: NDArray[np.int64],
    k: int,
    dead_N: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best of what is proposed, by the vectors themselves."""
    matrix_ND = np.asarray(matrix_ND)
    values = np.empty(proposed_QP.shape, np.float32)
    each = max(1, _GATHERED // max(1, proposed_QP.shape[1] * matrix_ND.shape[1]))
    for start in range(0, len(queries_QD), each):
        vectors = matrix_ND[proposed_QP[start : start + each]].astype(np.float32, copy=False)
        values[start : start + each] = (vectors @ queries_QD[start : start + each, :, None])[..., 0]
    if dead_N is not None:
        values[dead_N[proposed_QP]] = -np.inf
    values[proposed_QP < 0] = -np.inf
    return _first(values, proposed_QP, k)


def _first(
    values: NDArray[np.float32], places: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k largest of each row, largest first."""
    order = (-values).argsort(axis=1, kind="stable")[:, :k]
    rows = np.arange(len(order))[:, None]
    return values[rows, order], places[rows, order]


def library() -> Any:
    """usearch. Raises InputError with the command that installs it."""
    try:
        import usearch.index
    except ImportError as error:
        raise missing("usearch", "index", "search by a graph") from error
    return usearch.index
