"""Features on disk while they are computed: rows are appended, an interruption loses only the latest.

Beside `KEY.npy`, which is there only when it is whole, lie `KEY.part` (the same file, not whole yet) and `KEY.rows`,
the number of its rows that are on the disk for good.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from likewise.files import write_aside

SECONDS = 10.0
"""Between two moments from which an interrupted extraction goes on."""
ABANDONED = 7 * 86400.0
"""Seconds after which what an interrupted extraction left is removed."""


class Partial:
    """A .npy file of float32 rows that grows. Only for who holds its lock."""

    def __init__(self, path: Path, count: int, features: int, *, shared: bool = True) -> None:
        """Go on with what lies beside `path`, or begin; `shared` False (no locks): always begin, under an own name."""
        self._path = path
        own = "" if shared else f".{os.getpid()}"
        self._part, self._rows_file = path.with_suffix(f"{own}.part"), path.with_suffix(f"{own}.rows")
        self._count, self._features = count, features
        header = self._header()
        self.rows = self._kept(header)
        """Rows that are there already."""
        self._file = self._part.open("r+b" if self.rows else "w+b")
        if not self.rows:
            self._file.write(header)
        self._file.seek(len(header) + 4 * features * self.rows)
        self._file.truncate()
        self._noted = time.monotonic()

    def _header(self) -> bytes:
        written = io.BytesIO()
        shape = (self._count, self._features)
        npy.write_array_header_1_0(written, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return written.getvalue()

    def _kept(self, header: bytes) -> int:
        """Whole rows of an earlier try; 0 where there was none, or it was of other features."""
        try:
            rows = int(self._rows_file.read_text(encoding="ascii"))
            with self._part.open("rb") as file:
                same = file.read(len(header)) == header
            whole = self._part.stat().st_size >= len(header) + 4 * self._features * rows
        except (OSError, ValueError):
            return 0
        return rows if same and whole and 0 < rows <= self._count else 0

    def append(self, rows_BF: Tensor) -> None:
        """Add rows. Raises OSError where there is no room, and ValueError for rows of another width."""
        if rows_BF.shape[1] != self._features:
            raise ValueError(f"rows have {rows_BF.shape[1]} features instead of {self._features}")
        self._file.write(np.ascontiguousarray(rows_BF.numpy(), dtype="<f4").data)
        self.rows += len(rows_BF)
        if time.monotonic() - self._noted >= SECONDS:
            self.note()

    def note(self) -> None:
        """Make the rows so far safe: the number is written only after the rows are on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        with write_aside(self._rows_file) as file:
            file.write(str(self.rows).encode())
        self._noted = time.monotonic()

    def close(self) -> None:
        """Close the file, finished or not; what is noted can be gone on with."""
        self._file.close()

    def finish(self) -> None:
        """Put the whole file into its place."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        self._part.replace(self._path)
        self._rows_file.unlink(missing_ok=True)


def forget(folder: Path, most: int) -> None:
    """Remove the features that were not used for longest until the rest takes at most `most` bytes."""
    files = []
    for path in folder.glob("*.npy"):
        with contextlib.suppress(FileNotFoundError):  # another process forgets too
            facts = path.stat()
            files.append((facts.st_mtime, facts.st_size, path))
    total = 0
    for place, (_, size, path) in enumerate(sorted(files, reverse=True)):
        total += size
        if total > most and place:
            path.unlink(missing_ok=True)
    for path in folder.glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink(missing_ok=True)
                path.with_suffix(".rows").unlink(missing_ok=True)
