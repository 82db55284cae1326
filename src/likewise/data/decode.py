"""From an encoded picture to pixels: every mode that Pillow opens, upright, on white, in RGB."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from likewise.data.pixels import as_rgb, channels_last, range_of, to_uint8
from likewise.data.source import BrokenImage, Look, Pixels, is_grey

EXTENSIONS = frozenset(
    f".{ending}"
    for ending in (
        *("png", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "gif", "bmp", "dib"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "avif"),
    )
)
"""Endings of the files that a folder is searched for, in lower case."""
LARGEST = 500_000_000
"""Pixels of the largest picture that is decoded; beyond lies what is made to exhaust memory."""
_LARGE = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF")
_REDUCED = ("JPEG", "MPO")  # formats that `decode` may read at a fraction of their size
_ORIENTATION = 0x0112
_EXIF_KEYS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
_LOOK_SIDE = 128

_opening = threading.Lock()
_one_large = threading.Lock()


def decode(data: bytes, short_side: int | None = None) -> Pixels:
    """An encoded picture as (H, W, 3) uint8 RGB; of several frames the first.

    With `short_side`, JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least twice as many pixels
    as asked for. Raises BrokenImage.
    """
    with _reasons(data):
        image = _open(data)
        if short_side is not None:
            image.draft(None, (2 * short_side, 2 * short_side))  # None keeps the mode
        return _pixels(image)


def look_at(data: bytes) -> Look:
    """Size, colour and format of an encoded picture, decoding no more than shows whether it is whole."""
    with _reasons(data):
        image = _open(data)
        width, height = image.size
        if _orientation(image) > 4:
            width, height = height, width
    pixels = decode(data, _LOOK_SIDE)
    if image.format not in _REDUCED:
        height, width = pixels.shape[:2]
    return Look(height, width, is_grey(pixels), image.format or "unknown")


def is_image(data: bytes) -> bool:
    """Whether some bytes begin as an image in a known format does."""
    try:
        with _reasons(data):
            _open(data)
    except BrokenImage:
        return False
    return True


def from_pil(image: Image.Image) -> Pixels:
    """An opened Pillow image as (H, W, 3) uint8 RGB. Raises BrokenImage."""
    with _reasons(b"\0"):
        return _pixels(image)


def one_line(error: BaseException) -> str:
    """The first line of an error's text, shortened, or its type where it has none."""
    text = str(error).strip().split("\n", maxsplit=1)[0]
    return (text[:117] + "..." if len(text) > 120 else text) or type(error).__name__


@contextmanager
def _reasons(data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises into a BrokenImage that a person understands."""
    if not data:
        raise BrokenImage("empty file")
    try:
        yield
    except BrokenImage:
        raise
    except UnidentifiedImageError as error:
        start = data[:64]
        text = start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start)
        raise BrokenImage("text, not a picture" if text else "not a picture in a known format") from error
    except MemoryError as error:
        raise BrokenImage("too large for the memory") from error
    except Exception as error:  # a decoder fed with damage raises whatever it stumbles over
        reason = one_line(error)
        raise BrokenImage("truncated: " * ("truncated" in reason) + reason) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow has. Others, such as EPS, would start programs or are no photographs."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _open(data: bytes) -> Image.Image:
    """Read the header only."""
    # Pillow's own limit is one number for the whole process, and lower than large scans. It is lifted for this call
    # and no longer; `_pixels` applies ours, which counts the pixels that are really decoded.
    formats = _formats()
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _pixels(image: Image.Image) -> Pixels:
    width, height = image.size
    if width < 1 or height < 1:
        raise BrokenImage(f"no pixels: {width} x {height}")
    if width * height > LARGEST:
        raise BrokenImage(f"{width} x {height} pixels: more than {LARGEST // 10**6} million are not decoded")
    # One at a time: as many as there are threads could need more memory than there is.
    with _one_large if width * height > _LARGE else nullcontext():
        image.load()
        orientation = _orientation(image)  # after loading: PNG may say it behind the pixels, TIFF has been turned
        return np.ascontiguousarray(_upright(_rgb(image), orientation))


def _rgb(image: Image.Image) -> Pixels:
    """Pixels of a loaded image of any mode."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        values = channels_last(np.asarray(image))
        return as_rgb(to_uint8(values, range_of(values)))
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        turned = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
        return np.asarray(turned)
    if image.mode != "RGB" or "transparency" in image.info:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    return np.asarray(image)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read."""
    if image.format != "TIFF" and not any(key in image.info for key in _EXIF_KEYS):
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  # damaged metadata raise anything, and the picture itself may be whole
        return 1


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo the rotation and mirroring that an EXIF orientation stands for (Exif 2.32, section 4.6.4)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels
