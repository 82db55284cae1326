"""k-means: finds what is there, never worse for going on, and copes with points that make it hard."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Reference
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity import members
from likewise.similarity.kmeans import KMeans, Metric, kmeans

METRICS: tuple[Metric, ...] = ("cosine", "euclidean")


def blobs(clusters: int, each: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points round well separated directions, and which direction each belongs to."""
    generator = torch.Generator().manual_seed(seed)
    centres = 10 * torch.eye(clusters, 2 * clusters)
    noise = torch.randn(clusters * each, 2 * clusters, generator=generator)
    labels = torch.arange(clusters).repeat(each)
    return centres[labels] + 0.5 * noise, labels


def far(x_ND: Tensor, found: KMeans, metric: Metric) -> Tensor:
    """All distances (N, K), the obvious way."""
    if metric == "cosine":
        return 1 - torch.nn.functional.cosine_similarity(x_ND[:, None], found.centroids[None], dim=2)
    return (x_ND[:, None] - found.centroids[None]).square().sum(2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_separated_clusters_are_found(metric: Metric, seed: int) -> None:
    x, labels = blobs(8, 30, seed)
    found = kmeans(x, 8, metric=metric, seed=seed)
    assert len({(int(a), int(b)) for a, b in zip(found.assignment, labels, strict=True)}) == 8


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_matter_only_to_euclidean(metric: Metric) -> None:
    x, _ = blobs(4, 20)
    stretched = kmeans(x * torch.linspace(0.1, 10, len(x))[:, None], 4, metric=metric)
    assert torch.equal(stretched.assignment, kmeans(x, 4, metric=metric).assignment) is (metric == "cosine")
    if metric == "cosine":
        torch.testing.assert_close(stretched.centroids.norm(dim=1), torch.ones(4))


@settings(max_examples=60, deadline=None)
@given(
    points=st.integers(1, 60),
    clusters=st.integers(1, 12),
    dim=st.integers(1, 5),
    metric=st.sampled_from(METRICS),
    grid=st.sampled_from([1, 3, 1000]),
    seed=st.integers(0, 99),
)
def test_laws(points: int, clusters: int, dim: int, metric: Metric, grid: int, seed: int) -> None:
    """With a coarse `grid` many points coincide, often fewer of them being distinct than there are clusters."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, grid + 1, (points, dim), generator=generator).double() - grid / math.pi
    clusters = min(clusters, points)
    found = kmeans(x, clusters, metric=metric, seed=seed)
    distances = far(x, found, metric)
    own = distances.gather(1, found.assignment[:, None])[:, 0]
    torch.testing.assert_close(own, distances.min(1).values)
    assert found.inertia == pytest.approx(float(own.sum()), rel=1e-9, abs=1e-9)
    unit = torch.nn.functional.normalize(x, dim=1) if metric == "cosine" else x
    distinct = len(unit.mul(1e6).round().unique(dim=0))
    filled = len(found.assignment.unique())
    assert filled == clusters or filled >= distinct
    if distinct <= clusters:
        assert found.inertia == pytest.approx(0, abs=1e-9)
    assert found.centroids.isfinite().all()


def test_points_that_cancel_out_are_far_from_their_centroid() -> None:
    assert kmeans(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), 1).inertia == 2.0


def test_more_iterations_never_hurt() -> None:
    x = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    inertias = [kmeans(x, 20, metric="euclidean", iterations=n, tolerance=0).inertia for n in (0, 1, 2, 4, 8, 16, 100)]
    assert inertias == sorted(inertias, reverse=True)
    assert inertias[-1] < inertias[0]


def test_as_good_as_scikit_learn() -> None:
    x = torch.randn(2000, 16, generator=torch.Generator().manual_seed(1))
    ours = min(kmeans(x, 30, metric="euclidean", seed=seed, tolerance=0).inertia for seed in range(3))
    theirs = Reference(30, n_init=3, random_state=0, tol=0).fit(x.numpy()).inertia_
    assert ours < 1.01 * theirs


@pytest.mark.parametrize("metric", METRICS)
def test_from_the_same_start_it_is_scikit_learn(metric: Metric) -> None:
    x = torch.randn(400, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 3
    if metric == "cosine":
        x = torch.nn.functional.normalize(x - 3, dim=1)
    found = kmeans(x, 9, metric=metric, start=x[:9], iterations=1, tolerance=0)
    reference = Reference(9, init=x[:9].numpy(), n_init=1, max_iter=1, tol=0).fit(x.numpy())
    expected = torch.from_numpy(reference.cluster_centers_)
    if metric == "cosine":
        expected = torch.nn.functional.normalize(expected, dim=1)
    torch.testing.assert_close(found.centroids, expected)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = blobs(6, 40)
    whole = kmeans(x, 6, metric="euclidean")
    monkeypatch.setattr(members, "TILE", 100)
    tiled = kmeans(x, 6, metric="euclidean")
    assert torch.equal(tiled.assignment, whole.assignment)
    torch.testing.assert_close(tiled.centroids, whole.centroids)


def test_the_same_seed_gives_the_same_and_leaves_the_generator_alone() -> None:
    x = torch.randn(300, 4)
    before = torch.get_rng_state()
    first, again, other = (kmeans(x, 10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.centroids, again.centroids)
    assert torch.equal(first.assignment, again.assignment)
    assert not torch.equal(first.centroids, other.centroids)


@pytest.mark.parametrize("metric", METRICS)
def test_clusters_that_lose_their_points_restart_far_away(metric: Metric) -> None:
    x, labels = blobs(5, 20)
    start = torch.cat([x[labels == 0][:1]] * 5)  # all at one place: four are empty at once
    found = kmeans(x, 5, metric=metric, start=start)
    assert found.assignment.unique().tolist() == [0, 1, 2, 3, 4]
    assert len({(int(a), int(b)) for a, b in zip(found.assignment, labels, strict=True)}) == 5


def test_points_without_direction_keep_to_themselves() -> None:
    x, labels = blobs(3, 10)
    x[labels == 1] = 0
    found = kmeans(x, 3)
    assert len({(int(a), int(b)) for a, b in zip(found.assignment, labels, strict=True)}) == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_points_far_from_the_origin_keep_their_digits(dtype: torch.dtype) -> None:
    x, labels = blobs(4, 25)
    offset = 64.0 if dtype == torch.bfloat16 else 3000.0
    found = kmeans((x + offset).to(dtype), 4, metric="euclidean")
    assert found.centroids.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert len({(int(a), int(b)) for a, b in zip(found.assignment, labels, strict=True)}) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"clusters": 6}, "6 clusters cannot be made of 5 points: allowed are 1 to 5"),
        ({"clusters": 0}, "allowed are 1 to 5"),
        ({"clusters": 2, "metric": "cosin"}, "did you mean 'cosine'"),
        ({"clusters": 2, "start": torch.zeros(3, 3)}, r"must have the shape \(2, 3\)"),
        ({"clusters": 2, "x_ND": torch.tensor([[1.0], [torch.nan]])}, "row 1 is not"),
        ({"clusters": 1, "x_ND": torch.zeros(3)}, "not a tensor of 1 axes"),
    ],
)
def test_impossible_requests_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        kmeans(**{"x_ND": torch.ones(5, 3), **arguments})  # type: ignore[arg-type]
