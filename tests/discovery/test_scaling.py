"""Features scaled by the spread within labelled classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from likewise.discovery.finding import find
from likewise.discovery.scaling import COMPONENTS, components, scaled
from likewise.discovery.scoring import score
from likewise.similarity import unit
from tests.discovery.clouds import clouds, some_labels


def stretched(points: Tensor) -> Tensor:
    """The points beside four directions in which images of every class differ most, as by their light."""
    noise = torch.randn(len(points), 4, generator=torch.Generator().manual_seed(1))
    return unit(torch.cat([points, 0.8 * noise], 1))


def test_what_differs_within_named_classes_counts_less() -> None:
    points, truth = clouds(8, 40, spread=0.1)
    labels = some_labels(truth, 4)
    right = {}
    for seeding in ("greedy", "published"):
        found = find(stretched(points), labels, 8, seeding=seeding, runs=3)
        told = score(truth, labels, found.clusters, np.ones(len(truth), bool))
        right[seeding] = {one.name: one.value for one in told}
    assert right["greedy"]["New"] > 0.95
    assert right["greedy"]["All"] > right["published"]["All"] + 0.1


def test_labelled_classes_become_round() -> None:
    points, truth = clouds(3, 200)
    space = scaled(stretched(points), truth)
    assert torch.allclose(space.norm(dim=1), torch.ones(len(space)))
    one = space[torch.from_numpy(truth == 0)]
    spread = torch.linalg.eigvalsh((one - one.mean(0)).T @ (one - one.mean(0)))
    assert spread[-1] < 10 * spread[len(spread) // 2]


def test_without_two_images_of_a_class_nothing_is_scaled() -> None:
    points, _ = clouds(4, 50, dim=COMPONENTS + 40)
    labels = np.full(200, -1)
    labels[:3] = np.arange(3)
    assert torch.allclose(scaled(points, labels), unit(components(points - points.mean(0), COMPONENTS)))
    assert bool(scaled(points[:1].repeat(20, 1), np.arange(20) % 2).isfinite().all())
