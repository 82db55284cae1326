"""Images of more than 8 bits a channel: the stored numbers, before a range is chosen for them.

Pillow keeps the upper byte of 16-bit colour, forgets that 0 may be white, and knows no transparent shade of 16 bits.
So PNG, PNM and TIFF of that kind are read here, where Pillow does no more than to unpack them.
"""

from __future__ import annotations

import io
import re
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.data.decoding import tiff
from likewise.data.decoding.decoded import BrokenImage, Pixels
from likewise.data.decoding.formats import open_image, orientation_of, within_reason
from likewise.data.decoding.pixels import as_rgb, channels_last, to_uint8
from likewise.data.decoding.ranges import WIDE, Found, Spans, extremes_of, merged

Depth = Literal["short", "other"]
"""Of whole numbers of at most 16 bits, none negative; or any others."""
ENDINGS = frozenset({".png", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jp2", ""})
"""Of the files that may hold such images; other formats have 8 bits, or are reduced to them as they declare."""
_PNM = re.compile(rb"P([2356])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")
_HEADER = 512


class StoredPixels(NamedTuple):
    """The numbers of one image."""

    values: NDArray[Any]
    """(H, W, 1|3) shades, any numeric type."""
    opaque: NDArray[np.float32] | None = None
    """(H, W, 1) from 0, transparent, to 1; None where everything is opaque."""
    multiplied: bool = False
    """Whether `opaque` is in `values` already."""
    inverted: bool = False
    """Whether the lowest number is white."""
    declared: bool = False
    """Whether the file says what is white; it is then 65535 in `values`."""
    orientation: int = 1
    """As in EXIF, 1 to 8."""

    def extremes(self) -> Found:
        """Smallest and largest shade."""
        found = extremes_of(self.values)
        return merged([found, {"whole": WIDE}]) if self.declared else found

    def shown(self, spans: Spans) -> Pixels:
        """The image in the range of its source, on white, not turned yet. Raises BrokenImage."""
        if self.values.dtype.kind == "f" and not np.isfinite(self.values).any():
            raise BrokenImage("no finite values")
        shades = to_uint8(self.values, spans.of(self.values))
        if self.inverted:
            shades = 255 - shades
        if self.opaque is not None:
            own = shades if self.multiplied else shades * self.opaque
            shades = np.clip(np.rint(own + 255.0 * (1.0 - self.opaque)), 0, 255).astype(np.uint8)
        return as_rgb(shades)


def depth_of(file: BinaryIO) -> Depth | None:
    """The bit depth of an open file, by its header alone; None where its shades have 8 bits or it is damaged.

    It may turn out that there is no such image after all. Raises OSError.
    """
    head = file.read(_HEADER)
    if head[:2] in {b"II", b"MM"}:
        file.seek(0)
        try:
            layout = tiff.layout_of(file)
        except BrokenImage:
            return None
        if layout is None or not layout.is_deep:
            return None
        return "short" if layout.format == "u" and layout.bits <= 16 else "other"
    pnm = _PNM.match(head)
    jpeg2000 = b"jP  " in head[:12] and (place := head.find(b"ihdr")) > 0 and (head[place + 14 : place + 15] or b"0")[0]
    deep = (head.startswith(b"\x89PNG") and head[24:25] == b"\x10") or (pnm is not None and int(pnm[4]) > 255)
    return "short" if deep or (jpeg2000 and jpeg2000 & 127 > 7) else None


def stored_in(data: bytes) -> StoredPixels | None:
    """The numbers of an encoded image of more than 8 bits; None where Pillow reads it rightly by itself."""
    if data[:2] in {b"II", b"MM"}:
        layout = tiff.layout_of(io.BytesIO(data))
        if layout is not None and layout.misread is not None:
            raise BrokenImage(layout.misread)
        return _tiff(data, layout) if layout is not None and layout.is_deep else None
    if data[:4] == b"\x89PNG" and data[24:25] == b"\x10":
        return _png(data)
    pnm = _PNM.match(data[:_HEADER])
    return _pnm(data, pnm) if pnm is not None and int(pnm[4]) > 255 else None


def stored_by_pillow(image: Image.Image) -> StoredPixels | None:
    """The numbers of a loaded Pillow image of a mode with more than 8 bits, which are all grey; None for others."""
    if image.mode not in {"I", "F"} and not image.mode.startswith("I;16"):
        return None
    return StoredPixels(channels_last(np.asarray(image)))


# Formats -----------------------------------------------------------------------------------------------------------


def _tiff(data: bytes, layout: tiff.Layout) -> StoredPixels:
    values = tiff.samples(data, layout)
    shades = values[..., : layout.colours]
    opaque = None
    if layout.alpha in {1, 2}:
        opaque = _share(values[..., layout.colours : layout.colours + 1], shades)
    return StoredPixels(shades, opaque, layout.alpha == 1, layout.is_inverted, orientation=layout.orientation)


def _share(alpha: NDArray[Any], shades: NDArray[Any]) -> NDArray[np.float32]:
    """Opacity from 0 to 1. Cameras of 12 bits write it in 12 bits, too."""
    full = 1.0
    if alpha.dtype.kind != "f":
        bits = 8 * alpha.itemsize
        largest = max(int(alpha.max(initial=1)), int(shades.max(initial=1)))
        full = next(2.0**depth - 1 for depth in (8, 10, 12, 14, bits) if largest < 2**depth or depth == bits)
    share: NDArray[np.float32] = np.nan_to_num(alpha.astype(np.float32) / np.float32(full))
    return share.clip(0.0, 1.0)


def _png(data: bytes) -> StoredPixels:
    """PNG of 16 bits. Pillow is asked for the upper bytes and for the lower ones, since it holds 8 bits of colour."""
    kind = data[25]
    image = open_image(data)
    transparent = image.info.get("transparency")
    if kind == 4:  # grey and opacity: four bytes, which it takes for four channels
        both = _loaded(image, "RGBA", "RGBA").astype(np.uint16)
        values: NDArray[Any] = (both[..., 0::2] << 8) | both[..., 1::2]
    elif kind in {2, 6}:
        mode = "RGB" if kind == 2 else "RGBA"
        upper = _loaded(image, mode, f"{mode};16B").astype(np.uint16)
        values = (upper << 8) | _loaded(open_image(data), mode, f"{mode};16L")
    else:
        with within_reason(*image.size):
            image.load()
            values = np.asarray(image).astype(np.uint16)[..., None]
        transparent = image.info.get("transparency", transparent)
    orientation = orientation_of(image)
    if kind in {4, 6}:
        return StoredPixels(values[..., :-1], _share(values[..., -1:], values[..., :-1]), orientation=orientation)
    opaque = None
    if transparent is not None:
        opaque = (values != np.asarray(transparent)).any(axis=2, keepdims=True).astype(np.float32)
    return StoredPixels(values, opaque, orientation=orientation)


def _loaded(image: Image.Image, mode: str, raw: str) -> NDArray[np.uint8]:
    """The pixels of an image that was opened and not loaded, unpacked as `raw` into `mode`."""
    image._mode = mode  # PNG's own decoder has no other way to be asked for this
    image.tile = [tile._replace(args=raw) for tile in image.tile]  # type: ignore[attr-defined]
    with within_reason(*image.size):
        image.load()
        return np.asarray(image)


def _pnm(data: bytes, header: re.Match[bytes]) -> StoredPixels:
    channels = 3 if header[1] in b"36" else 1
    width, height, white = (int(header[group]) for group in (2, 3, 4))
    count = width * height * channels
    as_text = data[header.end() :].split()[:count] if header[1] in b"23" else None
    if white > 65535 or (len(data) - header.end() < 2 * count if as_text is None else len(as_text) < count):
        raise BrokenImage("truncated: fewer pixels than the header says")
    flat = np.frombuffer(data, ">u2", count, header.end()) if as_text is None else np.array(as_text, np.uint16)
    values = flat.reshape(height, width, channels)
    if white == 65535:
        return StoredPixels(values)
    scaled = (values.astype(np.uint64) * 65535 + white // 2) // white
    return StoredPixels(scaled.clip(0, 65535).astype(np.uint16), declared=True)
