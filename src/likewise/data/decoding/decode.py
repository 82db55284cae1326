"""Decoding of an image to RGB pixels: every mode that Pillow opens, upright, on white, in sRGB."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from likewise.data.decoding import tiff
from likewise.data.decoding.colours import to_srgb
from likewise.data.decoding.deep import StoredPixels, depth_of, stored_by_pillow, stored_in
from likewise.data.decoding.formats import HEIC, is_heic, open_image, orientation_of, reads_heic, within_reason
from likewise.data.decoding.ranges import Found, Spans
from likewise.data.source import BrokenImage, ImageInfo, Pixels, is_grey

EXTENSIONS = frozenset(
    f".{ending}"
    for ending in (
        *("png", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "gif", "bmp", "dib"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "avif"),
    )
) | (HEIC if reads_heic() else frozenset())
"""Endings of the files that a folder is searched for, in lower case."""
_REDUCED = ("JPEG", "MPO")  # formats that `decode` may read at a fraction of their size
_REREAD = ("PNG", "TIFF", "PPM")  # formats of which Pillow may hold less than the file has
_LOOK_SIDE = 128
_PNG_BITS, _PNG_COLOUR = 24, 25
"""Bytes of a PNG file that hold the depth and the kind of its pixels."""


def decode(data: bytes, short_side: int | None = None, spans: Spans | None = None) -> Pixels:
    """An encoded image as (H, W, 3) uint8 RGB; of several frames the first.

    With `short_side`, JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves at least twice as many pixels
    as asked for. `spans` are the ranges of its source for images of more than 8 bits a channel; without, such an image
    has its own. Raises BrokenImage.
    """
    with _reasons(data):
        stored = stored_in(data)
        if stored is not None:
            return _turned(stored, spans)
        image = open_image(data)
        if short_side is not None:
            image.draft(None, (2 * short_side, 2 * short_side))  # None keeps the mode
        _mend(image, data)
        return _pixels(image, spans)


def look_at(data: bytes, spans: Spans | None = None) -> ImageInfo:
    """Size, colour and format of an encoded image, decoding no more than shows whether it is whole."""
    pixels = decode(data, _LOOK_SIDE, spans)
    height, width = pixels.shape[:2]
    layout = tiff.layout_of(io.BytesIO(data))
    if layout is not None and layout.is_deep:  # of some of these Pillow does not even read the header
        return ImageInfo(height, width, is_grey(pixels), "TIFF")
    with _reasons(data):
        image = open_image(data)
        if image.format in _REDUCED:
            width, height = image.size
            if orientation_of(image) > 4:
                width, height = height, width
    return ImageInfo(height, width, is_grey(pixels), image.format or "unknown")


def is_image(data: bytes) -> bool:
    """Whether some bytes begin as an image in a known format does."""
    try:
        with _reasons(data):
            open_image(data)
    except BrokenImage:
        return False
    return True


def from_pil(image: Image.Image, spans: Spans | None = None, short_side: int | None = None) -> Pixels:
    """A Pillow image as (H, W, 3) uint8 RGB; one that was opened and not loaded is read as `decode` reads it.

    Raises BrokenImage.
    """
    data = _unread(image, _REREAD if short_side is None else (*_REREAD, *_REDUCED))
    if data is not None:
        return decode(data, short_side, spans)
    with _reasons(b"\0"):
        return _pixels(image, spans)


def extremes_in(data: bytes) -> Found:
    """Smallest and largest number of an encoded image of more than 8 bits a channel; nothing for others, and damage."""
    try:
        with _reasons(data):
            if depth_of(io.BytesIO(data)) is None:
                return {}
            stored = stored_in(data)
            if stored is None:
                stored = _deep_by_pillow(open_image(data))
            return stored.extremes() if stored is not None else {}
    except BrokenImage:  # it is listed as broken when it is decoded
        return {}


def extremes_in_pil(image: Image.Image) -> Found:
    """The same for a Pillow image."""
    data = _unread(image, _REREAD)
    if data is not None:
        return extremes_in(data)
    stored = stored_by_pillow(image)
    return stored.extremes() if stored is not None else {}


def _unread(image: Image.Image, formats: Sequence[str]) -> bytes | None:
    """The file of an image of these formats that was opened and not loaded, where `decode` sees more than Pillow.

    None of an image whose later pages were turned to: `decode` takes the first.
    """
    file = getattr(image, "fp", None)
    if image.format not in formats or file is None or not getattr(image, "tile", None) or image.tell():
        return None
    place = file.tell()
    file.seek(0)
    data: bytes = file.read()
    file.seek(place)
    return None if image.format in _REREAD and depth_of(io.BytesIO(data)) is None else data


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
        if is_heic(start) and not reads_heic():
            reason = "HEIC, which the package pillow-heif reads: pip install pillow-heif"
            raise BrokenImage(reason, passing=True) from error
        text = start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start)
        raise BrokenImage("text, not an image" if text else "not an image in a known format") from error
    except MemoryError as error:
        raise BrokenImage("too large for the memory", passing=True) from error
    except Exception as error:  # a decoder fed with damage raises whatever it stumbles over
        reason = one_line(error)
        raise BrokenImage("truncated: " * ("truncated" in reason) + reason) from error


def _turned(stored: StoredPixels, spans: Spans | None) -> Pixels:
    pixels = stored.shown(spans or Spans(stored.extremes))
    return np.ascontiguousarray(_upright(pixels, stored.orientation))


def _deep_by_pillow(image: Image.Image) -> StoredPixels | None:
    with within_reason(*image.size):
        image.load()
        return stored_by_pillow(image)


def _mend(image: Image.Image, data: bytes) -> None:
    """Put right what Pillow misunderstands in the header of an image that it opened."""
    if image.format == "PNG" and isinstance(image.info.get("transparency"), int) and data[_PNG_COLOUR] == 0:
        image.info["transparency"] *= 255 // (2 ** data[_PNG_BITS] - 1)  # it scales the shades, and not this one
    if image.format == "TIFF" and image.mode in {"P", "PA"}:
        layout = tiff.layout_of(io.BytesIO(data))
        palette = layout.short_palette if layout is not None else None
        if palette is not None:
            image.load()
            image.putpalette(palette)


def _pixels(image: Image.Image, spans: Spans | None) -> Pixels:
    with within_reason(*image.size):
        image.load()
        orientation = orientation_of(image)  # after loading: PNG may say it behind the pixels, TIFF has been turned
        stored = stored_by_pillow(image)
        if stored is not None:
            return _turned(stored._replace(orientation=orientation), spans)
        return np.ascontiguousarray(_upright(_rgb(image), orientation))


def _rgb(image: Image.Image) -> Pixels:
    """Pixels of a loaded image of any mode of 8 bits."""
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        turned = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
        return np.asarray(turned)
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK":
        image = to_srgb(image, profile)
    if image.mode != "RGB" or "transparency" in image.info:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    return np.asarray(to_srgb(image, profile))


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo the rotation and mirroring that an EXIF orientation stands for (Exif 2.32, section 4.6.4)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels
