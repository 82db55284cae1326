"""Thumbnails embedded in the page: centre squares of the images, as data."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from likewise.data import Images
from likewise.report.markup import text

QUALITY = 82
LARGE = 192
"""Pixels of a thumbnail that can be opened larger, where the image has them."""


def thumbnail(images: Images, position: int, side: int) -> Image.Image:
    """The middle square of one image, `side` pixels wide."""
    pixels, sizes = images.gather(np.array([position]))
    height, width = (int(value) for value in sizes[0])
    drawn = Image.fromarray(pixels[0, :height, :width].numpy())
    edge = min(height, width)
    left, top = (width - edge) // 2, (height - edge) // 2
    return drawn.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))


def image(images: Images, position: int, shown: int, said: str) -> str:
    """An `img` element of one image, `shown` points wide, with the pixels to be opened larger; `said` is its text."""
    pixels = int(images.gather(np.array([position]))[1][0].min())
    source = data_uri(thumbnail(images, position, min(LARGE, max(shown, pixels))))
    return f'<img src="{source}" width="{shown}" height="{shown}" loading="lazy" alt="{text(said)}">'


def data_uri(drawn: Image.Image) -> str:
    """A JPEG as the address of itself."""
    buffer = io.BytesIO()
    drawn.convert("RGB").save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def sheet(images: Images, positions: Sequence[int] | npt.NDArray[np.int64], side: int, columns: int) -> Image.Image:
    """Thumbnails side by side in rows of `columns`, in the order of `positions`."""
    rows = max(1, -(-len(positions) // columns))
    page = Image.new("RGB", (columns * side, rows * side))
    for place, position in enumerate(positions):
        page.paste(thumbnail(images, int(position), side), (place % columns * side, place // columns * side))
    return page
