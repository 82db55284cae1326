"""Classes found, how sure they are, and their scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.discovery.accuracy import discovery_accuracy
from likewise.discovery.finding import describe, find
from likewise.discovery.scoring import score
from likewise.errors import InputError
from tests.discovery.clouds import clouds, some_labels

NAMES = ("ant", "bee", "new 1")


def test_classes_are_found_named_and_sure() -> None:
    points, truth = clouds(5, 20)
    labels = some_labels(truth, 3)
    found = find(points, labels, 5, runs=3)
    told = {one.name: one for one in score(truth, labels, found.clusters, found.confidence >= 0.5)}
    assert told["All"].value == told["New"].value == 1.0
    assert told["Old"].images == 30
    assert found.recovered == (27, 27)  # one image of each class keeps its label
    classes = describe(found, points, labels, NAMES, sure=0.5)
    assert [one.name for one in classes] == ["ant", "bee", "new 1", "new 2", "new 3"]  # a class has one of the names
    assert [one.is_new for one in classes] == [False] * 3 + [True] * 2
    assert all(one.nearest != one.name for one in classes)
    assert all(0.5 < one.coherence <= 1.0 for one in classes)
    assert sum(one.images + one.labelled for one in classes) == 100


def test_labels_of_the_unlabelled_part_reach_nothing() -> None:
    points, truth = clouds(5, 20, spread=0.5)
    labels = some_labels(truth, 3)
    first = find(points, labels, 5, runs=2)
    again = find(points, labels.copy(), 5, runs=2)
    assert np.array_equal(first.clusters, again.clusters)
    assert np.array_equal(first.confidence, again.confidence)


def test_images_between_classes_are_less_sure() -> None:
    points, truth = clouds(4, 30, spread=0.25)
    labels = some_labels(truth, 3)
    found = find(points, labels, 4, runs=3)
    right = found.clusters == truth
    margin = torch.cdist(points, found.centres).topk(2, largest=False).values
    order = np.argsort((margin[:, 0] / margin[:, 1]).numpy())
    free = order[labels[order] < 0]
    assert right[free[:10]].all()
    assert (np.diff(found.confidence[free]) <= 1e-12).all()


def test_one_labelled_image_of_one_class_is_enough() -> None:
    points, _ = clouds(3, 10)
    labels = np.full(30, -1)
    labels[0] = 7
    found = find(points, labels, 3, runs=3)
    assert found.recovered == (0, 0)
    (named,) = (one for one in describe(found, points, labels, tuple("abcdefgh"), 0.5) if not one.is_new)
    assert (named.name, named.nearest, named.labelled) == ("h", None, 1)


def test_all_classes_known_and_one_cluster() -> None:
    points, truth = clouds(3, 10)
    labels = some_labels(truth, 3)
    found = find(points, labels, 3, runs=1)
    assert not any(one.is_new for one in describe(found, points, labels, ("a", "b", "c"), 0.5))
    one = find(points, np.where(np.arange(30) < 5, 0, -1), 1, runs=1)
    assert set(one.clusters.tolist()) == {0}


def test_the_score_is_version_two() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 6, 200)
    clusters = np.where(draw.random(200) < 0.6, truth, draw.integers(0, 8, 200))
    labels = np.where(draw.random(200) < 0.3, np.where(truth < 3, truth, -1), -1)
    told = {one.name: one.value for one in score(truth, labels, clusters, np.ones(200, bool))}
    free = labels < 0
    two = discovery_accuracy(truth[free], clusters[free], truth[free] < 3)
    one = discovery_accuracy(truth[free], clusters[free], truth[free] < 3, version=1)
    assert (told["All"], told["Old"], told["New"]) == pytest.approx(tuple(two))
    assert one.all >= two.all
    assert score(np.full(200, -1), labels, clusters, np.ones(200, bool)) == []


def test_an_unknown_seeding_is_refused() -> None:
    points, truth = clouds(3, 10)
    with pytest.raises(InputError, match="unknown seeding 'greed': did you mean 'greedy'"):
        find(points, some_labels(truth, 2), 3, seeding="greed")  # type: ignore[arg-type]
