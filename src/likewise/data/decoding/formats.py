"""Recognition of image files by their first bytes, and opening them with Pillow."""

from __future__ import annotations

import functools
import importlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec

from PIL import Image

from likewise.data.decoding.decoded import BrokenImage

HEIC = frozenset({".heic", ".heif", ".hif"})
"""Endings of what phones write, which is read where the package pillow-heif is installed."""
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF")
_STARTS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  \r\n\x87\n"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
HEAD = 16
"""Bytes at the start of a file that `starts_like_image` wants."""
LARGEST = 500_000_000
"""Pixels of the largest image that is decoded; beyond lies what is made to exhaust memory."""
_LARGE = 50_000_000
_ORIENTATION = 0x0112
_EXIF_KEYS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
_opening = threading.Lock()
_one_large = threading.Lock()


def reads_heic() -> bool:
    """Whether pillow-heif is installed."""
    return find_spec("pillow_heif") is not None


def is_heic(head: bytes) -> bool:
    """Whether these are the first bytes of a HEIC or HEIF file."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def starts_like_image(head: bytes) -> bool:
    """Whether a file that starts with these bytes holds an image that can be read; for files without an ending.

    Formats whose first bytes could as well be text (BMP, PPM) are not recognised.
    """
    if head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    return (head[4:12] in {b"ftypavif", b"ftypavis"} and "AVIF" in _formats()) or (is_heic(head) and reads_heic())


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow has. Others, such as EPS, would start programs or are no photographs."""
    Image.init()
    if reads_heic():
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def open_image(data: bytes) -> Image.Image:
    """An encoded image as Pillow opens it: the header is read, nothing is decoded. Raises what Pillow raises."""
    # Pillow's own limit is one number for the whole process, and lower than large scans. It is lifted for this call
    # and no longer; `within_reason` applies ours, which counts the pixels that are really decoded.
    formats = _formats()
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def within_reason(width: int, height: int) -> Iterator[None]:
    """For decoding so many pixels. Raises BrokenImage where there are none, or too many for any memory."""
    if width < 1 or height < 1:
        raise BrokenImage(f"no pixels: {width} x {height}")
    if width * height > LARGEST:
        raise BrokenImage(f"{width} x {height} pixels: more than {LARGEST // 10**6} million are not decoded")
    # One at a time: as many as there are threads could need more memory than there is.
    with _one_large if width * height > _LARGE else nullcontext():
        yield


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read."""
    if image.format != "TIFF" and not any(key in image.info for key in _EXIF_KEYS):
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  # damaged metadata raise anything, and the image itself may be whole
        return 1
