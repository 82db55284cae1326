"""Stored results of duplicate search: pairs that are no duplicates, and the similarities of compared pairs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from likewise.errors import InputError
from likewise.index.index import Index
from likewise.index.stores.kept import Kept

_DENIED, _LIKENESS = "not-duplicates.json", "likeness.json"


class Denied:
    """Pairs of ids that were said to be no duplicates, remembered in the index."""

    def __init__(self, index: Index) -> None:
        self._index, self._kept = index, index.store.kept
        self._pairs = self._written()

    def add(self, ids: Sequence[str]) -> None:
        """No two of these are duplicates. Raises InputError where another process writes to the index."""
        with self._index.writing():
            self._pairs = self._written() | {(min(a, b), max(a, b)) for a in ids for b in ids if a != b}
            content = json.dumps(sorted(self._pairs), indent=0).encode()
            self._kept.put(_DENIED, lambda file: file.write(content))

    def _written(self) -> set[tuple[str, str]]:
        return {(a, b) for a, b in _read(self._kept, _DENIED, [])}

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
        self._kept = index.store.kept
        self._held: dict[str, float] = {}
        self._fresh = False
        with contextlib.suppress(InputError):
            self._held = _read(self._kept, _LIKENESS, {})

    def get(self, a: str, b: str) -> float | None:
        """The stored result of a pair."""
        found = self._held.get(self._key(a, b)) if a and b else None
        return found or None  # 0 was also written for images that could not be read

    def put(self, a: str, b: str, value: float) -> None:
        """Remember a pair."""
        if a and b:
            self._held[self._key(a, b)] = round(value, 4)
            self._fresh = True

    def write(self) -> None:
        """Keep it."""
        if self._fresh:
            content = json.dumps(self._held).encode()
            self._kept.put(_LIKENESS, lambda file: file.write(content))

    @staticmethod
    def _key(a: str, b: str) -> str:
        return f"{min(a, b)} {max(a, b)}"


def _read(kept: Kept, name: str, otherwise: Any) -> Any:
    """What a JSON file that is kept says; `otherwise` where there is none. Raises InputError where it is damaged."""
    with kept.file(name) as path:
        try:
            return otherwise if path is None else json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{kept.place_of(name)} is damaged: {error}; remove it to begin anew") from error
