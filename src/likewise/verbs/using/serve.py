"""`likewise serve`: serves an index over HTTP until it is interrupted."""

from __future__ import annotations

import secrets
import socket
import sys
from pathlib import Path

from likewise.checking import check_port
from likewise.errors import InputError, missing
from likewise.index import Index, open_index
from likewise.index.index import Address
from likewise.methods.words import with_words
from likewise.serving.app import application
from likewise.serving.limits import LOOPBACK, Limits

SHORTEST = 16
"""Characters of a token."""


def serve(
    index: Index | Address,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    run: str | Path | None = None,
    limits: Limits | None = None,
    quiet: bool = False,
) -> None:
    """Serve `index` at http://host:port until the process is interrupted. `port` 0 takes a free one.

    A `token` is needed where `host` is not this machine itself; "new" makes one and prints it. `run` is
    the run that reads words, by default the one that the index was made with. Raises InputError for an index that is
    none, a `run` that reads no words, a host without a token, a token that is too short, a port that is none or taken,
    and without the extra `serve`.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise missing("uvicorn", "serve", "the server") from error
    check_port(port)
    opened = index if isinstance(index, Index) else open_index(index)
    if token is None and host not in LOOPBACK:
        raise InputError(f"--host {host} is open to others: give a --token ('new' makes one), or stay at 127.0.0.1")
    token = secrets.token_urlsafe(24) if token == "new" else token  # noqa: S105  # the word, not a secret
    if token is not None and len(token) < SHORTEST:
        raise InputError(f"a token of {len(token)} characters can be guessed: {SHORTEST} are the fewest, or 'new'")
    limits = limits or Limits()
    if run is not None:
        with_words(Path(run))
    app = application(opened, token=token, limits=limits, run=run)
    if opened.space.has_encoder:
        opened.encoder()  # the first request need not wait for it
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    # Python says so by itself only of sockets that name TCP as their protocol; without, each answer waits 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    print(address + (f"?token={token}" if token else ""), flush=True)
    if not quiet:
        print(f"serving {len(opened):,} rows of {opened.path}; Ctrl-C ends it", flush=True)
    config = uvicorn.Config(
        app,
        log_level="warning",
        timeout_keep_alive=int(limits.seconds),
        h11_max_incomplete_event_size=64 << 10,
        limit_concurrency=256,
        server_header=False,
    )
    # The thread that answers must not keep the one that listens waiting for its turn, 5 ms by default.
    sys.setswitchinterval(0.001)
    with listening:
        uvicorn.Server(config).run(sockets=[listening])
