"""The images of a collection: their names, pixels, features, and columns.

Shapes: N images, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from likewise.data import Images
from likewise.errors import InputError
from likewise.report.thumbnails import thumbnail

UNKNOWN = -1
"""The code of an image of which a column says nothing."""


@dataclass(frozen=True)
class MapColumn:
    """One fact about every image: it is searched, written, and may give the points their colours."""

    name: str
    """As in the Parquet table."""
    title: str
    """For people."""
    values_N: NDArray[np.int64] | NDArray[np.float32] | NDArray[np.float64]
    """(N,) codes into `categories`, -1 where unknown; or numbers, NaN where unknown."""
    categories: tuple[str, ...] | None = None
    """What the codes stand for; None for numbers."""

    @property
    def kind(self) -> Literal["category", "number"]:
        """Whether the values are codes or numbers."""
        return "number" if self.categories is None else "category"

    def texts(self) -> list[str | None]:
        """The value of each image in words, None where unknown; only for categories."""
        assert self.categories is not None
        return [self.categories[code] if code >= 0 else None for code in self.values_N.astype(np.int64)]


def written(name: object) -> str:
    """A name as text that can be written; files may be called by bytes that are none."""
    return str(name).encode("utf-8", "replace").decode()


def categorised(name: str, title: str, texts: Sequence[str | None]) -> MapColumn:
    """A column of words, empty or None where unknown; the categories in alphabetical order."""
    said = [written(text) if text else None for text in texts]
    categories = sorted({text for text in said if text})
    code = {text: number for number, text in enumerate(categories)}
    values_N = np.array([code[text] if text else UNKNOWN for text in said], np.int64)
    return MapColumn(name, title, values_N, tuple(categories))


@dataclass(frozen=True)
class Collection:
    """N images with their features (N, F) and columns. Raises InputError where the lengths differ or N is below 2."""

    title: str
    """What the data is called."""
    parts: tuple[Images, ...]
    """The images, one part a split."""
    features_NF: Tensor
    """(N, F) float32 on the CPU."""
    paths: tuple[str | None, ...]
    """(N,) the file of each image, None where it is not a file of its own."""
    columns: tuple[MapColumn, ...] = ()
    """What is known of the images."""
    left_out: int = 0
    """Images of the data that are not in the collection because it would be too large."""
    broken: int = 0
    """Images of the data that could not be read."""
    names: tuple[str, ...] = field(init=False)
    """(N,) as the data names them."""

    def __post_init__(self) -> None:
        names = tuple(written(name) for part in self.parts for name in part.names)
        object.__setattr__(self, "names", names)
        if len(names) < 2:
            raise InputError(f"{self.title} has {len(names)} image: a map needs at least 2")
        lengths = {len(self.features_NF), len(self.paths), *(len(column.values_N) for column in self.columns)}
        if lengths != {len(names)}:
            raise InputError(f"{len(names)} images, and features, paths or columns of {sorted(lengths)}: one row each")

    def __len__(self) -> int:
        return len(self.names)

    def thumbnail(self, position: int, side: int) -> Image.Image:
        """The middle square of one image, `side` pixels wide."""
        for part in self.parts:
            if position < len(part):
                return thumbnail(part, position, side)
            position -= len(part)
        raise IndexError(position)

    def digests(self) -> NDArray[np.uint64]:
        """(N,) equal for images whose pixels are equal."""
        return np.concatenate([part.digests for part in self.parts])

    def shortest_side(self) -> int:
        """Pixels of the short side of an image, the median over all."""
        return int(np.median(np.concatenate([part.sizes.min(axis=1) for part in self.parts])))

    def column(self, name: str) -> MapColumn | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)
