"""Stored results of duplicate search: pairs that are no duplicates, and the similarities of compared pairs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from likewise.files import write_aside
from likewise.index.index import Index


class Denied:
    """Pairs of ids that were said to be no duplicates, remembered in the index."""

    def __init__(self, index: Index) -> None:
        self._file = _beside(index, "not-duplicates.json")
        self._pairs: set[tuple[str, str]] = set()
        if self._file is not None and self._file.is_file():
            self._pairs = {(a, b) for a, b in json.loads(self._file.read_text(encoding="utf-8"))}

    def add(self, ids: Sequence[str]) -> None:
        """No two of these are duplicates."""
        self._pairs |= {(min(a, b), max(a, b)) for a in ids for b in ids if a != b}
        if self._file is not None:
            with write_aside(self._file) as file:
                file.write(json.dumps(sorted(self._pairs), indent=0).encode())

    def says(self, a: str, b: str) -> bool:
        """Whether these two were said to be none."""
        return (min(a, b), max(a, b)) in self._pairs

    def parted(self, held: Sequence[int], ids: Sequence[str]) -> list[list[int]]:
        """A group, parted so that no two that were said to be none are together."""
        parts: list[list[int]] = []
        for row in held:
            for part in parts:
                if not any(self.says(ids[row], ids[other]) for other in part):
                    part.append(row)
                    break
            else:
                parts.append([row])
        return parts


class Memory:
    """Similarities of compared pairs, by the digests of their pixels."""

    def __init__(self, index: Index) -> None:
        self._file = _beside(index, "likeness.json")
        self._held: dict[str, float] = {}
        self._fresh = False
        if self._file is not None and self._file.is_file():
            with contextlib.suppress(ValueError):
                self._held = json.loads(self._file.read_text(encoding="utf-8"))

    def get(self, a: str, b: str) -> float | None:
        """The stored result of a pair."""
        return self._held.get(self._key(a, b)) if a and b else None

    def put(self, a: str, b: str, value: float) -> None:
        """Remember a pair."""
        if a and b:
            self._held[self._key(a, b)] = round(value, 4)
            self._fresh = True

    def write(self) -> None:
        """Keep it."""
        if self._file is not None and self._fresh:
            with write_aside(self._file) as file:
                file.write(json.dumps(self._held).encode())

    @staticmethod
    def _key(a: str, b: str) -> str:
        return f"{min(a, b)} {max(a, b)}"


def _beside(index: Index, name: str) -> Path | None:
    """A file in the folder of an index; None for servers."""
    folder = Path(index.path)
    return folder / name if folder.is_dir() else None
