"""Limits of the server: bodies and images of a bounded size, read and answered in a bounded time."""

from __future__ import annotations

import asyncio
import hmac
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from likewise.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that need no token: only programs of this machine reach them."""


@dataclass(frozen=True)
class Limits:
    """Limits of requests."""

    bytes: int = 20 << 20
    """Of an uploaded image."""
    pixels: int = 50_000_000
    """Of an uploaded image, by its header, before it is decoded."""
    characters: int = 4000
    """Of words."""
    seconds: float = 30.0
    """To read a request, and to answer it."""
    most: int = 100
    """Results of one answer."""
    at_once: int = 8
    """Images that are decoded at the same time; others wait."""
    together: int = 32
    """Searches that are answered together; others wait for the next turn."""


class Refused(Exception):
    """A request that is not answered, with its status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


async def body_of(request: Request, limits: Limits) -> bytes:
    """The body of a request. Raises Refused where it is too long or too slow."""
    from starlette.requests import ClientDisconnect

    stated = request.headers.get("content-length", "0")
    if not stated.isdigit() or int(stated) > limits.bytes:
        raise Refused(413, f"an image of more than {limits.bytes / 1e6:.0f} MB is not taken")
    parts, length = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                length += len(part)
                if length > limits.bytes:
                    raise Refused(413, f"an image of more than {limits.bytes / 1e6:.0f} MB is not taken")
                parts.append(part)
    except ClientDisconnect as error:
        raise Refused(400, "the request broke off") from error
    except TimeoutError as error:
        raise Refused(408, f"the request took more than {limits.seconds:g} seconds to arrive") from error
    return b"".join(parts)


def image_of(content: bytes, limits: Limits) -> Image.Image:
    """The image in some bytes, decoded. Raises Refused for what is none, and for more pixels than are taken."""
    if not content:
        raise Refused(400, "the request has no image: send one as its body")
    try:
        image = Image.open(io.BytesIO(content))
        _check_pixels(image, limits)
        image.load()
    except Image.DecompressionBombError as error:
        raise Refused(413, "the image has more pixels than are taken") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise Refused(415, "the body is no image that can be read") from error
    return image


def _check_pixels(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.pixels:
        raise Refused(413, f"an image of {image.width} x {image.height} pixels is not taken: {limits.pixels:,} are")


def is_text(request: Request) -> bool:
    """Whether the body of a request says that it holds words."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/plain"


def text_of(content: bytes | str, limits: Limits) -> str:
    """The words in some bytes. Raises Refused for bytes that are not UTF-8, and for more characters than are taken."""
    try:
        words = content.decode() if isinstance(content, bytes) else content
    except UnicodeDecodeError as error:
        raise Refused(400, "the words of the request are not UTF-8") from error
    if len(words) > limits.characters:
        raise Refused(413, f"words of {len(words):,} characters are not taken: {limits.characters:,} are")
    return words


def check_token(request: Request, token: str | None) -> None:
    """Raise Refused where a token is needed and the request has another or none."""
    if token is None:
        return
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer":
        given = request.query_params.get("token", "")
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise Refused(401, "a token is needed: send the header Authorization: Bearer TOKEN")


def whole_number(text: str | None, name: str, default: int, most: int) -> int:
    """A number from a query. Raises InputError for anything else."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise InputError(f"{name}={text[:20]!r}: allowed are 1 to {most}")
    return int(text)
