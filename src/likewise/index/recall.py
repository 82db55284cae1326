"""Recall that is promised: a graph is tuned until what it finds is measured to be enough, or not used at all.

A sample of rows is kept out of the graph. They are the queries: half to choose the effort of a search with, half to
say what recall it has. The true neighbours are found by comparing all vectors.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.index.index import Index
from likewise.index.stores.graph import Graph, library, propose, reranked
from likewise.index.stores.local import LocalStore
from likewise.index.stores.scan import top

FEWEST = 20_000
"""Rows below which comparing all takes a few milliseconds, and no graph is made."""
HELD = 1000
"""Rows that are kept out to ask with."""
K = 10
"""Neighbours that recall is measured for at least."""
EFFORTS = (32, 64, 128, 256, 512, 1024)
FETCHED = (3, 8)
"""Times k that are compared again with the vectors themselves."""
_ADDED = 65536


@dataclass(frozen=True)
class Promise:
    """What tuning came to."""

    recall: float
    """Measured on rows that are not in the graph; 1 for exact search."""
    low: float
    """Ends of its 95 % interval."""
    high: float
    exact: bool
    """Whether all vectors are compared."""
    why: str
    """In words."""

    def __str__(self) -> str:
        """One line."""
        if self.exact:
            return f"exact search: {self.why}"
        return f"recall {self.recall:.4f} [{self.low:.4f}, {self.high:.4f}]: {self.why}"


def promise(index: Index, asked: float, *, k: int = K, seed: int = 0) -> Promise:
    """Make the index find at least the share `asked` of the true `k` nearest, or search exactly.

    What was tuned before is kept where it is good enough and covers nine tenths of the rows. Raises InputError for a
    share outside 0.5 to 1, without the extra `index`, and where another process writes.
    """
    if not 0.5 <= asked <= 1:
        raise InputError(f"recall {asked:g}: allowed are 0.5 to 1")
    store = index.store
    number = index.current
    if not isinstance(store, LocalStore):
        return Promise(1.0, 1.0, 1.0, True, "the server decides how it searches; likewise asks it to be exact")
    if asked == 1:
        return Promise(1.0, 1.0, 1.0, True, "as asked")
    if len(index) < FEWEST:
        return Promise(1.0, 1.0, 1.0, True, f"{len(index):,} rows are compared in milliseconds")
    graph = store.view.graphs.get(number)
    k = max(k, K)
    if (
        graph is not None
        and graph.low >= asked
        and graph.k >= k
        and graph.rows >= 0.9 * len(store.view.matrices[number])
    ):
        return _of(graph)
    with store.writing():
        made = _make(store, number, asked, k, seed)
        graphs = dict(store.manifest.graphs)
        if made is None:
            graphs.pop(str(number), None)
            store.commit(graphs=graphs)
            store.sweep()
            return Promise(1.0, 1.0, 1.0, True, f"no graph reached {asked:g} faster than comparing all")
        store.commit(graphs={**graphs, str(number): made})
        store.sweep()
        return _of(store.view.graphs[number])


def _of(graph: Graph) -> Promise:
    words = f"of {graph.k} neighbours, on {len(graph.held) - len(graph.held) // 2} rows that are not in the graph"
    return Promise(graph.recall, graph.low, graph.high, False, words)


def _make(store: LocalStore, number: int, asked: float, k: int, seed: int) -> dict[str, Any] | None:
    """The facts of a graph that is good and fast enough, written to the index; None where there is none."""
    matrix, row_of = store.view.matrices[number], store.view.row_of[number]
    live = np.flatnonzero(row_of >= 0)
    held = np.sort(np.random.default_rng(seed).choice(live, min(HELD, len(live) // 10), replace=False))
    queries_QD = np.asarray(matrix[held], np.float32)
    began = time.perf_counter()
    _, true_QK = top(matrix, queries_QD[:1], k + 1, live)
    exact_seconds = time.perf_counter() - began
    _, true_QK = top(matrix, queries_QD, k + 1, live)
    true_QK = _without(true_QK, held, k)
    reachable_QK = ~np.isin(true_QK, held)
    """Of the true ones, those that lie in the graph; the held-out ones are always compared."""
    index = _built(matrix, np.setdiff1d(live, held), "i8")
    tuned, judged = np.arange(len(held)) % 2 == 0, np.arange(len(held)) % 2 == 1
    for fetched in FETCHED:
        for effort in EFFORTS:
            index.expansion_search = max(effort, fetched * k)
            share_Q, seconds = _measured(index, matrix, queries_QD, true_QK, reachable_QK, k, fetched)
            if seconds > exact_seconds:
                break
            if _interval(share_Q[tuned])[1] < asked:
                continue
            mean, low, high = _interval(share_Q[judged])
            if low < asked:
                continue
            name = f"graph-{store.manifest.generation}-{number}-{uuid.uuid4().hex[:8]}.usearch"
            index.save(str(store.path / name))
            return {
                "file": name,
                "rows": len(matrix),
                "held": held.tolist(),
                "effort": int(index.expansion_search),
                "fetched": fetched,
                "k": k,
                "recall": mean,
                "low": low,
                "high": high,
                "asked": asked,
            }
    return None


def _built(matrix: NDArray[Any], places: NDArray[np.int64], dtype: str) -> Any:
    """A graph of the vectors at `places`."""
    index = library().Index(ndim=matrix.shape[1], metric="ip", dtype=dtype, connectivity=16, expansion_add=128)
    for start in range(0, len(places), _ADDED):
        some = places[start : start + _ADDED]
        index.add(some.astype(np.uint64), np.asarray(matrix[some], np.float32))
    return index


def _measured(
    index: Any,
    matrix: NDArray[Any],
    queries_QD: NDArray[np.float32],
    true_QK: NDArray[np.int64],
    reachable_QK: NDArray[np.bool_],
    k: int,
    fetched: int,
) -> tuple[NDArray[np.float64], float]:
    """(Q,) share of the true neighbours that is found, and seconds that one query takes alone."""
    proposed = propose(index, queries_QD, fetched * k)
    _, found_QK = reranked(matrix, queries_QD, proposed, k)
    hit = (true_QK[:, :, None] == found_QK[:, None, :]).any(2) | ~reachable_QK
    began, alone = time.perf_counter(), min(20, len(queries_QD))
    for query in range(alone):
        one = queries_QD[query : query + 1]
        reranked(matrix, one, propose(index, one, fetched * k), k)
    return hit.mean(1), (time.perf_counter() - began) / alone


def _without(found_QK: NDArray[np.int64], own_Q: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The first k of each row that are not the query itself."""
    rows = [row[row != own][:k] for row, own in zip(found_QK, own_Q, strict=True)]
    return np.stack(rows)


def _interval(share_Q: NDArray[np.float64] | Sequence[float]) -> tuple[float, float, float]:
    """Mean, and a 95 % interval of it by 2,000 draws of the queries with replacement.

    Where every query found all, the lower end is that of no failure among so many (the rule of three).
    """
    shares = np.asarray(share_Q, np.float64)
    drawn = np.random.default_rng(0).choice(shares, (2000, len(shares))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(shares.mean()), float(min(low, 1 - 3 / (10 * len(shares)))), float(high)
