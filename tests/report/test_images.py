"""Neighbours and map: never the image itself, never two in one place."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import normalize

from likewise.report import map2d, neighbours
from likewise.report.thumbnails import sheet, thumbnail
from tests.report.conftest import grouped, some_images


def test_neighbours_equal_scikit_learn_without_the_image_itself() -> None:
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    query = np.array([3, 17, 39])
    found = neighbours.find(features, query, 5)
    exact = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(features.numpy())
    distance, index = exact.kneighbors(features[query].numpy())
    assert np.array_equal(found.nearest_QK, index[:, 1:])
    np.testing.assert_allclose(found.similarity_QK, 1 - distance[:, 1:], atol=1e-5)


def test_copies_of_an_image_are_neighbours_and_it_is_not() -> None:
    features = torch.ones(9, 4)
    found = neighbours.find(features, np.arange(9), 4)
    assert found.nearest_QK.shape == (9, 4)
    for query, nearest in zip(found.query_Q, found.nearest_QK, strict=True):
        assert query not in nearest
        assert len(set(nearest.tolist())) == 4
    assert neighbours.find(features[:3], np.arange(3), 8).nearest_QK.shape == (3, 2)


def test_agreement_is_the_share_of_the_same_class() -> None:
    images = some_images(30)
    features = grouped(images)
    share, chance = neighbours.agreement(images, features, k=4) or (0.0, 0.0)
    assert share == 1.0
    assert chance == pytest.approx(9 / 29)
    shuffled = features[torch.randperm(30, generator=torch.Generator().manual_seed(1))]
    similarity = normalize(shuffled) @ normalize(shuffled).T
    similarity.fill_diagonal_(-2)
    labels = torch.from_numpy(images.labels)
    plain = (labels[similarity.topk(4).indices] == labels[:, None]).float().mean()
    assert neighbours.agreement(images, shuffled, k=4) == (pytest.approx(float(plain)), chance)
    assert neighbours.agreement(some_images(30, labelled=False), features) is None


def test_every_class_is_shown_in_turn() -> None:
    images = some_images(60)
    chosen = neighbours.choose(images, 7)
    assert len(set(chosen.tolist())) == 7
    assert sorted(np.bincount(images.labels[chosen])) == [2, 2, 3]
    assert len(neighbours.choose(some_images(5), 12)) == 5
    images.labels = np.full(60, -1)
    assert np.array_equal(neighbours.choose(images, 3), [0, 30, 59])


def test_right_and_wrong_are_told_by_more_than_colour() -> None:
    images = some_images(12)
    shown = neighbours.grid(images, torch.randn(12, 5, generator=torch.Generator().manual_seed(0)))
    assert 'class="same"' in shown
    assert 'class="differs"' in shown
    assert "<b>class " in shown
    unlabelled = neighbours.grid(some_images(12, labelled=False), torch.randn(12, 5))
    assert "same" not in unlabelled


@given(
    count=st.integers(1, 120),
    columns=st.integers(2, 12),
    rows=st.integers(2, 9),
    seed=st.integers(0, 3),
    flat=st.booleans(),
)
def test_every_image_is_on_the_map(count: int, columns: int, rows: int, seed: int, flat: bool) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 2)) * (0.0 if flat else 1.0)
    placed = map2d.snap(points, columns, rows)
    cells = list(zip(placed.column_M.tolist(), placed.row_M.tolist(), strict=True))
    assert sorted(placed.image_M.tolist()) == list(range(count))
    assert all(0 <= column < columns and 0 <= row < rows for column, row in cells)
    assert placed.stacked == count - len(set(cells))
    # The topmost are drawn last: each of the last ones lies in a cell of its own, that of all cells.
    assert set(cells[placed.stacked :]) == set(cells)


def test_a_stack_says_how_many_lie_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map2d, "positions", lambda features: np.zeros((len(features), 2)))
    images = some_images(60)
    shown = map2d.image_map(images, torch.ones(60, 5))
    assert shown.count("<i ") >= 60
    assert sum(int(number) - 1 for number in re.findall(r'data-n="(\d+)"', shown)) == int(
        re.search(r"(\d+) lie under others", shown)[1]  # type: ignore[index]
    )


def test_images_stay_near_their_place() -> None:
    points = np.random.default_rng(0).uniform(size=(400, 2))
    placed = map2d.snap(points, 30, 20)
    low, high = np.quantile(points, [0.002, 0.998], axis=0)
    home = np.clip((points[placed.image_M] - low) / (high - low), 0, 1) * [29, 19]
    away = np.hypot(placed.column_M - home[:, 0], placed.row_M - home[:, 1])
    assert away.max() <= map2d.REACH + 1
    assert len(away) > 350


@pytest.mark.parametrize("count", [2, 3, 29, 30, 80])
def test_places_are_finite_and_the_same_again(count: int) -> None:
    features = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
    places = map2d.positions(features)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert np.array_equal(map2d.positions(features), places)
    assert np.isfinite(map2d.positions(torch.ones(count, 5))).all()
    assert np.isfinite(map2d.positions(features[:, :1])).all()


def test_classes_lie_together_on_the_map() -> None:
    images = some_images(90)
    places = map2d.positions(grouped(images))
    nearest = NearestNeighbors(n_neighbors=4).fit(places).kneighbors(places, return_distance=False)[:, 1:]
    assert (images.labels[nearest] == images.labels[:, None]).mean() > 0.95


def test_only_large_classes_have_a_colour_of_their_own() -> None:
    images = some_images(60)
    images.labels = np.concatenate([np.arange(20), np.repeat(np.arange(10), 4)])
    shown = map2d.image_map(images, torch.randn(60, 5))
    assert shown.count("data-kind=") == map2d.NAMED_CLASSES + 1
    assert "8 others" in shown


def test_thumbnails_are_the_middle_of_the_image() -> None:
    images = some_images(3)
    pixels = images.gather(np.array([1]))[0][0, 1:10, 0:9].numpy()  # 12 x 9: the middle 9 rows, rounded down
    assert np.array_equal(np.asarray(thumbnail(images, 1, 9)), pixels)
    assert sheet(images, [0, 1, 2], 10, 2).size == (20, 20)
