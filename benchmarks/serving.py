"""A server of an index under several clients, while its index is refreshed by another process."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from likewise.encoders import EncoderSpec, build
from likewise.index import Space, create, open_index
from likewise.index.recall import promise

Request = tuple[str, str, bytes | None]
"""Method, path and body."""
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

    The rows are the first of `bank.npy` in `folder`. Clients ask by id, and of an index with an encoder by image.
    """
    bank = np.load(folder / "bank.npy", mmap_mode="r")[:rows]
    path = folder / "served.index"
    index = create(path, Space.named("clustered", bank.shape[1]))
    for start in range(0, rows, 65536):
        some = bank[start : start + 65536]
        index.append([str(row) for row in range(start, start + len(some))], some)
    promise(index, 0.99)
    seconds = 1.0 if quick else 8.0
    each = CLIENTS[:2] if quick else CLIENTS
    found: list[dict[str, Any]] = []
    with served(path) as address:
        by_id = partial(_by_id, rows)
        at_rest = {"by": "id", "meanwhile": "at rest"}
        found += [at_rest | _ask(address, by_id, clients, seconds) for clients in each]
        call = [sys.executable, "-c", REFRESH, str(path), "new", str(BATCH)]
        with subprocess.Popen(call) as writer:
            told = _ask(address, by_id, CLIENTS[1], seconds, until=writer)
        assert writer.returncode == 0
        refreshed = int((open_index(path).versions == 1).sum())
        found.append({"by": "id", "meanwhile": f"{refreshed:,} rows refreshed"} | told)
    if quick:  # a server takes seconds to start
        return [{"rows": rows, **one} for one in found]
    with served(with_encoder(folder / "images.index")) as address:
        sent = partial(_by_image, photograph())
        found += [at_rest | {"by": "image"} | _ask(address, sent, clients, seconds) for clients in each]
    return [{"rows": rows, **one} for one in found]


@contextlib.contextmanager
def served(path: Path) -> Iterator[str]:
    """The address of a server of an index, in a process of its own."""
    command = [sys.executable, "-m", "likewise", "serve", str(path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        try:
            yield address
        finally:
            server.terminate()
            server.wait(timeout=60)


def with_encoder(path: Path) -> Path:
    """An index that takes images: a small encoder with weights as they were drawn, and 2,000 vectors of its length."""
    encoder = build(EncoderSpec(name="resnet18", width=32, stem="small", image_size=64), seed=0).eval()
    index = create(path, Space.of_encoder(encoder), encoder=encoder)
    vectors = np.random.default_rng(0).standard_normal((2000, encoder.features), dtype=np.float32)
    index.append([str(row) for row in range(len(vectors))], vectors)
    return path


def photograph() -> bytes:
    """A JPEG file of 640 x 480 points."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _by_id(rows: int, draw: np.random.Generator) -> Request:
    return "GET", f"/search?id={draw.integers(rows)}&k=10", None


def _by_image(content: bytes, draw: np.random.Generator) -> Request:
    return "POST", "/search?k=10", content


def _ask(
    address: str,
    request: Callable[[np.random.Generator], Request],
    clients: int,
    seconds: float,
    until: subprocess.Popen[bytes] | None = None,
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
                method, path, body = request(draw)
                connection.request(method, path, body)
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200 or content.count(b'"similarity"') != 10:
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the server alone: a line of JSON for each number of clients."""
    from benchmarks.index import clustered  # which measures the server as well

    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="a second each")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "bank.npy", clustered(options.rows, 256)[0])
        for one in asked_while_refreshed(Path(name), options.rows, quick=options.quick):
            print(json.dumps(one), flush=True)


if __name__ == "__main__":
    main()
