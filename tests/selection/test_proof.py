"""What is expected of a selection before labels, and measured after them."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.selection.picking import pick
from likewise.selection.pool import Pool
from likewise.selection.proof import expect, measure
from tests.selection.test_picking import blobs


def test_a_pick_of_each_group_is_expected_to_beat_picks_of_one() -> None:
    x_ND = blobs(240, noise=0.08)
    rows = {"each": torch.arange(6), "one": torch.arange(6) * 6}
    found = expect(x_ND, {name: lambda _, rows=one: rows for name, one in rows.items()}, classes=6, worlds=6)
    assert found["each"].accuracy > 0.9 > found["one"].accuracy + 0.4
    assert found["each"].low <= found["each"].accuracy <= found["each"].high
    assert found["each"].covered > 0.9 > found["one"].covered


def test_the_order_that_is_expected_is_the_real_one() -> None:
    x_ND, labels_N = blobs(300, groups=10, noise=0.2), torch.arange(300) % 10
    pool = Pool.of(x_ND)
    rows = {by: pick(pool, 10, by).rows for by in ("typical", "random")}
    told = expect(x_ND, {name: lambda _, rows=one: rows for name, one in rows.items()}, classes=10, worlds=6)
    real = {name: measure(x_ND, labels_N, one) for name, one in rows.items()}
    assert told["typical"].accuracy > told["random"].accuracy
    assert real["typical"].nearest > real["random"].nearest


def test_measured_by_hand() -> None:
    x_ND = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.8, 0.2]])
    found = measure(x_ND, torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 2]))
    assert found.nearest == pytest.approx(2 / 3)
    assert (found.classes, found.of_classes, found.spread) == (2, 2, 0.0)
    alone = measure(x_ND, torch.tensor([0, 0, 1, -1, 1]), torch.tensor([0, 1]))
    assert (alone.nearest, alone.linear, alone.classes, alone.spread) == (0.0, None, 1, 1.0)


def test_nothing_to_measure_is_said() -> None:
    with pytest.raises(InputError, match="none of the picks"):
        measure(blobs(6), torch.tensor([-1, -1, 0, 1, 0, 1]), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="beside the picks"):
        measure(blobs(6), torch.tensor([0, 1, -1, -1, -1, -1]), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="allowed are 2 to 3"):
        expect(blobs(6), {}, classes=4)


def test_features_of_nothing_promise_little_more_than_chance() -> None:
    """k-means finds clusters in noise as well; the other half of the features knows nothing of them."""
    noise_ND = torch.randn(600, 32, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(40)
    found = expect(noise_ND, {"any": lambda _: rows}, classes=10, worlds=6)["any"]
    assert found.low < 0.13
    assert found.accuracy < 0.19
    blobs_ND = blobs(600, groups=10, noise=0.2)
    assert expect(blobs_ND, {"any": lambda _: rows}, classes=10, worlds=6)["any"].accuracy > 0.45
