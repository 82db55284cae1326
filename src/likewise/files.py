"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

ASIDE = ".partial"
"""How the names of files end that are still being written."""


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[IO[bytes]]:
    """Replace `path` by what is written to the file yielded, all at once or not at all.

    Written beside the target, flushed to the disk, renamed over it, and the directory flushed, in this order: at no
    moment, power cuts included, does `path` name anything but the old content or the new. An error inside leaves the
    old content.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    _flush_directory(path.parent)


def _flush_directory(directory: Path) -> None:
    """Make a rename in `directory` durable. Only POSIX systems let a directory be opened for it."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
