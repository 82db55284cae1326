"""An index against faiss and usearch on clustered vectors: build, bytes, memory, queries a second at a stated recall.

python -m benchmarks.index --rows 100000 --dimensions 256
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.index import Space, create, open_index
from likewise.index.recall import promise
from likewise.index.stores.scan import top

Array = NDArray[Any]
K, QUERIES = 10, 500
EFFORTS = (16, 32, 64, 128, 256, 512)


def clustered(rows: int, dimensions: int) -> tuple[Array, Array]:
    """Unit vectors about centres, as those of images lie: a bank, and queries from the same clusters."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(max(50, rows // 200), dimensions)).astype(np.float32)

    def some(count: int) -> Array:
        found = centres[draw.integers(0, len(centres), count)]
        found += 0.8 * draw.standard_normal(found.shape, dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return some(rows), some(QUERIES)


def rate(search: Callable[[Array], Array], queries: Array) -> tuple[float, Array]:
    """Queries a second, one at a time, and what was found."""
    search(queries[0])
    began = time.perf_counter()
    found = np.stack([search(query) for query in queries])
    return len(queries) / (time.perf_counter() - began), found


def recall(found: Array, true: Array) -> float:
    """Share of the true neighbours that were found."""
    return float((found[:, :, None] == true[:, None, :]).any(2).mean())


def ours(bank: Array, queries: Array, true: Array, asked: float) -> list[dict[str, Any]]:
    """An index: exact search, then by a graph tuned to `asked`, then opened anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.index"
        began = time.perf_counter()
        index = create(path, Space.named("clustered", bank.shape[1]))
        for start in range(0, len(bank), 65536):
            some = bank[start : start + 65536]
            index.append([str(row) for row in range(start, start + len(some))], some)
        written = time.perf_counter() - began

        def look(query: Array, **how: Any) -> Array:
            return np.array([int(hit.id) for hit in index.search(query, K, **how).hits[0]])

        speed, found = rate(lambda query: look(query, exact=True), queries[:100])
        rows = [row("likewise, exact", written, _bytes(path), speed, recall(found, true[:100]))]
        began = time.perf_counter()
        promised = promise(index, asked)
        tuned = time.perf_counter() - began
        speed, found = rate(look, queries)
        rows.append(row(f"likewise, {promised}", written + tuned, _bytes(path), speed, recall(found, true)))
        began = time.perf_counter()
        open_index(path).search(queries[0], K)
        rows.append({"side": "likewise, first answer of an index just opened", "seconds": time.perf_counter() - began})
    return rows


def by_faiss(bank: Array, queries: Array, true: Array, asked: float) -> list[dict[str, Any]]:
    """Flat, HNSW and IVF of faiss, the latter two at the least effort that reaches `asked`."""
    import faiss

    found = []
    flat = faiss.IndexFlatIP(bank.shape[1])
    flat.add(bank)
    speed, rows = rate(lambda query: flat.search(query[None], K)[1][0], queries[:100])
    found.append(row("faiss flat", 0.0, bank.nbytes, speed, recall(rows, true[:100])))
    began = time.perf_counter()
    graph = faiss.IndexHNSWFlat(bank.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 128
    graph.add(bank)
    built = time.perf_counter() - began
    found.append(
        _tuned("faiss HNSW", graph, lambda effort: setattr(graph.hnsw, "efSearch", effort), queries, true, asked)
    )
    found[-1] |= {"build, s": built}
    began = time.perf_counter()
    lists = faiss.IndexIVFFlat(flat, bank.shape[1], int(len(bank) ** 0.5), faiss.METRIC_INNER_PRODUCT)
    lists.quantizer = faiss.IndexFlatIP(bank.shape[1])
    lists.train(bank[:: max(1, len(bank) // 50_000)])
    lists.add(bank)
    built = time.perf_counter() - began
    found.append(_tuned("faiss IVF", lists, lambda effort: setattr(lists, "nprobe", effort), queries, true, asked))
    found[-1] |= {"build, s": built}
    return found


def by_usearch(bank: Array, queries: Array, true: Array, asked: float) -> list[dict[str, Any]]:
    """usearch alone, in float16."""
    from usearch.index import Index

    began = time.perf_counter()
    graph = Index(ndim=bank.shape[1], metric="ip", dtype="f16", connectivity=16, expansion_add=128)
    graph.add(np.arange(len(bank)), bank)
    built = time.perf_counter() - began

    class Searching:
        @staticmethod
        def search(query: Array, k: int) -> tuple[None, Array]:
            return None, np.asarray(graph.search(query[0], k).keys, np.int64)[None]

    told = _tuned(
        "usearch", Searching(), lambda effort: setattr(graph, "expansion_search", effort), queries, true, asked
    )
    return [told | {"build, s": built, "MB": graph.memory_usage / 1e6}]


def _tuned(
    name: str, index: Any, effort_of: Callable[[int], None], queries: Array, true: Array, asked: float
) -> dict[str, Any]:
    for effort in EFFORTS:
        effort_of(effort)
        speed, found = rate(lambda query: index.search(query[None], K)[1][0], queries)
        if recall(found, true) >= asked:
            break
    return row(f"{name}, effort {effort}", None, None, speed, recall(found, true))


def row(side: str, build: float | None, size: float | None, speed: float, share: float) -> dict[str, Any]:
    """One line of the table."""
    mb = None if size is None else size / 1e6
    return {"side": side, "build, s": build, "MB": mb, "queries/s": speed, "recall": share}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure, print a line for each side and the ratios of queries a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--recall", type=float, default=0.99)
    asked = parser.parse_args()
    bank, queries = clustered(asked.rows, asked.dimensions)
    true = top(bank, queries, K)[1]
    rows = ours(bank, queries, true, asked.recall)
    for side in (by_faiss, by_usearch):
        try:
            rows += side(bank, queries, true, asked.recall)
        except ImportError as error:
            print(f"{error.name} is not installed")
    for one in rows:
        print(json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in one.items()}))
    speeds = [one for one in rows if "queries/s" in one]
    for own, peers in ((speeds[0], ["faiss flat"]), (speeds[1], ["faiss HNSW", "faiss IVF", "usearch"])):
        for peer in (one for one in speeds if any(one["side"].startswith(name) for name in peers)):
            print(f"{own['side'][:24]} / {peer['side']}: {own['queries/s'] / peer['queries/s']:.2f}")


if __name__ == "__main__":
    main()
