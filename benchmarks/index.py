"""An index against faiss and usearch on clustered vectors: build, bytes, memory, queries a second at a stated recall.

Each side is built in a process of its own, which says how long it took and how much memory; then one process opens all
of them and lets them take turns at the same queries. A server is asked by several clients while its index is refreshed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Outcome, Timing, in_turn, parser_of, rounded, run
from benchmarks.serving import asked_while_refreshed
from likewise.index import Space, create, open_index
from likewise.index.recall import promise
from likewise.index.stores.scan import top

MINUTES = 15
Array = NDArray[Any]
Search = Callable[[Array], Any]
K, QUERIES, ALONE = 10, 500, 100
EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
SIDES = {"likewise": None, "faiss flat": "faiss", "faiss IVF": "faiss", "usearch": "usearch", "faiss HNSW": "faiss"}
"""Sides, with the package that each needs."""
QUICK = ("likewise", "faiss flat", "usearch")


def clustered(rows: int, dimensions: int) -> tuple[Array, Array]:
    """Unit vectors about centres, as those of images lie: a bank, and queries from the same clusters."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(max(50, rows // 200), dimensions)).astype(np.float32)

    def some(count: int) -> Array:
        found = centres[draw.integers(0, len(centres), count)]
        for start in range(0, count, 65536):  # so that memory stays about that of what is returned
            some = found[start : start + 65536]
            some += 0.8 * draw.standard_normal(some.shape, dtype=np.float32)
            some /= np.linalg.norm(some, axis=1, keepdims=True)
        return found

    return some(rows), some(QUERIES)


# Building ------------------------------------------------------------------------------------------------------------


def build(side: str, folder: Path, asked: float) -> dict[str, Any]:
    """Build a side from `bank.npy` into `folder`; seconds, bytes on the disk, and memory that the process gained."""
    bank = np.load(folder / "bank.npy", mmap_mode="r")
    to = folder / side.replace(" ", "-")
    before, began, more = _resident(), time.perf_counter(), {}
    if side == "likewise":
        index = create(to, Space.named("clustered", bank.shape[1]))
        for start in range(0, len(bank), 65536):
            some = bank[start : start + 65536]
            index.append([str(row) for row in range(start, start + len(some))], some)
        more["written"] = rounded(time.perf_counter() - began)
        more["promise"] = str(promise(index, asked))
    elif side == "usearch":
        from usearch.index import Index

        graph = Index(ndim=bank.shape[1], metric="ip", dtype="f16", connectivity=16, expansion_add=128)
        graph.add(np.arange(len(bank)), np.asarray(bank))
        graph.save(str(to))
    else:
        _faiss(side, np.asarray(bank), to)
    took, after = time.perf_counter() - began, _resident()
    found = {"side": side, "seconds": took, "disk": _bytes(to), "memory": max(0, after - before)}
    return found | more


def _faiss(side: str, bank: Array, to: Path) -> None:
    import faiss

    index: Any = faiss.IndexFlatIP(bank.shape[1])
    if side == "faiss HNSW":
        index = faiss.IndexHNSWFlat(bank.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 128
    elif side == "faiss IVF":
        index = faiss.IndexIVFFlat(index, bank.shape[1], int(len(bank) ** 0.5), faiss.METRIC_INNER_PRODUCT)
        index.train(np.ascontiguousarray(bank[:: max(1, len(bank) // 50_000)]))
    index.add(bank)
    faiss.write_index(index, str(to))


def _resident() -> int:
    """Memory of this process that belongs to no file, in bytes; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def _bytes(path: Path) -> int:
    return sum(one.stat().st_size for one in ([path] if path.is_file() else path.rglob("*")) if one.is_file())


# Asking --------------------------------------------------------------------------------------------------------------


def ours(folder: Path, queries: Array) -> tuple[dict[str, Search], dict[str, Any]]:
    """Exact search and search as tuned, and what the first answer of an index just opened takes."""
    before, began = _resident(), time.perf_counter()
    index = open_index(folder / "likewise")
    index.search(queries[0], K)
    first = time.perf_counter() - began

    index.search(queries, K)
    gained = _resident() - before
    sides: dict[str, Search] = {
        "likewise, exact": lambda asked: index.search(asked, K, exact=True).hits,
        "likewise": lambda asked: index.search(asked, K).hits,
    }
    return sides, {"first_answer": rounded(first), "memory_open": gained}


def theirs(side: str, folder: Path, queries: Array, true: Array, asked: float, threads: int) -> tuple[Search, int]:
    """A peer at the least effort that reaches `asked`, and that effort."""
    path = str(folder / side.replace(" ", "-"))
    if side == "usearch":
        from usearch.index import Index

        graph = Index.restore(path, view=False)

        def search(some: Array) -> Array:
            return np.asarray(graph.search(some[0] if len(some) == 1 else some, K).keys, np.int64).reshape(-1, K)

        def effort_of(effort: int) -> None:
            graph.expansion_search = effort

    else:
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.read_index(path)

        def search(some: Array) -> Array:
            return np.asarray(index.search(some, K)[1])

        def effort_of(effort: int) -> None:
            if side == "faiss HNSW":
                index.hnsw.efSearch = effort
            elif side == "faiss IVF":
                index.nprobe = effort

    for effort in EFFORTS:
        effort_of(effort)
        if recall(search(queries), true) >= asked:
            break
    return search, effort


def recall(found: Any, true: Array) -> float:
    """Share of the true neighbours that were found, as rows or as hits."""
    if isinstance(found, list):
        found = np.array([[int(hit.id) for hit in hits] for hits in found])
    return float((found[:, :, None] == true[:, None, :]).any(2).mean())


def ask(folder: Path, peers: Sequence[str], asked: float, threads: int, rounds: int) -> dict[str, Any]:
    """All sides in turn, one query at a time and all at once."""
    bank, queries = np.load(folder / "bank.npy", mmap_mode="r"), np.load(folder / "queries.npy")
    true = top(bank, queries, K)[1]
    sides, facts = ours(folder, queries)
    efforts: dict[str, int] = {}
    for peer in peers:
        sides[peer], efforts[peer] = theirs(peer, folder, queries, true, asked, threads)

    def alone(search: Search, count: int) -> Callable[[], object]:
        return lambda: [search(queries[row : row + 1]) for row in range(count)]

    counts = {name: ALONE // 10 if name in {"likewise, exact", "faiss flat"} else ALONE for name in sides}
    one = in_turn({name: alone(search, counts[name]) for name, search in sides.items()}, rounds=rounds)
    many = in_turn({name: (lambda s=search: s(queries)) for name, search in sides.items()}, rounds=max(2, rounds // 3))
    found = {
        name: {
            "recall": recall(search(queries), true),
            "one": counts[name] / one[name].seconds,
            "many": len(queries) / many[name].seconds,
            "one_busy": counts[name] / max(one[name].busy_seconds, 1e-9),
            "many_busy": len(queries) / max(many[name].busy_seconds, 1e-9),
            "effort": efforts.get(name),
        }
        for name, search in sides.items()
    }
    return {"sides": found, "ratios": _ratios(one, many, counts), **facts}


def _ratios(one: dict[str, Timing], many: dict[str, Timing], counts: dict[str, int]) -> dict[str, dict[str, float]]:
    """Queries a second of ours over those of each peer, round by round."""
    found = {}
    for peer, timing in one.items():
        own = "likewise, exact" if peer == "faiss flat" else "likewise"
        if peer.startswith("likewise"):
            continue
        scale = counts[own] / counts[peer]
        told = {"one": _ratio(timing, one[own]) * scale, "many": _ratio(many[peer], many[own])}
        told["one_busy"] = scale * timing.busy_seconds / max(one[own].busy_seconds, 1e-9)
        told["many_busy"] = many[peer].busy_seconds / max(many[own].busy_seconds, 1e-9)
        found[peer] = told
    return found


def _ratio(theirs_: Timing, ours_: Timing) -> float:
    return float(np.median([a / b for a, b in zip(theirs_.wall, ours_.wall, strict=True)]))


# The whole -----------------------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> Outcome:
    """Build, ask, serve."""
    rows, dimensions = (1500, 16) if options.quick else (options.rows, options.dimensions)
    outcome = Outcome(
        f"An index of {rows:,} x {dimensions} vectors",
        "Clustered unit vectors, 10 neighbours, 500 queries of the same clusters. Each side is built in a process of "
        f"its own; peers search at the least effort that finds {options.recall:g} of the true neighbours, ours at what "
        "`--recall` chose. One query at a time, and all at once, sides in turn. Ratios are medians over rounds of "
        "queries a second of ours over the peer's.",
    )
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder, built = Path(name), {}
        bank, queries = clustered(rows, dimensions)
        np.save(folder / "bank.npy", bank)
        np.save(folder / "queries.npy", queries)
        del bank
        for side, package in SIDES.items():
            if side not in (options.sides or (QUICK if options.quick else SIDES)):
                continue
            if package is not None and importlib.util.find_spec(package) is None:
                outcome.notes.append(f"{side.partition(' ')[0]} is left out: {package} is not installed")
                continue
            found = _process(["--build", side], folder, options)
            if found is None:
                outcome.notes.append(f"{side} is left out: it was not built within {options.limit:g} minutes")
            else:
                built[side] = found
        if "likewise" not in built:
            raise RuntimeError(f"the index was not built within {options.limit:g} minutes: give more with --limit")
        asked = _process(["--ask", *(side for side in built if side != "likewise")], folder, options)
        if asked is None:
            raise RuntimeError(f"asking took more than {options.limit:g} minutes")
        served = asked_while_refreshed(folder, min(rows, options.served), quick=options.quick)
    _report(outcome, built, asked, served, options)
    return outcome


def _process(words: list[str], folder: Path, options: argparse.Namespace) -> Any:
    """What a step says, in a process of its own; None where it takes too long."""
    call = [sys.executable, "-m", "benchmarks.index", "--folder", str(folder), "--recall", str(options.recall)]
    call += ["--threads", str(options.threads), *(["--quick"] if options.quick else []), *words]
    try:
        done = subprocess.run(call, check=True, stdout=subprocess.PIPE, timeout=60 * options.limit)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout)


def _report(
    outcome: Outcome, built: dict[str, Any], asked: dict[str, Any], served: list[dict[str, Any]], options: Any
) -> None:
    """Tables and targets."""
    outcome.figures = {"built": built, "asked": asked, "served": served}
    columns = [
        "side",
        "build, s",
        "disk, MB",
        "memory, MB",
        "recall",
        "queries/s, one by one",
        "queries/s, all at once",
    ]
    rows = []
    for name, found in asked["sides"].items():
        held = built[name.partition(",")[0]]
        memory = asked["memory_open"] if name.startswith("likewise") else held["memory"]
        effort = "" if found["effort"] is None or name == "faiss flat" else f", effort {found['effort']}"
        seconds = held["written"] if name == "likewise, exact" else held["seconds"]
        sizes = [held["disk"] / 1e6, memory / 1e6]
        rows.append([name + effort, float(seconds), *sizes, found["recall"], found["one"], found["many"]])
    outcome.table(f"Index: {built['likewise']['promise']}", columns, rows)
    columns = ["likewise over", "one by one", "by processor time", "all at once", "by processor time"]
    ratios = asked["ratios"]
    names = ("one", "one_busy", "many", "many_busy")
    outcome.table("Ratios", columns, [[peer, *(told[name] for name in names)] for peer, told in ratios.items()])
    columns = ["asked by", "clients", "asked", "lost", "p50, ms", "p99, ms", "meanwhile"]
    rows = [[one[name] for name in ("by", "clients", "asked", "lost", "p50", "p99", "meanwhile")] for one in served]
    outcome.table(
        f"`likewise serve`, {served[0]['rows']:,} rows, clients and server on this machine; images are JPEG files of "
        "640 x 480, the encoder a ResNet-18 of width 32 at 64 px",
        columns,
        rows,
    )
    judged = not options.quick

    def target(what: str, wanted: str, found: float | None, met: bool) -> None:
        outcome.target(what, wanted, found, met=met if judged and found is not None else None)

    flat = ratios.get("faiss flat", {})
    target("exact, one by one, over faiss flat", ">= 0.9", flat.get("one"), flat.get("one", 0) >= 0.9)
    target("exact, all at once, over faiss flat", ">= 0.9", flat.get("many"), flat.get("many", 0) >= 0.9)
    alone = ratios.get("usearch", {})
    target("by a graph, one by one, over usearch alone", ">= 0.6", alone.get("one"), alone.get("one", 0) >= 0.6)
    share = asked["sides"]["likewise"]["recall"]
    target("recall", f">= {options.recall:g}", share, share >= options.recall)
    first = asked["first_answer"]
    target("first answer of an index just opened, s", "< 1", first, first < 1)
    lost = sum(one["lost"] for one in served)
    target("requests lost during a refresh", "0", float(lost), lost == 0)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the JSON object, and return it; or one step of it."""
    parser = parser_of("index", MINUTES)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--served", type=int, default=100_000, help="rows of the index that is served, at most")
    parser.add_argument("--limit", type=float, default=30, help="minutes that a side may take to build")
    parser.add_argument("--sides", nargs="*", help=f"of {', '.join(SIDES)}; by default all")
    parser.add_argument("--scratch", help="folder for vectors and indices while they are measured")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    parser.add_argument("--ask", nargs="*", help=argparse.SUPPRESS)
    step = parser.parse_args(arguments)
    if step.folder is None:
        return run("index", measure, parser, arguments)
    if step.build:
        found = build(step.build, step.folder, step.recall)
    else:
        found = ask(step.folder, step.ask, step.recall, step.threads, 2 if step.quick else 9)
    print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
