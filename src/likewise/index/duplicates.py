"""Duplicates: same bytes, same pixels, near duplicates. Groups are complete: every two of a group are duplicates.

Candidates for near duplicates are neighbours in the embedding. Of two distributions of this collection it is told
which are copies. (1) Distances: around an image without copies, distances to its neighbours grow as those of random
points in a space of the collection's own dimension m, so that P(d1 / dk < t) = 1 - (1 - t^m)^(k - 1); m is estimated
from neighbours beyond the nearest (Levina and Bickel 2004, equation 8). (2) Pixels: how alike images are that are
neighbours, but not the nearest (`alike`). Where images can be read, the first proposes and the second decides; else
the first decides alone.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from likewise.files import write_aside
from likewise.index import alike
from likewise.index.index import Index
from likewise.index.stores.scan import top

Kind = Literal["same bytes", "same pixels", "near"]
NEIGHBOURS = 12
"""Neighbours of each image that are looked at."""
PROPOSED = 0.1
"""Share of images without copies whose nearest neighbour is proposed, to be decided by pixels."""
FALSE_PAIRS = 0.1
"""Pairs that are no copies, expected among all that are called near duplicates."""
_NULL_PAIRS = 600
_ASKED = 2048


@dataclass(frozen=True)
class Item:
    """An image of a group."""

    id: str
    path: str
    split: str


@dataclass(frozen=True)
class Group:
    """Images that are duplicates of each other."""

    kind: Kind
    """What the loosest pair of it is."""
    items: tuple[Item, ...]

    @property
    def across(self) -> bool:
        """Whether it has images of several splits."""
        return len({item.split for item in self.items}) > 1


@dataclass(frozen=True)
class Duplicates:
    """What was found."""

    groups: tuple[Group, ...]
    """Largest first."""
    images: int
    """Images that were looked at."""
    threshold: float | None
    """The bar that near duplicates had to pass; None where none were looked for."""
    how: str
    """What the bar is, in words."""
    fingerprint: str = ""
    """Of the space of the vectors."""

    def summary(self) -> str:
        """A sentence."""
        counts = {kind: sum(group.kind == kind for group in self.groups) for kind in ("same bytes", "same pixels", "near")}
        told = ", ".join(f"{count} of {kind}" for kind, count in counts.items() if count) or "no duplicates"
        across = sum(group.across for group in self.groups)
        told += f", {across} of them across splits" if across else ""
        return f"{self.images:,} images, {len(self.groups)} groups: {told}. {self.how}"

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "groups": [
                {
                    "kind": group.kind,
                    "across_splits": group.across,
                    "items": [{"id": item.id, "path": item.path, "split": item.split} for item in group.items],
                }
                for group in self.groups
            ],
            "images": self.images,
            "threshold": self.threshold,
            "how": self.how,
        }

    def to_text(self) -> str:
        """For a person."""
        lines = [self.summary()]
        for group in self.groups:
            across = ", across splits" if group.across else ""
            lines += ["", f"{group.kind}{across}:", *(f"  {item.id}" for item in group.items)]
        return "\n".join(lines)


class Rows:
    """What duplicates are told by, a row for each image."""

    def __init__(
        self,
        ids: Sequence[str],
        paths: Sequence[str],
        splits: Sequence[str],
        content: Sequence[str],
        pixels: Sequence[str],
    ) -> None:
        self.ids, self.paths, self.splits, self.content, self.pixels = ids, paths, splits, content, pixels

    @classmethod
    def of(cls, index: Index) -> Rows:
        """The rows of an index."""
        table = index.store.table()
        names = ("id", "path", "split", "bytes", "pixels")
        held = (
            [one or "" for one in table[name].to_pylist()] if name in table.column_names else [""] * len(table)
            for name in names
        )
        return cls(*held)

    def item(self, row: int) -> Item:
        """One of them."""
        return Item(self.ids[row], self.paths[row], self.splits[row])


def exact_groups(rows: Rows) -> list[tuple[Kind, list[int]]]:
    """Rows with the same pixels, which those with the same bytes have, too; each with its kind."""
    by_pixels: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(rows.pixels):
        if digest:
            by_pixels[digest].append(row)
    found: list[tuple[Kind, list[int]]] = []
    for held in by_pixels.values():
        if len(held) > 1:
            digests = {rows.content[row] for row in held}
            found.append(("same bytes" if len(digests) == 1 and digests != {""} else "same pixels", held))
    return found


def duplicates(
    index: Index, *, near: bool = True, false_pairs: float = FALSE_PAIRS, progress: Callable[[int, int], None] | None = None
) -> Duplicates:
    """The groups of duplicates in an index.

    With `near` also images that are cut, moved, mirrored or encoded anew, of which as many pairs as `false_pairs` are
    expected to be wrong. Pairs that were said to be none (`Denied`) are in no group together. What was compared once is
    remembered in a folder, so that a second call compares only what is new.
    """
    rows, denied = Rows.of(index), Denied(index)
    groups = exact_groups(rows)
    threshold, how = None, "Near duplicates were not looked for."
    if near and len(rows.ids) > NEIGHBOURS + 1:
        groups, threshold, how = _with_near(index, rows, groups, denied, false_pairs, progress)
    kept = [(kind, part) for kind, held in groups for part in denied.parted(held, rows.ids)]
    made = [Group(kind, tuple(rows.item(row) for row in part)) for kind, part in kept if len(part) > 1]
    ordered = sorted(made, key=lambda group: (-len(group.items), group.items[0].id))
    return Duplicates(tuple(ordered), len(rows.ids), threshold, how, index.fingerprint)


def _with_near(
    index: Index,
    rows: Rows,
    exact: list[tuple[Kind, list[int]]],
    denied: Denied,
    false_pairs: float,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[tuple[Kind, list[int]]], float | None, str]:
    """The exact groups, joined with near duplicates of them; the bar, and what it is."""
    copies = {row: held for _, held in exact for row in held}
    kind_of = {held[0]: kind for kind, held in exact}
    first = np.array([row for row in range(len(rows.ids)) if row not in copies or copies[row][0] == row], np.int64)
    if len(first) <= NEIGHBOURS + 1:
        return exact, None, "Too few different images to tell near duplicates by."
    similarity, neighbour = _neighbours(index, first)
    distance = np.sqrt(np.clip(2 - 2 * similarity, 0, None))
    nulls = _chances(distance)
    judge = _Judge(index, rows, denied, first, distance, neighbour, nulls, false_pairs, progress)
    accepted = judge.accepted()
    groups: list[tuple[Kind, list[int]]] = []
    for held in complete_groups(accepted, judge.same):
        every = sorted(row for one in held for row in copies.get(one, [one]))
        groups.append(("near" if len(held) > 1 else kind_of.get(held[0], "near"), every))
    joined = {row for _, held in groups for row in held}
    groups += [(kind, held) for kind, held in exact if held[0] not in joined]
    judge.remember()
    return groups, judge.threshold, judge.how


def _neighbours(index: Index, first: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarities and rows (N, NEIGHBOURS) of the nearest of each row among `first`, without itself."""
    vectors = index.vectors()
    similarity, rows = [], []
    for start in range(0, len(first), _ASKED):
        asked = first[start : start + _ASKED]
        values, found = top(vectors, np.asarray(vectors[asked], np.float32), NEIGHBOURS + 1, first)
        own = found == asked[:, None]
        own[~own.any(1), -1] = True  # more copies than neighbours: the last gives way
        similarity.append(values[~own].reshape(len(asked), -1))
        rows.append(found[~own].reshape(len(asked), -1))
    return np.concatenate(similarity), np.concatenate(rows)


def _chances(distance_NK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N, K) the chance that an image without copies has a neighbour as near, from the far ones among its neighbours."""
    farthest = np.maximum(distance_NK[:, -1:], 1e-9)
    far = np.log(farthest / np.maximum(distance_NK[:, NEIGHBOURS // 2 : -1], 1e-9))
    dimension = 1.0 / max(float(np.median(far.mean(1))), 1e-6)
    dimension *= _far_factor()
    ratio = np.minimum(distance_NK / farthest, 1.0).astype(np.float64)
    chance: NDArray[np.float64] = 1 - (1 - ratio**dimension) ** (NEIGHBOURS - 1)
    return chance


def _far_factor() -> float:
    """Mean of -log of the ratios of the ranks that `_chances` takes, in a space of dimension 1."""
    ranks = np.arange(NEIGHBOURS // 2 + 1, NEIGHBOURS)
    return float(np.mean([sum(1.0 / step for step in range(rank, NEIGHBOURS)) for rank in ranks]))


class _Judge:
    """Decides which pairs of rows are copies."""

    def __init__(
        self,
        index: Index,
        rows: Rows,
        denied: Denied,
        first: NDArray[np.int64],
        distance: NDArray[np.floating[Any]],
        neighbour: NDArray[np.int64],
        chance: NDArray[np.float64],
        false_pairs: float,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.rows, self.denied, self.progress = rows, denied, progress
        self.first, self.neighbour, self.chance = first, neighbour, chance
        self.thumbnails = alike.Thumbnails(rows.paths)
        self.memory = _Memory(index)
        self.false_pairs = false_pairs
        self.by_pixels = self.thumbnails[int(first[0])] is not None and self.thumbnails[int(first[-1])] is not None
        self.threshold: float | None = None
        self.how = ""

    def accepted(self) -> list[tuple[float, int, int]]:
        """Pairs that are copies, the surest first."""
        near = self.chance < (PROPOSED if self.by_pixels else self.false_pairs / len(self.first))
        at, rank = np.nonzero(near)
        pairs = {
            (min(a, b), max(a, b)): float(chance)
            for a, b, chance in zip(
                self.first[at].tolist(), self.neighbour[at, rank].tolist(), self.chance[at, rank], strict=True
            )
        }
        if not self.by_pixels:
            self.threshold = self.false_pairs / len(self.first)
            self.how = (
                "Near duplicates are nearer than images without copies come by chance (images cannot be read, so by "
                f"their vectors alone); about {self.false_pairs:g} wrong pairs are expected."
            )
            return sorted((chance, a, b) for (a, b), chance in pairs.items())
        null = self._null()
        self.threshold = alike.bar(null, len(pairs), self.false_pairs)
        self.how = (
            f"Near duplicates agree in their pixels by z {self.threshold:.2f} or more, where pairs of neighbours that "
            f"are no copies have {np.median(null):.2f}; about {self.false_pairs:g} wrong pairs are expected."
        )
        found = []
        for number, (a, b) in enumerate(pairs):
            value = self.likeness(a, b)
            if value >= self.threshold:
                found.append((-value, a, b))
            if self.progress is not None:
                self.progress(number + 1, len(pairs))
        return sorted(found)

    def same(self, a: int, b: int) -> bool:
        """Whether two rows are copies, also where they were not proposed."""
        if self.denied.says(self.rows.ids[a], self.rows.ids[b]):
            return False
        if self.by_pixels:
            assert self.threshold is not None
            return self.likeness(a, b) >= self.threshold
        at = int(np.searchsorted(self.first, a))
        place = np.flatnonzero(self.neighbour[at] == b)
        return bool(len(place)) and bool(self.chance[at, place[0]] < self.false_pairs / len(self.first))

    def likeness(self, a: int, b: int) -> float:
        """Of two rows, remembered."""
        known = self.memory.get(self.rows.pixels[a], self.rows.pixels[b])
        if known is not None:
            return known
        one, other = self.thumbnails[a], self.thumbnails[b]
        value = 0.0 if one is None or other is None else alike.likeness(one, other)
        self.memory.put(self.rows.pixels[a], self.rows.pixels[b], value)
        return value

    def remember(self) -> None:
        """Keep what was compared for the next call."""
        self.memory.write()

    def _null(self) -> list[float]:
        """Likeness of images and a far one among their neighbours."""
        draw = np.random.default_rng(0)
        some = draw.choice(len(self.first), min(_NULL_PAIRS, len(self.first)), replace=False)
        ranks = draw.integers(NEIGHBOURS // 2, NEIGHBOURS, len(some))
        return [
            self.likeness(int(self.first[row]), int(self.neighbour[row, rank]))
            for row, rank in zip(some, ranks, strict=True)
        ]


def complete_groups(
    pairs: Iterable[tuple[float, int, int]], same: Callable[[int, int], bool]
) -> list[list[int]]:
    """Groups of which every two members are the same, joined along `pairs` in their order (complete link)."""
    group_of: dict[int, list[int]] = {}
    for _, a, b in pairs:
        one, other = group_of.setdefault(a, [a]), group_of.setdefault(b, [b])
        if one is other or not all(same(x, y) for x in one for y in other):
            continue
        one.extend(other)
        for member in other:
            group_of[member] = one
    return [sorted(group) for group in {id(group): group for group in group_of.values()}.values() if len(group) > 1]


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


class _Memory:
    """How alike pairs are that were compared, by the digests of their pixels."""

    def __init__(self, index: Index) -> None:
        self._file = _beside(index, "likeness.json")
        self._held: dict[str, float] = {}
        self._fresh = False
        if self._file is not None and self._file.is_file():
            with contextlib.suppress(ValueError):
                self._held = json.loads(self._file.read_text(encoding="utf-8"))

    def get(self, a: str, b: str) -> float | None:
        """What is known of a pair."""
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
