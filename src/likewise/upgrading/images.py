"""The images of an index's rows, so that another encoder can embed them.

Shapes: N rows, B rows at once, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Source, cached_side, open_source
from likewise.data.decoding.pixels import Range
from likewise.data.source import BrokenImage
from likewise.encoders import Encoder
from likewise.encoders.embedding import rows, view_of
from likewise.errors import InputError
from likewise.index import Index
from likewise.index.embedding.embed import row_ids


class RowImages:
    """Locations of the rows' images, by their path or, where `data` is given, by their id in these data.

    `ranges` are what was black and white in the images that the encoder learned from, by unit.

    Raises InputError where no image can be found.
    """

    def __init__(self, index: Index, data: Any = None, ranges: Mapping[str, Range] | None = None) -> None:
        self._rows = _rows_of(index)
        self.ids = index.ids
        self.position_N: NDArray[np.int64]
        """(N,) position of each row's image in the source; -1 where there is none."""
        paths, split = index.paths, None
        if data is None and not any(path and Path(path).is_file() for path in paths):
            data, split = _said(index)
        if data is None:
            there = [number for number, path in enumerate(paths) if path and Path(path).is_file()]
            self.position_N = np.full(len(paths), -1, np.int64)
            self.position_N[there] = np.arange(len(there))
            self.source: Source = open_source([Path(paths[number]) for number in there]).shown_by(ranges or {})
        else:
            self.source = open_source(data, split=split).shown_by(ranges or {})
            place = {name: number for number, name in enumerate(row_ids(self.source))}
            self.position_N = np.array([place.get(one, -1) for one in self.ids], np.int64)
            if not (self.position_N >= 0).any():
                raise InputError(
                    f"none of the rows of {index.path}, such as {self.ids[0]!r}, is an image of {self.source.name}"
                )

    def are_of(self, index: Index) -> bool:
        """Whether no rows of the index were added, removed or changed since."""
        return bool(_rows_of(index).equals(self._rows))

    @property
    def missing(self) -> int:
        """Rows whose image is not there."""
        return int((self.position_N < 0).sum())


def _rows_of(index: Index) -> pa.Table:
    """What tells rows, and their images, from others."""
    return index.store.table().select(["id", "stamp"])


def _said(index: Index) -> tuple[str, str | None]:
    """The data and the split that all rows say they came from. Raises InputError where there are none, or several."""
    said: set[str] = set(index.store.table()["source"].to_pylist())
    text = said.pop() if len(said) == 1 else ""
    where, _, split = text.removesuffix("]").rpartition(" [") if text.endswith("]") else (text, "", "")
    if where and Path(where).exists():
        return where, split or None
    raise InputError(f"the images of {index.path} are not where its rows say: name the data they came from with --data")


class Looker:
    """An encoder's vectors of the images of rows; vectors that were computed before are not computed again."""

    def __init__(self, encoder: Encoder, images: RowImages) -> None:
        self.encoder, self.images = encoder, images
        self.known: dict[int, Tensor] = {}
        """Vectors by row."""
        self._side = cached_side(encoder.spec.image_size)

    def look(self, rows_B: Sequence[int]) -> tuple[list[int], Tensor]:
        """The rows among these whose image can be read, and their (B, D) vectors; not normalised."""
        wanted = [row for row in rows_B if row not in self.known and self.images.position_N[row] >= 0]
        if wanted:
            pixels = _Decoded(self.images.source, [int(self.images.position_N[row]) for row in wanted], self._side)
            view, order = view_of(self.encoder.spec), np.arange(len(pixels))
            for start, vectors_BD in rows(self.encoder, pixels, order, view) if len(pixels) else ():
                for offset, vector_D in enumerate(vectors_BD.float().cpu()):
                    self.known[wanted[pixels.kept[start + offset]]] = vector_D
        known = [row for row in rows_B if row in self.known]
        if not known:
            return [], torch.zeros(0, self.encoder.features)
        return known, torch.stack([self.known[row] for row in known])

    def forget(self, rows_B: Sequence[int]) -> None:
        """Give back the room of vectors that are written."""
        for row in rows_B:
            self.known.pop(row, None)


class _Decoded:
    """Images of a source, decoded now; those that cannot be read are left out."""

    def __init__(self, source: Source, positions: Sequence[int], side: int) -> None:
        from likewise.data.decoding.pixels import fit

        self.kept: list[int] = []
        """Which of the positions could be read."""
        self.images: list[NDArray[np.uint8]] = []
        for number, position in enumerate(positions):
            try:
                self.images.append(fit(source.read(position, side), side))
                self.kept.append(number)
            except BrokenImage:
                continue

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels (B, H, W, 3), padded to the largest, and sizes (B, 2)."""
        chosen = [self.images[place] for place in index.tolist()]
        sizes = torch.tensor([image.shape[:2] for image in chosen])
        height, width = sizes.max(0).values.tolist()
        pixels = torch.zeros(len(chosen), height, width, 3, dtype=torch.uint8)
        for row, image in enumerate(chosen):
            pixels[row, : image.shape[0], : image.shape[1]] = torch.tensor(image)
        return pixels, sizes
