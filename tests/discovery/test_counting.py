"""The number of classes: found where there are some, and no number made up where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.discovery.counting import count_classes, search, usual_most
from likewise.errors import InputError
from likewise.similarity import unit
from tests.discovery.clouds import clouds, some_labels


def test_both_ways_find_the_number_of_clear_classes() -> None:
    points, truth = clouds(9, 25)
    found = count_classes(points, some_labels(truth, 5), most=30)
    assert found.published is not None
    assert found.size is not None
    assert found.chosen.classes == found.published.classes
    assert found.chosen.low <= min(found.published.low, found.size.low) <= found.chosen.classes
    assert [name for name, _ in found.estimates()] == ["published search", "stability", "size"]
    assert abs(found.published.classes - 9) <= 1
    assert found.published.low <= found.published.classes <= found.published.high
    assert 6 <= found.stability.classes <= 12
    assert not found.notes


def test_classes_that_run_into_each_other_are_counted_by_size() -> None:
    """Where clusters are hardly classes the published search stays near the named ones."""
    points, truth = clouds(20, 60, spread=0.4, dim=32)
    found = count_classes(points, some_labels(truth, 8), most=60)
    assert found.published is not None
    assert found.size is not None
    assert abs(found.size.classes - 20) < abs(found.published.classes - 20)
    assert 16 <= found.chosen.classes <= 25
    assert found.chosen.low <= 20 <= found.chosen.high
    assert any("by size" in note for note in found.notes)


def test_brent_looks_at_both_ends_and_at_few_numbers() -> None:
    points, truth = clouds(9, 25)
    tried = search(points, some_labels(truth, 5), 5, 60, seed=0)
    assert {5, 60} <= set(tried)
    assert len(tried) < 20
    assert max(tried.values()) > 0.9


def test_one_labelled_class_is_counted_by_stability() -> None:
    points, truth = clouds(6, 25)
    found = count_classes(points, some_labels(truth, 1), most=20)
    assert found.published is None
    assert found.chosen.classes > 1
    assert "by stability" in found.notes[0]


def test_noise_is_called_noise() -> None:
    points = unit(torch.randn(200, 32, generator=torch.Generator().manual_seed(0)))
    labels = np.full(200, -1)
    labels[:40] = np.arange(40) % 4
    found = count_classes(points, labels, most=40)
    assert any("hardly agree" in note for note in found.notes)


def test_all_classes_known_are_no_more() -> None:
    points, truth = clouds(6, 20)
    found = count_classes(points, some_labels(truth, 6), most=24)
    assert found.published is not None
    assert found.published.classes in {6, 7}


def test_the_limit_is_checked_and_has_a_default() -> None:
    points, truth = clouds(5, 10)
    with pytest.raises(InputError, match="most=2 classes: allowed are 4 to 50"):
        count_classes(points, some_labels(truth, 4), most=2)
    assert usual_most(3, 10_000) == 100
    assert usual_most(80, 10_000) == 320
    assert usual_most(3, 50) == 10


def test_named_classes_far_from_all_others_do_not_hide_them() -> None:
    points, truth = clouds(7, 20, spread=0.02)
    found = count_classes(points, some_labels(truth, 2), most=12)
    assert found.published is not None
    assert found.published.tried[2] == found.published.tried[7] == 1.0
    assert found.published.classes == 7
