"""The cache on disk: one flat file of pixels, and an index of the offset of each image.

A cache is a folder with `pixels.u8` (all images, row by row, one after the other), `index.npz` (position in the
source, offset, size and digest of each) and `cache.json`, whose time of change is that of the last use. It is written
under another name and renamed when it is complete, so a folder under the right name is always a whole cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from likewise.data.decoding.decoded import BrokenImage, Pixels
from likewise.data.decoding.pixels import Range

FORMAT = 3
"""Changed whenever the same source would give other bytes: how images are decoded and reduced is part of it."""
PIXELS = "pixels.u8"
"""The flat file."""
_INDEX, _FACTS = "index.npz", "cache.json"
PLACE = "pictures"
"""Folder of all such caches below the root of what is kept."""
WRITING = ".writing-"
"""What the folder of a cache is called while it is written, before its name."""
REMOVING = ".removing-"
"""How the name of a folder begins that is being removed."""


class Stored(NamedTuple):
    """A whole cache."""

    pixels: Path
    """The flat file."""
    length: int
    """Its bytes."""
    positions: NDArray[np.int64]
    """(N,) position in the source of each image that could be read, rising."""
    offsets: NDArray[np.int64]
    """(N,) first byte of each."""
    sizes: NDArray[np.int32]
    """(N, 2) height and width of each."""
    digests: NDArray[np.uint64]
    """(N,) of size and pixels of each: equal for exact copies, and for nothing else."""
    broken: tuple[tuple[int, str], ...]
    """Position and reason of each image that could not be read."""
    passing: tuple[int, ...]
    """Positions of those whose reason may have passed (`BrokenImage.passing`)."""
    ranges: dict[str, Range]
    """What is black and white in images of other numbers than 0 to 255, by their unit."""


def load(folder: Path) -> Stored | None:
    """The cache in `folder`, or None where there is none, or only a damaged one."""
    try:
        record = _read_facts(folder)
        with (folder / _INDEX).open("rb") as file, np.load(file, allow_pickle=False) as index:
            positions, offsets, sizes = index["positions"], index["offsets"], index["sizes"]
            digests = index["digests"]
        length = int(record["bytes"])
        whole = (folder / PIXELS).stat().st_size == length and record["format"] == FORMAT
        broken = tuple((int(position), str(reason)) for position, reason in record["broken"])
        passing = tuple(int(position) for position in record.get("passing", ()))
        ranges = {str(kind): Range(float(low), float(high)) for kind, (low, high) in record["ranges"].items()}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None
    if not whole:
        return None
    return Stored(folder / PIXELS, length, positions, offsets, sizes, digests, broken, passing, ranges)


def _read_facts(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    return dict(found)


def facts(folder: Path) -> dict[str, Any] | None:
    """The recorded facts of a cache of this or another version: `name`, `pictures`, ...; None where there are none."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return _read_facts(folder)
    return None


def mark_used(folder: Path) -> None:
    """Note that a cache is used now, where it may be written to."""
    with contextlib.suppress(OSError):
        os.utime(folder / _FACTS)


def digest_of(pixels: Pixels) -> int:
    """64 bits that are the same for equal pixels of equal size only."""
    state = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
    state.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(state.digest(), "little")


def remove_abandoned(folder: Path) -> None:
    """Remove what writers of this cache left when they were killed. Only for who holds its lock."""
    for left in folder.parent.glob(f"{WRITING}{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a cache, in one step for whoever looks for it. Raises OSError."""
    aside = folder.parent / f"{REMOVING}{uuid.uuid4().hex}"
    folder.rename(aside)
    shutil.rmtree(aside)


class Writer:
    """Writes a cache beside its place; `commit` puts it there. Left without, it removes what it wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = folder.parent / f"{WRITING}{folder.name}-{uuid.uuid4().hex[:8]}"
        self._positions: list[int] = []
        self._sizes: list[tuple[int, int]] = []
        self._digests: list[int] = []
        self._broken: list[tuple[int, str]] = []
        self._passing: list[int] = []

    def __enter__(self) -> Self:
        self._aside.mkdir()
        self._file = (self._aside / PIXELS).open("wb", buffering=1 << 20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:  # closing writes what is left, for which there may be no room
            shutil.rmtree(self._aside, ignore_errors=True)

    def add(self, position: int, pixels: Pixels) -> None:
        """Append one image."""
        self._file.write(np.ascontiguousarray(pixels).data)
        self._digests.append(digest_of(pixels))
        self._positions.append(position)
        self._sizes.append((pixels.shape[0], pixels.shape[1]))

    def add_broken(self, position: int, error: BrokenImage) -> None:
        """Remember an image that could not be read."""
        self._broken.append((position, error.reason))
        if error.passing:
            self._passing.append(position)

    @property
    def broken(self) -> list[tuple[int, str]]:
        """Positions and reasons so far."""
        return self._broken

    def commit(self, facts: Mapping[str, Any]) -> None:
        """Put the whole cache into its place, on the disk for good. Where another writer was first, its cache stays.

        One that lacks images whose reason may have passed gives way.
        """
        sizes = np.asarray(self._sizes, dtype=np.int32).reshape(-1, 2)
        ends = np.cumsum(sizes.astype(np.int64).prod(axis=1) * 3)
        offsets = np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]])
        with (self._aside / _INDEX).open("wb") as file:
            positions, digests = np.asarray(self._positions, np.int64), np.asarray(self._digests, np.uint64)
            np.savez(file, positions=positions, offsets=offsets, sizes=sizes, digests=digests)
            os.fsync(file.fileno())
        total = int(ends[-1]) if len(ends) else 0
        lacking = {"broken": self._broken, "passing": self._passing}
        record = {"format": FORMAT, "bytes": total, "pictures": len(sizes), **facts, **lacking}
        with (self._aside / _FACTS).open("w", encoding="utf-8") as text:
            json.dump(record, text)
            text.flush()
            os.fsync(text.fileno())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        before = load(self._folder)
        if before is None:
            shutil.rmtree(self._folder, ignore_errors=True)  # a damaged one
        elif before.passing:
            with contextlib.suppress(OSError):  # in use, where that forbids it: then it stays
                remove(self._folder)
        try:
            self._aside.rename(self._folder)
        except OSError:
            if load(self._folder) is None:
                raise
