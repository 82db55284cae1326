"""A lock between processes for one writer at a time. It ends with the process that holds it, however that ends."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from likewise.errors import InputError

_LOG = logging.getLogger(__name__)
_WAIT_SECONDS = 0.2


@contextmanager
def exclusive(path: Path, what: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file at `path`, waiting for whoever holds it. `what` says in the log what is waited for.

    Without `wait`, raises InputError where another process holds it. Gives False where the file system has no locks
    (some network disks): the work must be safe without, too.
    """
    with path.open("ab") as file:
        waited = False
        try:
            while not _take(file):
                if not wait:
                    raise InputError(f"another process is busy with {what}")
                if not waited:
                    _LOG.info("another process is busy with %s: waiting for it", what)
                waited = True
                time.sleep(_WAIT_SECONDS)
        except OSError as error:
            _LOG.info("no lock on %s (%s): going on without", path, error)
            yield False
            return
        yield True  # closing the file gives the lock back


def share(file: IO[bytes]) -> None:
    """Mark an open file as in use, together with others who do, until its last duplicate is closed."""
    try:
        _take_shared(file)
    except OSError as error:
        _LOG.info("no lock on %s (%s): going on without", file.name, error)


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Whether nobody uses a file (`share`, `exclusive`), and nobody begins to meanwhile. Raises OSError.

    False where the file system has no locks, since nothing is known then.
    """
    with path.open("ab") as file:
        try:
            free = _take(file)
        except OSError as error:
            _LOG.info("no lock on %s (%s)", path, error)
            free = False
        if sys.platform == "win32":
            file.close()  # an open file is not removed there, nor is one that is mapped
        yield free


if sys.platform == "win32":
    import msvcrt

    def _take_shared(file: IO[bytes]) -> None:
        """Nothing: Windows removes no file that is mapped."""

    def _take(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
else:
    import fcntl

    def _take_shared(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_SH)

    def _take(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
