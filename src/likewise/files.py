"""Atomic writing of files: a file is replaced whole or not at all. What the system refuses becomes one line."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from likewise.errors import DiskFull, InputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says where a disk, an allowance, or the size of a file is at its limit."""
FORBIDDEN = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}
"""What the system says where a path is not for us, is not there, or is another thing than was taken for granted."""
ASIDE = ".partial"
"""How the names of files end that are still being written."""


def spelled(name: str | Path) -> str:
    """A name in one way of writing it: `photos` for `photos/` and `./photos`; addresses of servers stay as they are."""
    text = str(name)
    return text if not text or "://" in text else str(Path(text))


def same_place(one: str | Path, other: str | Path) -> bool:
    """Whether two names mean one place, as seen from the working directory."""
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100  # links stay as they are named


def check_targets(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise InputError where one of these files exists, unless `overwrite`, and where none can be written."""
    for path in paths:
        check_file(path)
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists: choose another file, or say --overwrite")


def check_place(path: Path) -> None:
    """Raise InputError where `path` cannot be a file: it is a folder, or there is none that it could lie in."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into")


def check_ending(path: Path, *endings: str) -> None:
    """Raise InputError where the name of a file ends in none of `endings`, the first of which is the usual one."""
    if path.suffix.lower() not in endings:
        raise InputError(f"{path} does not end in {endings[0]}: name a file such as {path.stem}{endings[0]}")


def check_file(path: Path) -> None:
    """Raise InputError where no file can be written at `path`, found out by trying: before work that takes long."""
    check_place(path)
    try:
        tempfile.TemporaryFile(dir=path.absolute().parent).close()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def check_folder(path: Path) -> None:
    """Raise InputError where `path` is no folder and none can be made there, found out by trying."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file: name a folder")
    try:
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise InputError(f"{path} cannot be written to: {error.strerror}") from error


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[IO[bytes]]:
    """Replace `path` by what is written to the file yielded, all at once or not at all.

    Written beside the target, flushed to the disk, renamed over it, and the directory flushed, in this order: at no
    moment, power cuts included, does `path` name anything but the old content or the new. An error inside leaves the
    old content. Raises `DiskFull` where there is no room, and InputError where nothing can be written there.
    """
    check_place(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")
    try:
        with _opened(aside, path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except Exception as error:
        full = no_room(error)
        if full is None or isinstance(error, DiskFull):
            raise
        raise DiskFull(f"{path} could not be written: {full.strerror}; what was there before is untouched") from error
    finally:
        aside.unlink(missing_ok=True)
    _flush_directory(path.parent)


def _opened(aside: Path, path: Path) -> IO[bytes]:
    """The file that is written in the place of `path` at first. Raises InputError where the system refuses it."""
    try:
        return aside.open("wb")
    except OSError as error:
        if error.errno not in FORBIDDEN:
            raise
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def no_room(error: BaseException | None) -> OSError | None:
    """The error of the system, itself or behind what a library made of it, that says that a disk is full; or None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def refusal(error: BaseException) -> str | None:
    """One line for what the system refused to do with a file of the person's; None for any other error."""
    if (full := no_room(error)) is not None:
        what = f"{full.filename} could not be written" if full.filename else "a file could not be written"
        return f"{what}: {full.strerror}; make room, and give the same command again (a run goes on with --resume)"
    if isinstance(error, OSError) and error.errno in FORBIDDEN and error.filename is not None:
        return f"{error.filename} cannot be used: {error.strerror}"
    return None


def _flush_directory(directory: Path) -> None:
    """Make a rename in `directory` durable. Only POSIX systems let a directory be opened for it."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
