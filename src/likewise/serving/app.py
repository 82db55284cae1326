"""The server of an index: search by an image, a row or words, as JSON and as a small page.

It answers with what is in the index and nothing else: images are asked for by id, so that no path of the machine can
be named. Each request looks at the newest version of the index, which may be written to meanwhile.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from likewise.errors import InputError, LikewiseError, missing
from likewise.index import Index
from likewise.index.answers import Answer, WordSearch, answers
from likewise.serving.client import PAGE
from likewise.serving.limits import (
    LOOPBACK,
    Limits,
    Refused,
    body_of,
    check_token,
    image_of,
    is_text,
    text_of,
    whole_number,
)
from likewise.serving.openapi import description
from likewise.serving.pages import thumbnail
from likewise.serving.together import Together

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_NO_ROW = "the index has no such row"


def application(
    index: Index, *, token: str | None = None, limits: Limits | None = None, run: str | Path | None = None
) -> Starlette:
    """An ASGI application that serves `index`. Raises InputError without the extra `serve`.

    `run` is the run that reads words, by default the one that the index was made with.
    Without a `token` it answers only requests to names of this machine (127.0.0.1, localhost), so that no page of
    another site can ask it through a browser.
    """
    try:
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse, JSONResponse
        from starlette.routing import Route
    except ImportError as error:
        raise missing("starlette", "serve", "the server") from error
    limits = limits or Limits()
    service = _Service(index, limits, token, WordSearch(index, run))

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    async def document(_: Request) -> Response:
        return JSONResponse(description(limits, token=token is not None))

    def failed(_: Request, error: Exception) -> Response:
        status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "the request failed")
        headers = getattr(error, "headers", None)
        return JSONResponse({"error": str(detail)}, status_code=status, headers=headers)

    routes = [
        Route("/", _safely(page)),
        Route("/openapi.json", _safely(document)),
        Route("/health", _safely(service.health)),
        Route("/search", _safely(service.asked), methods=["GET"]),
        Route("/search", _safely(service.sent), methods=["POST"]),
        Route("/image", _safely(service.image)),
    ]
    hosts = [*LOOPBACK, "[::1]", "testserver"] if token is None else ["*"]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    return Starlette(routes=routes, middleware=[guard], exception_handlers={HTTPException: failed, 500: failed})


def _safely(answering: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """What goes wrong as JSON with its status, and the headers that keep a browser from more than it needs."""

    async def safe(request: Request) -> Response:
        from starlette.responses import JSONResponse

        try:
            response = await answering(request)
        except Refused as refused:
            response = JSONResponse({"error": str(refused)}, status_code=refused.status)
        except InputError as error:
            response = JSONResponse({"error": str(error)}, status_code=400)
        except LikewiseError as error:
            response = JSONResponse({"error": str(error)}, status_code=503)
        response.headers.update(_HEADERS)
        return response

    return safe


class _Kind(NamedTuple):
    """What questions have in common that are answered together."""

    by: Literal["row", "image", "text"]
    k: int
    where: str | None


class _Service:
    """The answers. Searches are found in one thread, those that wait together; all else in several of its own."""

    def __init__(self, index: Index, limits: Limits, token: str | None, words: WordSearch) -> None:
        self.index, self.limits, self.token, self._words = index, limits, token, words
        self._places: Any = None
        self._reads: tuple[str, bool] | None = None
        """Version of the index, and whether its run reads words."""
        self._looking = threading.Lock()
        """Held while the index is asked, so that nobody looks at another version of it meanwhile."""
        self._together: Together[_Kind, Any, Answer | None] = Together(self._answered, limits.together)

    async def health(self, request: Request) -> Response:
        """Rows and space, and whether it can be asked with words."""
        from starlette.responses import JSONResponse

        check_token(request, self.token)

        def look() -> dict[str, Any]:
            if self._looking.acquire(blocking=False):  # else it is looked at just now
                try:
                    self.index.refresh()
                finally:
                    self._looking.release()
            version = self.index.store.version
            if self._reads is None or self._reads[0] != version:
                self._reads = version, self._words.possible()
            return {"rows": len(self.index), "fingerprint": self.index.fingerprint, "words": self._reads[1]}

        return JSONResponse(await self._work(look))

    async def asked(self, request: Request) -> Response:
        """What is like a row, or fits words."""
        check_token(request, self.token)
        row, words = (request.query_params.get(name) for name in ("id", "text"))
        if bool(row) == bool(words):
            raise Refused(400, "name a row with id=, or words with text=")
        if words:
            return await self._search(request, "text", text_of(words, self.limits))
        return await self._search(request, "row", f"id:{row}")

    async def sent(self, request: Request) -> Response:
        """What is like an image, or fits words, in the body."""
        check_token(request, self.token)
        content = await body_of(request, self.limits)
        if is_text(request):
            return await self._search(request, "text", text_of(content, self.limits))
        return await self._search(request, "image", await self._work(lambda: image_of(content, self.limits)))

    async def image(self, request: Request) -> Response:
        """A small image of a row."""
        from starlette.responses import Response

        check_token(request, self.token)
        row = request.query_params.get("id")
        if not row:
            raise Refused(400, "name a row with id=")

        def look() -> bytes:
            held = self.index.row(row)
            found = None if held is None else thumbnail(held.path)
            if found is None:
                raise Refused(
                    404, "the index has no such row" if held is None else "the image of this row is not there"
                )
            buffer = io.BytesIO()
            found.save(buffer, "JPEG", quality=85)
            return buffer.getvalue()

        return Response(await self._work(look), media_type="image/jpeg", headers={"cache-control": "no-store"})

    async def _search(self, request: Request, by: Literal["row", "image", "text"], query: Any) -> Response:
        from starlette.responses import JSONResponse

        k = whole_number(request.query_params.get("k"), "k", 10, self.limits.most)
        kind = _Kind(by, k, request.query_params.get("where") or None)
        try:
            async with asyncio.timeout(self.limits.seconds):
                found = await self._together.ask(kind, query)
        except TimeoutError as error:
            raise self._late() from error
        if found is None:
            raise Refused(404, _NO_ROW)
        return JSONResponse(found.to_json())

    def _answered(self, kind: _Kind, queries: Sequence[Any]) -> Sequence[Answer | None]:
        """The answers to questions of one kind, of the index as it is now."""
        with self._looking:
            self.index.refresh()
            if kind.by == "text":
                return [self._words.answer(text, k=kind.k, where=kind.where) for text in queries]
            return answers(self.index, queries, k=kind.k, where=kind.where)

    def _late(self) -> Refused:
        return Refused(503, f"no answer within {self.limits.seconds:g} seconds")

    async def _work(self, look: Callable[[], Any]) -> Any:
        """The result of `look` in a thread. Raises Refused where it takes too long."""
        import anyio

        if self._places is None:
            self._places = anyio.CapacityLimiter(self.limits.at_once)
        try:
            with anyio.fail_after(self.limits.seconds):
                return await anyio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=self._places)
        except TimeoutError as error:
            raise self._late() from error
