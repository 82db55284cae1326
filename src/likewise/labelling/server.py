"""The server of the labelling page: local only, a handful of requests, no resources from elsewhere.

The standard library's server does: one person presses keys. What other sites could do in the same browser is refused
by the names in a request: it must be addressed to this machine, and what changes anything must come from this page.
"""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from likewise.data import Source
from likewise.data.source import BrokenImage
from likewise.errors import InputError
from likewise.labelling.journal import Action, LabelJournal, checked_class
from likewise.labelling.page import PAGE, SCRIPT, STYLE

LOOPBACK = "127.0.0.1"
SIDES = {"small": 320, "large": 1600}
"""Pixels of the long side at most."""
_LARGEST_REQUEST = 1 << 20
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_STATIC = {
    "/": (PAGE, "text/html; charset=utf-8"),
    "/page.css": (STYLE, "text/css; charset=utf-8"),
    "/page.js": (SCRIPT, "text/javascript; charset=utf-8"),
}
_IMAGE = re.compile(r"/image/(small|large)/(\d+)")


class LabelSession:
    """A list that is being labelled: what the server hands out, and how it is changed."""

    def __init__(
        self,
        source: Source,
        grouped: list[list[int]],
        names: list[str],
        journal: LabelJournal,
        save: Callable[[], None],
    ) -> None:
        """`names` (N,) are shown with the images; `save` writes the list of labels."""
        self.source, self.groups, self.names, self.journal = source, grouped, names, journal
        self._save = save
        self._lock = threading.Lock()
        self.image = lru_cache(maxsize=400)(self._image)

    def state(self) -> dict[str, Any]:
        """The variable state of the page."""
        with self._lock:
            return self._state()

    def _state(self) -> dict[str, Any]:
        labels = self.journal.labels
        now = labels.now()
        given = {str(row): name for row, name in now.items() if name is not None}
        skipped = [row for row, name in now.items() if name is None]
        return {"revision": labels.revision, "classes": labels.classes, "labels": given, "skipped": skipped}

    def facts(self) -> dict[str, Any]:
        """The constant facts of the page."""
        return {"name": self.source.name, "groups": self.groups, "names": self.names}

    def act(self, asked: Any) -> dict[str, Any]:
        """Do what a key asks for, on the disk before this returns. Raises InputError for what cannot be."""
        if not isinstance(asked, dict):
            raise InputError("an action is an object")
        name, tab, kind = (asked.get(key) for key in ("id", "tab", "kind"))
        if not (isinstance(name, str) and isinstance(tab, str) and name and tab):
            raise InputError("an action has an id and a tab")
        with self._lock:
            touched: tuple[int, ...] = ()
            if kind == "undo":
                touched = self.journal.undo(name, tab)
            elif kind in {"label", "skip"}:
                rows = asked.get("rows")
                count = self.journal.labels.count
                if not isinstance(rows, list) or not rows or not all(_is_row(row, count) for row in rows):
                    raise InputError(f"rows are whole numbers from 0 to {count - 1}")
                classes, wanted = self.journal.labels.classes, str(asked.get("label") or "")
                label = None if kind == "skip" else checked_class(wanted, classes)
                touched = tuple(dict.fromkeys(rows))
                self.journal.act(Action(name, tab, touched, label))
            else:
                raise InputError(f"unknown action {kind!r}: allowed are label, skip, undo")
            self._save()
            return {**self._state(), "touched": list(touched)}

    def _image(self, row: int, size: str) -> tuple[bytes, str]:
        """One image as the browser takes it, and its type. Raises BrokenImage."""
        image = Image.fromarray(self.source.read(row, SIDES[size] if size == "small" else None))
        image.thumbnail((SIDES[size], SIDES[size]), Image.Resampling.LANCZOS)
        written = io.BytesIO()
        lossless = max(image.size) <= 128  # small images show what JPEG does to them
        image.save(written, "PNG" if lossless else "JPEG", **({} if lossless else {"quality": 90}))
        return written.getvalue(), "image/png" if lossless else "image/jpeg"


def _is_row(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


class Server(ThreadingHTTPServer):
    """A server of one session on the loopback address."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, session: LabelSession, port: int) -> None:
        """Listen on `port`, or on a free one where it is 0. Raises OSError where the port is taken."""
        super().__init__((LOOPBACK, port), _Handler)
        self.session = session

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed while it was being answered is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """The URL to open."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 60

    def do_GET(self) -> None:  # the library's name
        """The page, the list, the state, or an image."""
        if not self._is_ours():
            return
        where = urlsplit(self.path)
        found = _IMAGE.fullmatch(where.path)
        if where.path in _STATIC:
            text, kind = _STATIC[where.path]
            self._send(text.encode(), kind)
        elif where.path == "/list":
            self._send_json(self.server.session.facts())
        elif where.path == "/state":
            state = self.server.session.state()
            known = parse_qs(where.query).get("revision", [""])[0]
            self._send_json(None if known == str(state["revision"]) else state)
        elif found and int(found[2]) < len(self.server.session.names):
            self._image(int(found[2]), found[1])
        else:
            self._fail(HTTPStatus.NOT_FOUND, "there is nothing here")

    def do_POST(self) -> None:  # the library's name
        """A key that changes something."""
        length = self.headers.get("Content-Length", "")
        self.close_connection = True  # until the body has been read
        if not self._is_ours():
            return
        origin = self.headers.get("Origin")
        if self.path != "/act" or self.headers.get_content_type() != "application/json":
            self._fail(HTTPStatus.NOT_FOUND, "there is nothing here")
        elif origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
            self._fail(HTTPStatus.FORBIDDEN, "this page takes keys from itself alone")
        elif not length.isdigit() or int(length) > _LARGEST_REQUEST:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "that is too much for one key")
        else:
            body = self.rfile.read(int(length))
            self.close_connection = False
            try:
                answer = self.server.session.act(json.loads(body))
            except InputError as error:
                self._fail(HTTPStatus.BAD_REQUEST, str(error))
            except ValueError:
                self._fail(HTTPStatus.BAD_REQUEST, "that is no JSON")
            except OSError as error:
                self._fail(HTTPStatus.INSUFFICIENT_STORAGE, f"not saved: {error.strerror or error}")
            else:
                self._send_json(answer)

    def _is_ours(self) -> bool:
        """Whether the request is addressed to this machine by name; another site's name could be made to lead here."""
        port = self.server.server_address[1]
        if self.headers.get("Host") in {f"{LOOPBACK}:{port}", f"localhost:{port}"}:
            return True
        self._fail(HTTPStatus.FORBIDDEN, f"open http://{LOOPBACK}:{port}/")
        return False

    def _image(self, row: int, size: str) -> None:
        try:
            content, kind = self.server.session.image(row, size)
        except BrokenImage as error:
            self._fail(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        else:
            self._send(content, kind, cache="private, max-age=3600")

    def _send_json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _fail(self, status: HTTPStatus, why: str) -> None:
        self._send(json.dumps({"error": why}).encode(), "application/json", status)

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, cache: str = "no-store") -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Cache-Control": cache}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing: the terminal belongs to the person."""
