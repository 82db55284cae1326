"""A server of an index under several clients, while its index is refreshed by another process."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from likewise.index import Space, create, open_index
from likewise.index.recall import promise

CLIENTS = (1, 8, 32)
BATCH = 256
REFRESH = """
import sys, numpy as np
from likewise.index import Space, open_index
index = open_index(sys.argv[1])
space = Space.named(sys.argv[2], index.space.dimensions).following(index.space)
ids, draw, batch = index.ids, np.random.default_rng(1), int(sys.argv[3])
with index.writing():
    for start in range(0, len(ids), batch):
        some = ids[start : start + batch]
        old = index.store.view.matrices[0][start : start + len(some)]
        index.replace(some, old + 0.02 * draw.standard_normal(old.shape, dtype=np.float32), space)
"""


def asked_while_refreshed(folder: Path, rows: int, *, quick: bool) -> list[dict[str, Any]]:
    """Latency at each number of clients while the index is at rest, and while all its rows get new vectors.

    The rows are the first of `bank.npy` in `folder`.
    """
    bank = np.load(folder / "bank.npy", mmap_mode="r")[:rows]
    path = folder / "served.index"
    index = create(path, Space.named("clustered", bank.shape[1]))
    for start in range(0, rows, 65536):
        some = bank[start : start + 65536]
        index.append([str(row) for row in range(start, start + len(some))], some)
    promise(index, 0.99)
    seconds = 1.0 if quick else 8.0
    command = [sys.executable, "-m", "likewise", "serve", str(path), "--port", "0"]
    found: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        try:
            found += [
                {"rows": rows, "meanwhile": "at rest"} | _ask(address, rows, clients, seconds)
                for clients in (CLIENTS[:2] if quick else CLIENTS)
            ]
            call = [sys.executable, "-c", REFRESH, str(path), "new", str(BATCH)]
            with subprocess.Popen(call) as writer:
                told = _ask(address, rows, CLIENTS[1], seconds, until=writer)
            assert writer.returncode == 0
            refreshed = int((open_index(path).versions == 1).sum())
            found.append({"rows": rows, "meanwhile": f"{refreshed:,} rows refreshed"} | told)
        finally:
            server.terminate()
            server.wait(timeout=60)
    return found


def _ask(
    address: str, rows: int, clients: int, seconds: float, until: subprocess.Popen[bytes] | None = None
) -> dict[str, Any]:
    """Ask for `seconds`, or until a process ends; what was lost is what got no whole answer of 10 rows."""
    where, waits, lost = urlsplit(address), [], [0]
    end = time.perf_counter() + seconds

    def go_on() -> bool:
        return time.perf_counter() < end if until is None else until.poll() is None

    def client(seed: int) -> None:
        draw = np.random.default_rng(seed)
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
        while go_on():
            began = time.perf_counter()
            try:
                connection.request("GET", f"/search?id={draw.integers(rows)}&k=10")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or body.count(b'"similarity"') != 10:
                    lost[0] += 1
            except (OSError, http.client.HTTPException):
                lost[0] += 1
                connection.close()
            waits.append(time.perf_counter() - began)
        connection.close()

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = np.quantile(waits, [0.5, 0.99]) * 1000
    return {"clients": clients, "asked": len(waits), "lost": lost[0], "p50": float(p50), "p99": float(p99)}
