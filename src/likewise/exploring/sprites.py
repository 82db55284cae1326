"""Thumbnails in sheets: squares side by side, compressed together, as large as a budget of bytes allows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from likewise.data.source import spread
from likewise.exploring.collection import Collection

SIDES = (96, 64, 48, 32, 24, 16)
"""Pixels of a thumbnail that are tried, the largest first."""
SHEET = 1024
"""Pixels along a sheet at most."""
QUALITY = 72
_SAMPLE = 256
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SheetPlan:
    """Size of thumbnails, and their arrangement in sheets."""

    side: int
    """Pixels of a thumbnail."""
    count: int
    """Thumbnails in all."""
    estimate: int
    """Bytes of all sheets, as expected from a sample."""

    @property
    def across(self) -> int:
        """Thumbnails in a row of a sheet, and rows of a sheet."""
        return SHEET // self.side

    @property
    def sheets(self) -> int:
        """Number of sheets."""
        return -(-self.count // self.across**2)


def mime() -> str:
    """The format of the sheets: WebP where Pillow writes it, else JPEG."""
    return "image/webp" if features.check("webp") else "image/jpeg"


def plan(collection: Collection, budget: int) -> SheetPlan:
    """The largest thumbnails whose sheets take at most `budget` bytes, by a sample; the smallest where none fits.

    None is larger than the images themselves.
    """
    largest = collection.shortest_side()
    sides = [side for side in SIDES if side <= largest] or [SIDES[-1]]
    some = spread(len(collection), _SAMPLE)
    found = SheetPlan(sides[-1], len(collection), 0)
    for side in sides:
        size = len(encoded(_sheet(collection, some, side, SHEET // side))) * len(collection) // len(some)
        found = SheetPlan(side, len(collection), size)
        if size <= budget:
            break
    return found


def sheets(
    collection: Collection, slot_N: NDArray[np.int64], plan: SheetPlan, progress: Progress | None = None
) -> Iterator[bytes]:
    """The sheets of `plan`, encoded, one at a time; the thumbnail of image i lies at place `slot_N[i]`."""
    order, each = np.argsort(slot_N), plan.across**2

    def one(start: int) -> bytes:
        return encoded(_sheet(collection, order[start : start + each], plan.side, plan.across))

    with ThreadPoolExecutor(2, thread_name_prefix="likewise-sheets") as pool:
        for number, content in enumerate(pool.map(one, range(0, len(order), each))):
            if progress is not None:
                progress(min(len(order), (number + 1) * each), len(order))
            yield content


def encoded(sheet: Image.Image) -> bytes:
    """A sheet as a file."""
    buffer = io.BytesIO()
    if mime() == "image/webp":
        sheet.save(buffer, "WEBP", quality=QUALITY, method=3)
    else:
        sheet.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def _sheet(collection: Collection, positions: NDArray[np.int64], side: int, across: int) -> Image.Image:
    rows = max(1, -(-len(positions) // across))
    page = Image.new("RGB", (across * side, rows * side))
    for place, position in enumerate(positions):
        thumbnail = collection.thumbnail(int(position), side)
        page.paste(thumbnail, (place % across * side, place // across * side))
    return page
