"""Files that an index keeps beside its rows: copies of encoders, and the way back from an upgrade."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Protocol

from likewise.files import write_aside

PART = 4 << 20
"""Bytes of a part that a server is given at once."""


class Kept(Protocol):
    """Files by name, such as `upgrade/state.json`."""

    def put(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        """Keep what `write` writes to the file that it is given, in the place of what was there, or nothing."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def file(self, name: str) -> AbstractContextManager[Path | None]:
        """Where the file can be read meanwhile; None where there is none."""
        ...

    def drop(self, name: str) -> None:
        """Take the file away, where there is one."""
        ...

    def place_of(self, name: str) -> str:
        """Where it lies, for people."""
        ...


class InFolder:
    """Files in the folder of an index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        """As `Kept.put`; on the disk when it returns. Raises DiskFull."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        with write_aside(path) as file:
            write(file)

    def has(self, name: str) -> bool:
        """As `Kept.has`."""
        return (self.folder / name).is_file()

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path | None]:
        """As `Kept.file`: the file itself."""
        yield self.folder / name if self.has(name) else None

    def drop(self, name: str) -> None:
        """As `Kept.drop`."""
        (self.folder / name).unlink(missing_ok=True)

    def place_of(self, name: str) -> str:
        """As `Kept.place_of`: its path."""
        return str(self.folder / name)


class OnServer(ABC):
    """Files on a server, which holds them in parts; written and read by way of this machine's folder for such files."""

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def replace(self, name: str, parts: Iterable[bytes]) -> None:
        """Hold these parts under a name, in the place of others, whole or not at all."""

    @abstractmethod
    def parts(self, name: str) -> Iterator[bytes]:
        """The parts in their order; none where there is no such file."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """As `Kept.has`."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """As `Kept.drop`."""

    def put(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        """As `Kept.put`."""
        with tempfile.TemporaryFile() as file:
            write(file)
            file.seek(0)
            first = file.read(PART)  # of an empty file, too
            self.replace(name, itertools.chain([first], iter(lambda: file.read(PART), b"")))

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path | None]:
        """As `Kept.file`: a copy, which is gone afterwards."""
        if not self.has(name):
            yield None
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            with path.open("wb") as file:
                file.writelines(self.parts(name))
            yield path

    def place_of(self, name: str) -> str:
        """As `Kept.place_of`: its name and the address of the index."""
        return f"{name} of {self.where}"
