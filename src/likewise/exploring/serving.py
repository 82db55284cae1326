"""Serves a folder on the loopback interface of this machine only."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from likewise.checking import check_port
from likewise.errors import InputError

LOOPBACK = "127.0.0.1"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files; says nothing of each."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of `folder`, started by `serve_forever`; port 0 takes a free one. Raises InputError for a taken one."""
    check_port(port)
    try:
        return ThreadingHTTPServer((LOOPBACK, port), partial(_Quiet, directory=str(folder)))
    except OSError as error:
        raise InputError(f"port {port} cannot be used: {error.strerror or error}; --port 0 takes a free one") from error


def address(running: ThreadingHTTPServer) -> str:
    """The URL for a browser."""
    return f"http://{LOOPBACK}:{running.server_address[1]}/"
