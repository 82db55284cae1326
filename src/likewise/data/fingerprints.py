"""Fingerprints of data: short names that change when the data change."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BYTES = 16
_SECOND = 10**9
_FILES, _BLOCKS, _BLOCK_BYTES = 32, 256, 4096
"""Files that are looked into at most, and what is read of all of them."""


class FileFacts(NamedTuple):
    """The facts that identify a file without reading it."""

    name: str
    """As the data names it, relative to its root, so that a moved folder is still the same data."""
    size: int
    """Bytes; -1 where the file does not exist."""
    modified: int
    """Time of the last change in nanoseconds; -1 where the file does not exist."""


def digest(*parts: object) -> str:
    """32 hexadecimal digits that depend on each of `parts` (by its text) and on their order."""
    state = hashlib.blake2b(digest_size=_BYTES)
    for part in parts:
        text = str(part).encode("utf-8", "surrogateescape")
        state.update(len(text).to_bytes(8, "little"))
        state.update(text)
    return state.hexdigest()


def digest_array(array: NDArray[Any]) -> str:
    """The same for the type, the shape and the contents of an array."""
    state = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=_BYTES)
    # By stretches along the first axis: a transposed array must be copied to be hashed, but not all of it at once.
    rows = max(1, (64 << 20) // max(1, array[:1].nbytes)) if array.ndim else 1
    for start in range(0, len(array) if array.ndim else 0, rows):
        state.update(np.ascontiguousarray(array[start : start + rows]).view(np.uint8).data)
    return state.hexdigest()


def digest_files(files: Iterable[FileFacts], paths: Iterable[str | Path] = ()) -> str:
    """The same for files, by their names, sizes and times.

    Times in whole seconds are those of an archive or of a coarse disk, and other files may have the same: where `paths`
    says where the files are, some contents of such files count, too.
    """
    state = hashlib.blake2b(digest_size=_BYTES)
    coarse = []
    for file, path in itertools.zip_longest(files, paths):
        state.update(f"{file.name}\0{file.size}\0{file.modified}\n".encode("utf-8", "surrogateescape"))
        if path is not None and file.size > 0 and file.modified % _SECOND == 0:
            coarse.append(path)
    looked_at = coarse[:: max(1, math.ceil(len(coarse) / _FILES))]
    for path in looked_at:
        for block in _blocks(path, max(1, _BLOCKS // len(looked_at))):
            state.update(block)
    return state.hexdigest()


def _blocks(path: str | Path, most: int) -> Iterator[bytes]:
    """Bytes from evenly spaced places of a file, its last ones among them; none where it cannot be read."""
    with contextlib.suppress(OSError), Path(path).open("rb") as file:
        size = file.seek(0, 2)
        count, last = min(most, -(-size // _BLOCK_BYTES)), max(0, size - _BLOCK_BYTES)
        for number in range(count):
            file.seek(last * number // max(1, count - 1))
            yield file.read(_BLOCK_BYTES)


def file_facts(path: Path, name: str | None = None) -> FileFacts:
    """The facts of one file; -1 for both numbers where it cannot be found."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return FileFacts(name or path.name, -1, -1)
    return FileFacts(name or path.name, found.st_size, found.st_mtime_ns)
