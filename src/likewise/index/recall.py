"""Guaranteed recall of approximate search: a graph is tuned until its measured recall suffices, or is not used.

A sample of rows is kept out of the graph at first. They are the queries: half to choose the effort of a search with,
half to say what recall it has among the rows that the graph holds, found by comparing all of them. Then they are added.
"""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Callable, Sequence
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
HELD, MOST_HELD = 1000, 10_000
"""Rows that are kept out to ask with, and at most where a high recall takes more to be shown."""
K = 10
"""Neighbours that recall is measured for at least, and one more, since a row that is asked for finds itself first."""
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
FETCHED = (2, 4, 8)
"""Times k that are compared again with the vectors themselves."""
_ADDED = 65536


@dataclass(frozen=True)
class Promise:
    """The result of tuning for a recall."""

    recall: float
    """Measured on rows that were not in the graph then; 1 for exact search."""
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
    rows = int(np.count_nonzero(index.versions == number))  # while it is upgraded, fewer than there are
    if rows < FEWEST:
        return Promise(1.0, 1.0, 1.0, True, f"{rows:,} rows are compared in milliseconds")
    graph = store.view.graphs.get(number)
    k = max(k, K) + 1
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
            return Promise(1.0, 1.0, 1.0, True, f"no graph was shown to reach {asked:g} faster than comparing all")
        store.commit(graphs={**graphs, str(number): made})
        store.sweep()
        return _of(store.view.graphs[number])


def _of(graph: Graph) -> Promise:
    words = f"of {graph.k} neighbours, on {graph.measured} rows that were not in the graph then"
    return Promise(graph.recall, graph.low, graph.high, False, words)


def _make(store: LocalStore, number: int, asked: float, k: int, seed: int) -> dict[str, Any] | None:
    """The facts of a graph that is good and fast enough, written to the index; None where there is none."""
    matrix, dead = store.view.matrices[number], store.view.dead(number)
    live = np.arange(len(matrix)) if dead is None else np.flatnonzero(~dead)
    asking = min(MOST_HELD, max(HELD, math.ceil(8 / (1 - asked))), len(live) // 10)
    held = np.sort(np.random.default_rng(seed).choice(live, asking, replace=False))
    others = np.setdiff1d(live, held)
    queries_QD = np.asarray(matrix[held], np.float32)
    _, true_QK = top(matrix, queries_QD, k, others)
    exact_seconds = _seconds(lambda: top(matrix, queries_QD[:1], k, others), 3)
    index = _built(matrix, others, "i8")
    tuned, judged = np.arange(len(held)) % 2 == 0, np.arange(len(held)) % 2 == 1
    for fetched in FETCHED:
        for effort in EFFORTS:
            index.expansion_search = max(effort, fetched * k)
            share_Q, seconds = _measured(index, matrix, queries_QD, true_QK, fetched)
            if seconds > exact_seconds:
                break
            if _interval(share_Q[tuned])[1] < asked:
                continue
            mean, low, high = _interval(share_Q[judged])
            if low < asked:
                continue
            _add(index, matrix, held)
            name = f"graph-{store.manifest.generation}-{number}-{uuid.uuid4().hex[:8]}.usearch"
            index.save(str(store.path / name))
            with (store.path / name).open("rb") as file:  # on the disk before the manifest names it
                os.fsync(file.fileno())
            return {
                "file": name,
                "rows": len(matrix),
                "measured": int(judged.sum()),
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
    _add(index, matrix, places)
    return index


def _add(index: Any, matrix: NDArray[Any], places: NDArray[np.int64]) -> None:
    for start in range(0, len(places), _ADDED):
        some = places[start : start + _ADDED]
        index.add(some.astype(np.uint64), np.asarray(matrix[some], np.float32))


def _measured(
    index: Any, matrix: NDArray[Any], queries_QD: NDArray[np.float32], true_QK: NDArray[np.int64], fetched: int
) -> tuple[NDArray[np.float64], float]:
    """(Q,) share of the true neighbours that is found, and seconds that one query takes alone."""
    k = true_QK.shape[1]

    def look(queries: NDArray[np.float32]) -> NDArray[np.int64]:
        return reranked(matrix, queries, propose(index, queries, fetched * k), k)[1]

    hit = (true_QK[:, :, None] == look(queries_QD)[:, None, :]).any(2)
    seconds = _seconds(lambda: look(queries_QD[:1]), 20)
    return hit.mean(1), seconds


def _seconds(work: Callable[[], object], times: int) -> float:
    """Median of the seconds that it takes."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return float(np.median(found))


def _interval(share_Q: NDArray[np.float64] | Sequence[float]) -> tuple[float, float, float]:
    """Mean, and a 95 % interval of it by 2,000 draws of the queries with replacement.

    The lower end is at most that of no failure among so many queries (the rule of three): a query may miss all of its
    neighbours at once, so they are not ten measurements.
    """
    shares = np.asarray(share_Q, np.float64)
    drawn = np.random.default_rng(0).choice(shares, (2000, len(shares))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(shares.mean()), float(min(low, 1 - 3 / len(shares))), float(high)
