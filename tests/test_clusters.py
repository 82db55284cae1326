"""Labels for all images: found, looked up, kept in order."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.memory import Clusters
from likewise.similarity.kmeans import NONE


def clusters(labels: list[int], count: int, rows: torch.Tensor) -> Clusters:
    made = Clusters(len(labels), count, rows.shape[1])
    made.labels.copy_(torch.tensor(labels))
    made.recompute(rows)
    return made


def test_before_the_first_look_nobody_has_a_label() -> None:
    made = Clusters(5, 2, 3)
    assert made.of(torch.tensor([0, 4, -1])).tolist() == [NONE] * 3
    assert made.sizes().tolist() == [0, 0]


def test_labels_are_looked_up_and_unwritten_memory_has_none() -> None:
    made = Clusters(40, 2, 2)
    made.find(torch.eye(2).repeat(20, 1))
    assert made.labels[0] != made.labels[1]
    assert made.of(torch.tensor([[0, -1], [1, 2]])).tolist() == [
        [made.labels[0], NONE],
        [made.labels[1], made.labels[0]],
    ]


def test_centroids_are_plain_means_and_empty_ones_stay() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0], [5.0, 1.0]])
    made = clusters([0, 0, 2, NONE], 4, rows)
    made.centroids[3] = 7.0
    made.recompute(rows)
    assert made.centroids.tolist() == [[0.5, 0.5], [0.0, 0.0], [3.0, 3.0], [7.0, 7.0]]


def test_a_small_cluster_gives_its_members_away_and_takes_half_of_the_largest() -> None:
    rows = torch.cat([torch.randn(12, 2) * 0.01 + torch.tensor(at) for at in ([9.0, 1.0], [9.0, -1.0], [-9.0, 0.0])])
    stray = torch.tensor([[-8.0, 0.0]])
    made = clusters([0] * 24 + [1] * 12 + [2], 3, torch.cat([rows, stray]))
    made.repair(torch.cat([rows, stray]), 2)
    assert made.labels[-1] == 1  # the most similar of the others
    halves = {tuple(made.labels[:12].tolist()), tuple(made.labels[12:24].tolist())}
    assert halves == {(0,) * 12, (2,) * 12}
    for cluster in (0, 2):
        torch.testing.assert_close(
            made.centroids[cluster], torch.cat([rows, stray])[made.labels == cluster].mean(0), rtol=1e-5, atol=1e-5
        )


def test_a_cluster_of_equal_rows_is_halved_all_the_same() -> None:
    rows = torch.ones(9, 2)
    made = clusters([0] * 9, 2, rows)
    made.repair(rows, 1)
    assert sorted(made.sizes().tolist()) == [4, 5]


def test_nothing_is_repaired_where_all_are_small_or_none_is() -> None:
    rows = torch.randn(6, 2)
    for least in (1, 9):
        made = clusters([0, 0, 0, 1, 1, 1], 2, rows)
        made.repair(rows, least)
        assert made.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(InputError, match="clusters=6 of 5 images: allowed are 1 to 5"):
        Clusters(5, 6, 2)
