"""Texts that accompany images: captions of a column, one a line, each different one stored once.

A column says one text for each image (`likewise.data.source.Column`). A text of several lines is several captions of
its image; empty lines are none. Lists of texts in a Parquet file become lines when they are read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.source import Column


class Texts(NamedTuple):
    """The captions of a column: C codes of texts, U different captions, M of them in all texts together."""

    strings: tuple[str, ...]
    """(U,) each different caption."""
    first_C: NDArray[np.int64]
    """Where the captions of each text begin in `rows_M`."""
    count_C: NDArray[np.int64]
    """How many captions each text has; 0 for one that is blank."""
    rows_M: NDArray[np.int64]
    """Positions in `strings`, the captions of each text together."""

    def of(self, code: int) -> tuple[str, ...]:
        """The captions of one text; none for the code -1."""
        if code < 0:
            return ()
        first = int(self.first_C[code])
        return tuple(self.strings[row] for row in self.rows_M[first : first + int(self.count_C[code])])


def texts_of(column: Column) -> Texts:
    """The captions of a column. Whole numbers are texts as they are written."""
    names = column.names
    if names is None:
        names = tuple(map(str, range(int(column.values.max(initial=-1)) + 1)))
    lines = [[line.strip() for line in name.splitlines() if line.strip()] for name in names]
    number: dict[str, int] = {}
    rows = [number.setdefault(line, len(number)) for each in lines for line in each]
    count_C = np.array([len(each) for each in lines], np.int64)
    return Texts(tuple(number), np.cumsum(count_C) - count_C, count_C, np.array(rows, np.int64))


def with_text(column: Column) -> NDArray[np.bool_]:
    """(N,) which images have a caption."""
    count_C = np.append(texts_of(column).count_C, 0)  # the last for -1
    return np.asarray(count_C[column.values] > 0)
