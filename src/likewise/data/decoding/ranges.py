"""The range of values mapped to black and white in images beyond 0 to 255: one range for a whole source.

A range is settled from the smallest and the largest number in all images of a source, whatever their split, so that the
same number is the same grey in each of them. Whole numbers and fractions have a range each: they are other units.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.caching.places import cache_root
from likewise.data.decoding.decoded import BrokenImage
from likewise.data.decoding.pixels import Range, range_of, value_range
from likewise.data.fingerprints import digest

Kind = Literal["whole", "fraction"]
"""Units that are told apart: whole numbers and fractions."""
_NUMPY_KIND: Mapping[Kind, str] = {"whole": "i", "fraction": "f"}
_FILLED = 1 / 8
_CHUNK_BYTES = 64 << 20
_WIDE = 1 << 14  # from here on the range of unsigned numbers of 16 bits is 0 to 65535, whatever else is found
_WORTH_KEEPING_SECONDS = 0.5
_FORMAT = 1
_LOG = logging.getLogger(__name__)


class Extremes(NamedTuple):
    """The smallest and the largest number."""

    low: float
    high: float


WIDE = Extremes(0.0, 65535.0)
"""What is found where unsigned numbers of 16 bits fill their range, which is known without looking at all of them."""
Found = dict[Kind, Extremes]
"""The extremes of each unit that occurs; bytes and truth values need none."""


def kind_of(dtype: np.dtype[Any]) -> Kind | None:
    """The unit of an array; None where its numbers are shades already (bytes, truth values)."""
    if dtype.kind == "f":
        return "fraction"
    return "whole" if dtype.kind in "iu" and dtype != np.uint8 else None


def extremes_of(values: NDArray[Any]) -> Found:
    """The extremes of an array of any shape, read by stretches; none for bytes, and where no number is finite."""
    kind = kind_of(values.dtype)
    if kind is None or not values.size:
        return {}
    if not values.ndim:
        values = values[None]
    found: list[Found] = []
    rows = max(1, _CHUNK_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        part = np.asarray(values[start : start + rows])
        part = part[np.isfinite(part)] if kind == "fraction" else part
        if part.size:
            found.append({kind: Extremes(float(part.min()), float(part.max()))})
        if values.dtype == np.uint16 and is_wide(merged(found)):
            return {kind: WIDE}
    return merged(found)


def merged(found: Iterable[Found]) -> Found:
    """The extremes of several parts together."""
    whole: Found = {}
    for part in found:
        for kind, (low, high) in part.items():
            before = whole.get(kind, Extremes(low, high))
            whole[kind] = Extremes(min(before.low, low), max(before.high, high))
    return whole


def is_wide(found: Found) -> bool:
    """Whether more unsigned numbers of 16 bits cannot change the range of the whole numbers."""
    return "whole" in found and found["whole"].high >= _WIDE


class Spans:
    """The ranges of one source, found when they are wanted first."""

    def __init__(self, find: Callable[[], Found], wished: Mapping[str, Range] | None = None) -> None:
        """`find` looks through all images of the source. `wished`: ranges to prefer where they suit (see `fitting`)."""
        self._find = find
        self._wished = wished or {}
        self._settled: dict[Kind, Range] = {}
        self._ranges: dict[Kind, Range] | None = None
        self._lock = threading.Lock()

    def of(self, values: NDArray[Any]) -> Range:
        """The range of an array of the source.

        Raises BrokenImage where it was not looked at when ranges were found, and where none of its numbers is finite.
        """
        kind = kind_of(values.dtype)
        if kind is None:
            return range_of(values)
        found = self.ranges().get(kind)
        if values.dtype.kind == "f" and not np.isfinite(values).any():
            raise BrokenImage("no finite values")
        if found is None:
            raise BrokenImage("more than 8 bits a channel under the ending of a format that has 8")
        return found

    def ranges(self) -> Mapping[Kind, Range]:
        """The range of each unit; finds them where that was not done yet."""
        with self._lock:
            if self._ranges is None:
                found = self._find()
                own = {kind: self._range(kind, extremes) for kind, extremes in found.items()}
                self._ranges = {**own, **self._settled}
            return self._ranges

    @property
    def known(self) -> dict[str, Range]:
        """The ranges, where they were wanted by now."""
        return {str(kind): span for kind, span in (self._ranges or {}).items()}

    def wishing(self, wished: Mapping[str, Range]) -> Spans:
        """The same numbers, to be shown by other ranges where these suit."""
        return Spans(self._find, wished)

    def settled(self, ranges: Mapping[str, Range]) -> Spans:
        """The same numbers, to be shown by these ranges and no others; units that have none by their own."""
        spans = Spans(self._find, self._wished)
        spans._settled = {kind: ranges[kind] for kind in _NUMPY_KIND if kind in ranges}
        return spans

    def _range(self, kind: Kind, found: Extremes) -> Range:
        wished = self._wished.get(kind)
        if wished is not None and fits(found, wished):
            return Range(*wished)
        return value_range(_NUMPY_KIND[kind], *found)


def fits(found: Extremes, wished: Range) -> bool:
    """Whether numbers may well be in the units of another data set's range: within it, and not just a corner of it."""
    inside = wished.low <= found.low and found.high <= wished.high
    return inside and max(map(abs, found)) >= _FILLED * max(map(abs, wished))


# Kept --------------------------------------------------------------------------------------------------------------


def kept(key: str, find: Callable[[], Found]) -> Found:
    """What `find` finds; where that took long it is written beside the decoded images, and read from there next time.

    `key` changes whenever the data do.
    """
    path = cache_root() / "ranges" / f"{digest(_FORMAT, key)}.json"
    with suppress(OSError, ValueError, TypeError):  # none, or a damaged one: it is found again
        return {kind: Extremes(float(low), float(high)) for kind, (low, high) in json.loads(path.read_text()).items()}
    began = time.perf_counter()
    found = find()
    if time.perf_counter() - began > _WORTH_KEEPING_SECONDS:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(f".{threading.get_ident()}")
            aside.write_text(json.dumps(found))
            aside.replace(path)
        except OSError as error:
            _LOG.info("the range of values is not kept: %s", error)
    return found
