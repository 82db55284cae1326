"""Clusters with labelled images that stay: what published vectors do not reach."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from likewise.discovery.semi_kmeans import semi_kmeans
from likewise.errors import InputError
from tests.discovery.clouds import clouds, some_labels


def test_labelled_images_never_leave_their_class() -> None:
    points, truth = clouds(3, 20, spread=0.6)
    labels = some_labels(truth, 2)
    wrong = labels.copy()
    wrong[(labels == 0).nonzero()[0][0]] = 1  # one that lies elsewhere
    known = wrong >= 0
    found = semi_kmeans(points[~known], points[known], torch.from_numpy(wrong[known]), 3, runs=2)
    assert found.assignment[: known.sum()].tolist() == wrong[known].tolist()


def test_without_labelled_images_it_is_k_means() -> None:
    points, truth = clouds(4, 15)
    found = semi_kmeans(points, points[:0], torch.zeros(0, dtype=torch.int64), 4, candidates=4)
    pairs = {(int(one), int(other)) for one, other in zip(found.assignment, truth, strict=True)}
    assert len(pairs) == 4


def test_copies_of_one_image_leave_clusters_empty() -> None:
    points = torch.ones(10, 4) / 2
    found = semi_kmeans(points[:8], points[8:], torch.tensor([0, 0]), 3)
    assert found.assignment.tolist() == [0] * 10
    assert found.inertia == pytest.approx(0.0, abs=1e-5)


def test_greedy_first_centres_are_never_looser_here() -> None:
    points, truth = clouds(12, 10, spread=0.3)
    labels = some_labels(truth, 4)
    known = labels >= 0
    arguments = (points[~known], points[known], torch.from_numpy(labels[known]), 12)
    loose, tight = (semi_kmeans(*arguments, candidates=count, runs=3).inertia for count in (1, 6))
    assert tight <= loose


@pytest.mark.parametrize("clusters", [0, 1, 40])
def test_numbers_of_clusters_that_cannot_be(clusters: int) -> None:
    points, truth = clouds(3, 10)
    labels = some_labels(truth, 2)
    known = labels >= 0
    with pytest.raises(InputError, match="allowed are 2 to 22"):
        semi_kmeans(points[~known], points[known], torch.from_numpy(labels[known]), clusters)


def test_centres_of_unit_length_do_not_draw_what_lies_apart() -> None:
    """The short mean of a wide cluster is nearer to an odd image than the long mean of the narrow one beside it."""
    angles = torch.tensor([-75.0, -45.0, 45.0, 75.0, 139.0, 140.0, 141.0, 227.0]).deg2rad()
    x_UD = torch.stack([angles.cos(), angles.sin()], 1)
    labelled_LD = x_UD[[0, 3, 4, 6]]
    labels_L = torch.tensor([0, 0, 1, 1])
    odd = {
        unit: int(semi_kmeans(x_UD, labelled_LD, labels_L, 2, runs=1, unit_centres=unit).assignment[-1])
        for unit in (False, True)
    }
    assert odd == {False: 0, True: 1}
    centres_KD = semi_kmeans(x_UD, labelled_LD, labels_L, 2, runs=1, unit_centres=True).centres
    assert torch.allclose(centres_KD, normalize(centres_KD, dim=1))
