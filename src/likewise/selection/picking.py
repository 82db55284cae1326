"""Selects exactly m different images by one of four strategies, from features alone.

Shapes: N images, D features, m picks, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from likewise.errors import unknown
from likewise.selection.pool import Pool
from likewise.selection.usl import densest_apart, lloyd
from likewise.similarity.kmeans import kmeans
from likewise.similarity.nearest import neighbours

Strategy = Literal["usl", "typical", "coverage", "random"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
_TRIES = 6
"""How often USL asks for more clusters where some stay empty."""
_MOST_CLUSTERS, _SMALLEST, _NEIGHBOURS = 500, 5, 20
"""TypiClust: clusters at most, images of a cluster that counts, and neighbours of its typicality (its section 3)."""


class Picks(NamedTuple):
    """The picked images, in the order of the strategy."""

    rows: Tensor
    """(m,) int64, all different."""
    reasons: tuple[str, ...]
    """(m,) why, for people."""
    cluster: Tensor
    """(m,) int64, the cluster of each pick; of strategies without clusters the number of the pick."""


def pick(pool: Pool, count: int, by: str = "usl", *, seed: int = 0) -> Picks:
    """Exactly `count` different rows of the pool; covered ones are never among them.

    Copies of an image that is covered or picked come only when nothing else is left. A pure function of the features,
    the covered rows and `seed`. Raises InputError for an unknown strategy, and for fewer than 1 or more picks than
    there are images left.
    """
    if by not in STRATEGIES:
        raise unknown("strategy", by, STRATEGIES)
    pool.check(count)
    generator = torch.Generator().manual_seed(seed)
    found = _BY[by](pool, count, generator)
    filled = _filled(pool, found, count)
    assert len(filled.rows) == count
    assert len(torch.unique(filled.rows)) == count
    return filled


def by_usl(pool: Pool, count: int, generator: torch.Generator) -> Picks:
    """USL (arXiv 2110.03006): in each of m Lloyd clusters the densest image, kept apart from the other picks.

    Clusters that hold a covered image are covered, so there are as many clusters more. Where clusters stay empty, a few
    more are asked for; of too many the first m are taken (as published), after earlier rounds those of the most images.
    """
    clusters = min(len(pool), count + pool.covered_contents)
    taken = pool.taken if len(pool.taken) else None
    for _ in range(_TRIES):
        start = torch.randperm(len(pool), generator=generator)[:clusters]
        own_N, _ = lloyd(pool.x_ND, clusters, iterations=pool.recipe.iterations, start=start)
        rows = densest_apart(pool.x_ND, own_N, pool.density_N, pool.recipe.apart, taken=taken)
        rows = _of_different(pool, rows[~pool.covered_N[rows]])
        if len(rows) >= count or clusters == len(pool):
            break
        clusters = min(len(pool), clusters + max(count - len(rows), clusters // 10))
    sizes_K = own_N.bincount(minlength=clusters)
    if len(rows) > count and taken is not None:
        rows = rows[sizes_K[own_N[rows]].argsort(descending=True, stable=True)[:count]]
    rows = rows[:count]
    words = tuple(
        f"densest of the {size:,} images of its cluster, apart from other picks"
        if size > 1
        else "the only image of its cluster"
        for size in sizes_K[own_N[rows]].tolist()
    )
    return Picks(rows, words, own_N[rows])


def _of_different(pool: Pool, rows: Tensor) -> Tensor:
    """The rows without later copies of earlier ones: features of copies may differ by rounding, and their clusters."""
    first = np.unique(pool.content_N[rows.numpy()], return_index=True)[1]
    return rows[torch.from_numpy(np.sort(first))]


def by_typicality(pool: Pool, count: int, generator: torch.Generator) -> Picks:
    """Like TypiClust (Hacohen et al., ICML 2022, arXiv 2202.02794): the most typical image of the largest clusters.

    Clusters without a label come first, of these the largest. Typicality is 1 / mean distance to the 20 nearest of the
    cluster. Clusters are k-means++ ones, at most 500; those of fewer than five images come last.
    """
    clusters = min(len(pool), count + pool.covered_contents, _MOST_CLUSTERS)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    own_N = kmeans(pool.x_ND, clusters, metric="euclidean", iterations=pool.recipe.iterations, seed=seed).assignment
    sizes = own_N.bincount(minlength=clusters).tolist()
    labelled = own_N[pool.covered_N].bincount(minlength=clusters).tolist()
    free_N = torch.zeros(len(pool), dtype=torch.bool)
    free_N[pool.free[: pool.different]] = True
    queues = {cluster: _typical_first(pool, own_N == cluster, free_N) for cluster in range(clusters)}
    rows: list[int] = []
    while len(rows) < count and (waiting := [cluster for cluster, queue in queues.items() if queue]):
        cluster = min(waiting, key=lambda one: (sizes[one] < _SMALLEST, labelled[one], -sizes[one]))
        rows.append(queues[cluster].pop(0))
        labelled[cluster] += 1
    found = torch.tensor(rows, dtype=torch.int64)
    words = tuple(f"most typical of the {sizes[int(own_N[row])]:,} images of its cluster" for row in rows)
    return Picks(found, words, own_N[found])


def _typical_first(pool: Pool, member_N: Tensor, free_N: Tensor) -> list[int]:
    """Rows of a cluster that may be picked, the most typical first."""
    rows = member_N.nonzero().flatten()
    if len(rows) > 1:
        k = min(_NEIGHBOURS + 1, len(rows))
        found = neighbours(pool.x_ND[rows], pool.x_ND[rows], k).similarity[:, 1:]
        distance_R = (2.0 - 2.0 * found).clamp_min(0.0).sqrt().mean(1)
        rows = rows[distance_R.argsort(stable=True)]
    return [int(row) for row in rows[free_N[rows]]]


def by_coverage(pool: Pool, count: int, generator: torch.Generator) -> Picks:
    """Greedy k-centre (Sener and Savarese, ICLR 2018): each pick is the image farthest from all picks before it.

    The first is the one nearest to the mean of all, where nothing is covered yet.
    """
    del generator  # nothing is drawn
    return _filled(pool, Picks(torch.empty(0, dtype=torch.int64), (), torch.empty(0, dtype=torch.int64)), count)


def by_chance(pool: Pool, count: int, generator: torch.Generator) -> Picks:
    """Drawn without replacement; of exact copies one, while others are left."""
    once, copies = pool.free[: pool.different], pool.free[pool.different :]
    order = [part[torch.randperm(len(part), generator=generator)] for part in (once, copies)]
    rows = torch.cat(order)[:count]
    return Picks(rows, ("drawn at random",) * len(rows), torch.arange(len(rows)))


_BY: dict[str, Callable[[Pool, int, torch.Generator], Picks]] = {
    "usl": by_usl,
    "typical": by_typicality,
    "coverage": by_coverage,
    "random": by_chance,
}


def _filled(pool: Pool, found: Picks, count: int) -> Picks:
    """With the farthest other images until there are `count`; copies of what is picked come last."""
    if len(found.rows) == count:
        return found
    rows, words, cluster = found.rows.tolist(), list(found.reasons), found.cluster.tolist()
    why = "" if not rows else ", since there are fewer clusters than picks"
    candidates = pool.free
    open_C = ~torch.isin(candidates, found.rows)
    content_C = pool.content_N[candidates.numpy()]
    once_C = torch.arange(len(candidates)) < pool.different
    once_C &= torch.from_numpy(~np.isin(content_C, pool.content_N[found.rows.numpy()]))
    x_CD = pool.x_ND[candidates]
    near_C = torch.full((len(candidates),), torch.inf, dtype=x_CD.dtype)
    for row in (*pool.taken.tolist(), *rows):
        near_C = torch.minimum(near_C, _squared(x_CD, pool.x_ND[row]))
    while len(rows) < count:
        if not rows and not len(pool.taken):
            place = int((x_CD @ pool.x_ND.mean(0))[: pool.different].argmax())
            words.append("nearest to the mean of all images")
        else:
            left_C = open_C & once_C
            place = int(near_C.masked_fill(~(left_C if bool(left_C.any()) else open_C), -1.0).argmax())
            words.append(
                f"farthest from all labelled and picked images before it ({float(near_C[place]) ** 0.5:.2f}){why}"
            )
        row = int(candidates[place])
        open_C[place] = False
        near_C = torch.minimum(near_C, _squared(x_CD, pool.x_ND[row]))
        cluster.append(max(cluster, default=-1) + 1)
        rows.append(row)
    return Picks(torch.tensor(rows, dtype=torch.int64), tuple(words), torch.tensor(cluster, dtype=torch.int64))


def _squared(x_CD: Tensor, x_D: Tensor) -> Tensor:
    """(C,) squared distances of unit vectors."""
    return (2.0 - 2.0 * x_CD @ x_D).clamp_min(0.0)
