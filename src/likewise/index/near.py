"""Near-duplicate pairs of rows, by two null distributions of the collection (see `duplicates`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

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
CROWDED = 0.2
"""Share of the usual distance within which neighbours that should be far are taken for copies."""
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


class Surroundings(NamedTuple):
    """The scale and the dimension of each image's surroundings, by which its neighbours are near by chance, or not."""

    scale_N: NDArray[np.float64]
    """Distance within which the last of the neighbours is expected."""
    dimension_N: NDArray[np.float64]
    crowded_N: NDArray[np.bool_]
    """Whether copies are among those of its neighbours that should be far."""

    @classmethod
    def of(cls, distance_NK: NDArray[np.floating[Any]], neighbour_NK: NDArray[np.int64]) -> Surroundings:
        """From the far among the neighbours; `neighbour_NK` are places among the N.

        The dimension is from the mean over an image and its neighbours: few collections have the same everywhere, and
        where it is low near neighbours are no rarity. Where copies are among the far, these say nothing of the
        dimension, which is then taken to be as usual, and where all neighbours are copies, nothing of the scale.
        """
        distance_NK = np.maximum(distance_NK, 1e-9, dtype=np.float64)
        last_N, far_NR = distance_NK[:, -1], distance_NK[:, NEIGHBOURS // 2 : -1]
        usual = float(np.median(last_N))
        crowded_N = far_NR[:, 0] < CROWDED * np.maximum(last_N, usual)
        crowded_N &= not crowded_N.all()
        far_N = np.log(last_N[:, None] / far_NR).mean(1)
        far_N[crowded_N] = np.median(far_N[~crowded_N])
        around_N = (far_N + far_N[neighbour_NK].sum(1)) / (1 + neighbour_NK.shape[1])
        return cls(np.maximum(last_N, CROWDED * usual), _far_factor() / np.maximum(around_N, 1e-6), crowded_N)

    def chance(self, distance: Any, at: Any = slice(None)) -> NDArray[np.float64]:
        """The chance that the images at these places have, without copies, a neighbour as near; broadcast."""
        ratio = np.minimum(distance / self.scale_N[at], 1.0)
        chance: NDArray[np.float64] = 1 - (1 - ratio ** self.dimension_N[at]) ** (NEIGHBOURS - 1)
        return chance


def _far_factor() -> float:
    """Mean of -log of the ratios of the ranks that `Surroundings` takes, in a space of dimension 1."""
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
        false_pairs: float,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.rows, self.denied, self.progress = rows, denied, progress
        self.first, self.neighbour, self.vectors = first, neighbour, index.vectors()
        self.surroundings = Surroundings.of(distance, np.searchsorted(first, neighbour))
        self.chance = self.surroundings.chance(distance.T).T
        self.thumbnails = alike.Thumbnails(rows.paths)
        self.memory = Memory(index)
        self.false_pairs = false_pairs
        self.by_pixels = False
        """Whether most images can be read; pairs of others are judged by their vectors all the same."""
        self.threshold: float | None = None
        self.how = ""

    def accepted(self) -> list[tuple[float, int, int]]:
        """Pairs that are copies, the surest first."""
        null, asked = self._null()
        self.by_pixels = 2 * len(null) > asked
        at, rank = np.nonzero(self.chance < (PROPOSED if self.by_pixels else self.false_pairs / len(self.first)))
        pairs: dict[tuple[int, int], float] = {}
        for a, b, chance in zip(
            self.first[at].tolist(), self.neighbour[at, rank].tolist(), self.chance[at, rank].tolist(), strict=True
        ):
            pair = min(a, b), max(a, b)
            pairs[pair] = min(chance, pairs.get(pair, 1.0))
        if not self.by_pixels:
            self.threshold = self.false_pairs / len(self.first)
            self.how = (
                "Near duplicates are nearer than images without copies come by chance (images cannot be read, so by "
                f"their vectors alone); about {self.false_pairs:g} wrong pairs are expected, but images that are far "
                "nearer to each other than to all others, such as frames of one scene, count as copies, too."
            )
            return sorted((chance, a, b) for (a, b), chance in pairs.items())
        self.threshold = alike.bar(null, len(pairs), self.false_pairs)
        self.how = (
            f"Near duplicates agree in their pixels by z {self.threshold:.2f} or more, where pairs of neighbours that "
            f"are no copies have {np.median(null):.2f}; about {self.false_pairs:g} wrong pairs are expected."
        )
        found = []
        for number, (a, b) in enumerate(pairs):
            if self._copies(a, b):
                found.append((-(self.likeness(a, b) or 0.0), a, b))
            if self.progress is not None:
                self.progress(number + 1, len(pairs))
        return sorted(found)

    def same(self, a: int, b: int) -> bool:
        """Whether two rows are copies, also where they were not proposed."""
        if self.denied.says(self.rows.ids[a], self.rows.ids[b]):
            return False
        return self._copies(a, b)

    def _copies(self, a: int, b: int) -> bool:
        """By their pixels, else by their vectors: whether either is nearer to the other than by chance."""
        value = self.likeness(a, b) if self.by_pixels else None
        if value is not None:
            assert self.threshold is not None
            return value >= self.threshold
        distance = math.sqrt(max(0.0, 2 - 2 * float(self.vectors[a] @ self.vectors[b])))
        chance_2 = self.surroundings.chance(distance, np.searchsorted(self.first, [a, b]))
        return bool((chance_2 < self.false_pairs / len(self.first)).any())

    def likeness(self, a: int, b: int) -> float | None:
        """Of two rows, remembered; None where one of their images cannot be read now."""
        known = self.memory.get(self.rows.pixels[a], self.rows.pixels[b])
        if known is not None:
            return known
        one, other = self.thumbnails[a], self.thumbnails[b]
        if one is None or other is None:
            return None
        value = alike.likeness(one, other)
        self.memory.put(self.rows.pixels[a], self.rows.pixels[b], value)
        return value

    def remember(self) -> None:
        """Keep what was compared for the next call."""
        self.memory.write()

    def _null(self) -> tuple[list[float], int]:
        """Likeness of images and a far one among their neighbours, and of how many it was asked for."""
        draw, places = np.random.default_rng(0), np.flatnonzero(~self.surroundings.crowded_N)
        some = draw.choice(places, min(_NULL_PAIRS, len(places)), replace=False)
        ranks = draw.integers(NEIGHBOURS // 2, NEIGHBOURS, len(some))
        found = [
            self.likeness(int(self.first[row]), int(self.neighbour[row, rank]))
            for row, rank in zip(some, ranks, strict=True)
        ]
        return [one for one in found if one is not None], len(found)


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
