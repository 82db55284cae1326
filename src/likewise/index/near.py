"""Near-duplicate pairs of rows, by two null distributions of the collection (see `duplicates`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.index import alike
from likewise.index.index import Index
from likewise.index.remembered import Denied, Memory
from likewise.index.rows import DuplicateRows
from likewise.index.stores.scan import top

NEIGHBOURS = 12
"""Neighbours of each image that are looked at."""
PROPOSED = 0.2
"""Share of images without copies whose nearest neighbour is proposed, to be decided by pixels."""
FALSE_PAIRS = 0.5
"""Pairs that are no copies, expected among all that are called near duplicates."""
_NULL_PAIRS = 600
_ASKED = 2048


def neighbours_of(index: Index, first: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
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


def chances(distance_NK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N, K) the chance that an image without copies has a neighbour as near, from the far among its neighbours."""
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


class Judge:
    """Decides which pairs of rows are copies."""

    def __init__(
        self,
        index: Index,
        rows: DuplicateRows,
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
        self.memory = Memory(index)
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


def complete_groups(pairs: Iterable[tuple[float, int, int]], same: Callable[[int, int], bool]) -> list[list[int]]:
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
