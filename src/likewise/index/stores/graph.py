"""Approximate search by a graph of neighbours (HNSW, Malkov and Yashunin, arXiv 1603.09320) from usearch.

The graph holds the vectors in 8 bits a number. What it proposes is compared again with the vectors themselves, and
those it does not hold (a sample kept out of it to measure recall with, and rows that came later) are all compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, missing
from likewise.index.stores.scan import top

DTYPES = {"i8": "i8", "f16": "f16"}


@dataclass(kw_only=True)
class _Facts:
    file: str
    """Name of the file of the graph."""
    rows: int
    """Vectors from the first that it covers."""
    held: list[int]
    """Places among them that it does not hold."""
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
        """The graph, memory-mapped."""
        index = library().Index.restore(str(self.folder / self.file), view=True)
        if index is None:
            raise InputError(f"{self.folder / self.file} is no graph: `likewise search --recall` makes another")
        index.expansion_search = self.effort
        return index


def graph_nearest(
    graph: Graph, matrix_ND: NDArray[Any], queries_QD: NDArray[np.float32], k: int, row_of_N: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarities (Q, k) and places (Q, k), largest first; vectors of no row (-1 in `row_of_N`) are passed over."""
    rest = np.concatenate([np.asarray(graph.held, np.int64), np.arange(graph.rows, len(matrix_ND))])
    rest = rest[row_of_N[rest] >= 0]
    dead = int((row_of_N[: graph.rows] < 0).sum())
    wanted = graph.fetched * k + min(dead, graph.fetched * k)
    proposed_QP = propose(graph.opened, queries_QD, wanted)
    own_QK, at_QK = top(matrix_ND, queries_QD, k, np.sort(rest))
    return reranked(matrix_ND, queries_QD, proposed_QP, k, row_of_N, (own_QK, at_QK))


def propose(index: Any, queries_QD: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(Q, P) places that the graph finds near, -1 where it finds fewer."""
    found = index.search(queries_QD, min(count, len(index)))
    keys = np.atleast_2d(np.asarray(found.keys).astype(np.int64))
    counts = np.atleast_1d(np.asarray(getattr(found, "counts", keys.shape[1])))
    keys[np.arange(keys.shape[1])[None] >= counts[:, None]] = -1
    return keys


def reranked(
    matrix_ND: NDArray[Any],
    queries_QD: NDArray[np.float32],
    proposed_QP: NDArray[np.int64],
    k: int,
    row_of_N: NDArray[np.int64] | None = None,
    beside: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best of what is proposed, by the vectors themselves, together with others that are known already."""
    vectors = matrix_ND[proposed_QP.ravel()].reshape(*proposed_QP.shape, -1).astype(np.float32, copy=False)
    values = np.einsum("qpd,qd->qp", vectors, queries_QD)
    values[(proposed_QP < 0) | (False if row_of_N is None else row_of_N[proposed_QP] < 0)] = -np.inf
    places = proposed_QP
    if beside is not None:
        values, places = np.concatenate([values, beside[0]], 1), np.concatenate([places, beside[1]], 1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, 1), np.take_along_axis(places, order, 1)


def library() -> Any:
    """usearch. Raises InputError with the command that installs it."""
    try:
        import usearch.index
    except ImportError as error:
        raise missing("usearch", "index", "search by a graph") from error
    return usearch.index
