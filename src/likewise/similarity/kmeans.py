"""k-means by cosine or Euclidean distance, on the features' device, in bounded memory.

scikit-learn's k-means is not used because it works in the memory of the CPU only, has no cosine distance (unit
centroids), and fills empty clusters without regard to what the other new centroids already cover.

Shapes: N points, D dimensions, K clusters.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.errors import InputError, unknown
from likewise.similarity.members import add_members, tiles

Metric = Literal["cosine", "euclidean"]
NONE = -1
"""The label of what belongs to no cluster."""


class KMeans(NamedTuple):
    """The result of k-means."""

    centroids: Tensor
    """(K, D); unit length for the cosine metric, or 0 where points cancel out. A centroid without points is one of the
    points, or a repetition."""
    assignment: Tensor
    """(N,) int64, the nearest centroid of each point, the first of equally near ones."""
    inertia: float
    """Sum over points of the squared distance to their centroid; of 1 - cosine for the cosine metric."""


class _Pass(NamedTuple):
    """One pass over all points."""

    assignment: Tensor  # (N,)
    sums: Tensor  # (K, D) of the points of each cluster
    counts: Tensor  # (K,)


@torch.no_grad()
def kmeans(
    x_ND: Tensor,
    clusters: int,
    *,
    metric: Metric = "cosine",
    iterations: int = 100,
    tolerance: float = 1e-4,
    seed: int = 0,
    start: Tensor | None = None,
    restart: bool = True,
) -> KMeans:
    """Cluster the points (N, D), from `start` (K, D) if given and from a k-means++ draw of `seed` otherwise.

    Stops when the centroids' summed squared step is at most `tolerance` times the mean squared norm of the centred
    points (at most `tolerance` for the cosine metric), or after `iterations`. Each cluster that has lost all its
    points restarts at the point farthest from all centroids, one after the other; where there are fewer distinct
    points than clusters the surplus clusters stay empty. Without `restart` empty clusters stay empty where they are
    (plain Lloyd iterations, as USL uses). Points of length 0 have no direction, and for the cosine
    metric form one of their own. The result depends on the points, the settings and the device alone. Works in float64
    for float64 points and in float32 for others.

    k-means++: Arthur and Vassilvitskii, SODA 2007, in its greedy form. Cosine k-means: Dhillon and Modha, Machine
    Learning 42, 2001.
    Raises `InputError` for an unknown metric, more clusters than points, and points that are not finite.
    """
    x_ND = _checked(x_ND, clusters, metric)
    origin_1D = torch.zeros_like(x_ND[:1])
    if metric == "euclidean":  # products of centred points lose fewer digits
        origin_1D = x_ND.mean(0, keepdim=True)
        x_ND = x_ND - origin_1D
    size = 1.0 if metric == "cosine" else float(torch.linalg.vector_norm(x_ND, dim=1).square().mean())
    same = (100 * torch.finfo(x_ND.dtype).eps) ** 2 * size  # squared distance that is rounding
    centroids = _drawn(x_ND, clusters, seed) if start is None else _like(x_ND, start, clusters, metric, origin_1D)
    for _ in range(iterations):
        seen = _assign(x_ND, centroids)
        moved, restarted = _moved(x_ND, centroids, seen, metric, same, restart=restart)
        step = float((moved - centroids).square().sum())
        centroids = moved
        if not restarted and step <= tolerance * size:
            break
    assignment_N = _assign(x_ND, centroids).assignment
    inertia = float(_to_own(x_ND, centroids, assignment_N).double().sum())
    if metric == "cosine":  # the squared chord between unit vectors is twice 1 - cosine
        cancelled_K = centroids.norm(dim=1) < 0.5  # points opposite each other have a mean of 0: a chord of 1, not 2
        inertia = (inertia + int((cancelled_K[assignment_N] & x_ND.any(dim=1)).sum())) / 2
    return KMeans(centroids + origin_1D, assignment_N, inertia)


def _checked(x_ND: Tensor, clusters: int, metric: str) -> Tensor:
    """The points in a floating type that sums can be made in, of unit length for the cosine metric."""
    if metric not in get_args(Metric):
        raise unknown("metric", metric, get_args(Metric))
    if x_ND.ndim != 2:
        raise InputError(f"k-means takes points (N, D), not a tensor of {x_ND.ndim} axes")
    if not 1 <= clusters <= len(x_ND):
        raise InputError(f"{clusters} clusters cannot be made of {len(x_ND)} points: allowed are 1 to {len(x_ND)}")
    x_ND = x_ND.detach().to(torch.float64 if x_ND.dtype == torch.float64 else torch.float32)
    finite = torch.linalg.vector_norm(x_ND, ord=math.inf, dim=1).isfinite()
    if not finite.all():
        raise InputError(f"k-means needs finite points: row {int(finite.logical_not().nonzero()[0])} is not")
    return F.normalize(x_ND, dim=1) if metric == "cosine" else x_ND


def _like(x_ND: Tensor, start_KD: Tensor, clusters: int, metric: Metric, origin_1D: Tensor) -> Tensor:
    """Given centroids, in the coordinates of the points."""
    if start_KD.shape != (clusters, x_ND.shape[1]):
        raise InputError(f"start must have the shape {(clusters, x_ND.shape[1])}, not {tuple(start_KD.shape)}")
    start_KD = start_KD.detach().to(x_ND)
    return F.normalize(start_KD, dim=1) if metric == "cosine" else start_KD - origin_1D


def _drawn(x_ND: Tensor, clusters: int, seed: int) -> Tensor:
    """Greedy k-means++: of a few points drawn in proportion to their squared distance, the one that lowers it most.

    Drawn on the CPU, whose running sums are the same every time.
    """
    generator = torch.Generator().manual_seed(seed)
    candidates = 2 + int(math.log(clusters))
    chosen = torch.randint(len(x_ND), (1,), generator=generator).tolist()
    norms_N1 = torch.linalg.vector_norm(x_ND, dim=1, keepdim=True).square()
    near_N1 = _to_points(x_ND, norms_N1, chosen)
    while len(chosen) < clusters:
        running_N = near_N1.flatten().cpu().double().cumsum(0)
        tickets = torch.rand(candidates, generator=generator, dtype=torch.float64) * running_N[-1]
        drawn = torch.searchsorted(running_N, tickets, right=True).clamp_(max=len(x_ND) - 1).tolist()
        near_NT = torch.minimum(near_N1, _to_points(x_ND, norms_N1, drawn))
        best = int(near_NT.sum(0).argmin())
        chosen.append(drawn[best])
        near_N1 = near_NT[:, best : best + 1]
    return x_ND[chosen].clone()


def _to_points(x_ND: Tensor, norms_N1: Tensor, points: list[int]) -> Tensor:
    """Squared distances (N, T) to T of the points, by products; `norms_N1` are the squared lengths of all."""
    return torch.addmm(norms_N1[points].T, x_ND, x_ND[points].T, alpha=-2).add_(norms_N1).clamp_(min=0)


def _to_point(x_ND: Tensor, point: int) -> Tensor:
    """Squared distances (N,) to one of the points, exactly 0 for points equal to it."""
    return _to_own(x_ND, x_ND[point : point + 1], torch.zeros(len(x_ND), dtype=torch.int64, device=x_ND.device))


def _to_own(x_ND: Tensor, centroids_KD: Tensor, assignment_N: Tensor) -> Tensor:
    """Squared distances (N,) to the assigned centroids: of differences, so exactly 0 where a point is its centroid."""
    distance_N = x_ND.new_empty(len(x_ND))  # made first: small results kept between tiles would pin freed memory
    columns = x_ND.shape[1]
    for out_C, tile_CD, own_C in zip(*(tiles(x, columns) for x in (distance_N, x_ND, assignment_N)), strict=True):
        out_C.copy_((tile_CD - centroids_KD[own_C]).square_().sum(1))
    return distance_N


def _assign(x_ND: Tensor, centroids_KD: Tensor) -> _Pass:
    """Send every point to its nearest centroid, and sum the points of each cluster, tile by tile."""
    half_norms_K = centroids_KD.square().sum(1) / 2
    sums, counts = torch.zeros_like(centroids_KD), torch.zeros_like(half_norms_K)
    assignment_N = torch.empty(len(x_ND), dtype=torch.int64, device=x_ND.device)
    columns = max(centroids_KD.shape)
    for nearest_C, tile_CD in zip(tiles(assignment_N, columns), tiles(x_ND, columns), strict=True):
        nearest_C.copy_(torch.addmm(half_norms_K, tile_CD, centroids_KD.T, alpha=-1).argmin(1))
        counts += nearest_C.bincount(minlength=len(counts))
        add_members(sums, nearest_C, tile_CD)
    return _Pass(assignment_N, sums, counts)


def _moved(
    x_ND: Tensor, centroids_KD: Tensor, seen: _Pass, metric: Metric, same: float, *, restart: bool
) -> tuple[Tensor, bool]:
    """The means of the clusters, empty ones restarted at far points; and whether any was restarted."""
    moved_KD = seen.sums / seen.counts[:, None].clamp(min=1)
    if metric == "cosine":
        moved_KD = F.normalize(moved_KD, dim=1)
    empty = (seen.counts == 0).nonzero().flatten().tolist()
    moved_KD[empty] = centroids_KD[empty]
    if not (empty and restart):
        return moved_KD, False
    near_N, restarted = _to_own(x_ND, centroids_KD, seen.assignment), False
    for cluster in empty:
        farthest = int(near_N.argmax())
        if float(near_N[farthest]) <= same:
            break
        moved_KD[cluster] = x_ND[farthest]
        near_N, restarted = torch.minimum(near_N, _to_point(x_ND, farthest)), True
    return moved_KD, restarted
