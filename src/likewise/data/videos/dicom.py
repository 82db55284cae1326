"""Cine loops of DICOM files, read by pydicom: the content of a file, and its frames as displayed.

Grey values of more than 8 bits become 8 bits by the window that the file names, else by the smallest and largest value
of all frames of the file.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.decoding.decoded import BrokenImage
from likewise.data.decoding.pixels import fit
from likewise.data.source import Pixels
from likewise.errors import missing

ENDINGS = frozenset((".dcm", ".dicom"))
_RATE = Fraction(25)  # frames a second of files that do not say it
_TAGS = (
    "NumberOfFrames", "Rows", "Columns", "FrameTime", "CineRate", "RecommendedDisplayFrameRate",
    "SamplesPerPixel", "BitsAllocated",
)  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Whether a file ends like one."""
    return path.suffix.lower() in ENDINGS


def frames_of(path: Path) -> tuple[int, Fraction]:
    """Number of frames of a file, and frames a second; 25 where it does not say.

    Raises BrokenImage where it has none that can be decoded, InputError without pydicom.
    """
    try:
        import pydicom
        from pydicom.pixels.decoders.base import get_decoder
    except ImportError as error:
        raise missing("pydicom", "dicom", "reading DICOM files") from error
    try:
        said = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    except pydicom.errors.InvalidDicomError as error:
        raise BrokenImage("no DICOM file: it does not begin like one") from error
    except (OSError, ValueError, EOFError) as error:
        raise BrokenImage(f"cannot be read: {_line(error)}") from error
    if not said.get("Rows") or not said.get("Columns"):
        raise BrokenImage("no images in it")
    kind = said.file_meta.get("TransferSyntaxUID")
    try:
        available = get_decoder(kind).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise BrokenImage(f"stored as {getattr(kind, 'name', kind)}, which no installed package decodes")
    count = int(said.get("NumberOfFrames") or 1)
    if not kind.is_compressed:
        bits = int(said.get("BitsAllocated") or 8) * int(said.get("SamplesPerPixel") or 1)
        size, least = path.stat().st_size, count * said.Rows * said.Columns * bits // 8
        if size < least:
            raise BrokenImage(f"truncated: {size:,} bytes, and its {count:,} frames alone take {least:,}")
    return count, _rate(said)


def _rate(said: Any) -> Fraction:
    """Frames a second by what a file says."""
    time = float(said.get("FrameTime") or 0.0)  # milliseconds
    rate = 1000.0 / time if time > 0 else float(said.get("CineRate") or said.get("RecommendedDisplayFrameRate") or 0.0)
    return Fraction(rate).limit_denominator(1000) if rate > 0 else _RATE


class CineLoop:
    """One file, whose frames are decoded as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._held: Any = None
        self._range: tuple[float, float] | None = None

    def frame(self, number: int, short_side: int | None) -> Pixels:
        """Frame `number`, counted from 0. Raises BrokenImage."""
        with self._lock:
            levels = self._levels(number)
            if levels.dtype != np.uint8:
                low, high = self._span()
                scaled = (levels.astype(np.float64) - low) * (255.0 / max(high - low, 1e-9))
                levels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
            if self._held.PhotometricInterpretation == "MONOCHROME1":  # the smallest value is white
                levels = 255 - levels
        colours = levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)
        return fit(np.ascontiguousarray(colours), short_side)

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._held = None

    def _levels(self, number: int) -> NDArray[Any]:
        """(H, W) grey values or (H, W, 3) colours as the file means them, of 8 bits or more."""
        import pydicom
        from pydicom.pixels.processing import apply_color_lut, apply_rescale
        from pydicom.pixels.utils import pixel_array

        try:
            if self._held is None:
                self._held = pydicom.dcmread(self._path)
            found: NDArray[Any] = pixel_array(self._held, index=number)
            if self._held.PhotometricInterpretation == "PALETTE COLOR":
                found = apply_color_lut(found, self._held)
                return found if found.dtype == np.uint8 else (found >> 8).astype(np.uint8)
            if found.ndim == 2 and self._is_rescaled():
                found = apply_rescale(found, self._held)
        except Exception as error:  # pydicom and its decoders raise anything for damaged data
            raise BrokenImage(f"frame {number} cannot be decoded: {_line(error)}") from error
        wide = found.dtype != np.uint8 or self._window() is not None
        return found.astype(np.float64) if wide and found.ndim == 2 else found

    def _is_rescaled(self) -> bool:
        """Whether values stand for others. Most files of 8 bits that say how say: for themselves."""
        slope, intercept = self._held.get("RescaleSlope"), self._held.get("RescaleIntercept")
        return (1.0 if slope is None else float(slope), float(intercept or 0.0)) != (1.0, 0.0)

    def _window(self) -> tuple[float, float] | None:
        """Centre and width of the first window of the file."""
        centre, width = (self._held.get(name) for name in ("WindowCenter", "WindowWidth"))
        if centre is None or width is None:
            return None
        first = [value if isinstance(value, int | float | str) else value[0] for value in (centre, width)]
        return float(first[0]), float(first[1])

    def _span(self) -> tuple[float, float]:
        """What becomes black and white."""
        if self._range is None:
            window = self._window()
            if window is not None:  # DICOM PS3.3, C.11.2.1.2.1: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2
                centre, half = window[0] - 0.5, (window[1] - 1.0) / 2
                self._range = centre - half, centre + half
            else:
                ends = [(each.min(), each.max()) for each in map(self._levels, range(self._count()))]
                self._range = float(min(low for low, _ in ends)), float(max(high for _, high in ends))
        return self._range

    def _count(self) -> int:
        return int(self._held.get("NumberOfFrames") or 1)


def _line(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
