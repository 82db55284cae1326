"""The order of images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from likewise.data import Sampler
from likewise.errors import InputError

COUNT_AND_BATCH = st.integers(1, 60).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count)))


@given(COUNT_AND_BATCH, st.integers(0, 2**40), st.integers(0, 5))
def test_an_epoch_has_every_image_at_most_once(shape: tuple[int, int], seed: int, epoch: int) -> None:
    count, size = shape
    sampler = Sampler(count, size, seed)
    steps = sampler.steps_per_epoch
    assert steps == count // size
    seen = np.concatenate([sampler.batch(epoch * steps + place) for place in range(steps)])
    assert len(seen) == steps * size
    assert len(set(seen.tolist())) == len(seen)
    assert 0 <= seen.min() <= seen.max() < count
    assert seen.dtype == np.int64


@given(COUNT_AND_BATCH, st.integers(0, 100), st.lists(st.integers(0, 200), max_size=10))
def test_a_batch_depends_on_nothing_before_it(shape: tuple[int, int], seed: int, steps: list[int]) -> None:
    used = Sampler(*shape, seed)
    for step in steps:
        np.testing.assert_array_equal(used.batch(step), Sampler(*shape, seed).batch(step))


def test_seeds_and_epochs_differ() -> None:
    orders = [Sampler(100, 100, seed).batch(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == list(range(100)) for order in orders)


def test_order_is_the_same_for_ever() -> None:
    assert Sampler(10, 10, 0).batch(0).tolist() == ORDER
    assert Sampler(10, 5, 0).batch(1).tolist() == ORDER[5:]


ORDER = [1, 0, 8, 3, 4, 7, 2, 9, 5, 6]


def test_every_place_is_equally_likely() -> None:
    counts = np.zeros((5, 5))
    for seed in range(2000):
        counts[np.arange(5), Sampler(5, 5, seed).batch(seed % 7)] += 1
    np.testing.assert_allclose(counts / 2000, 0.2, atol=0.04)


def test_a_batch_may_be_changed_without_harm() -> None:
    sampler = Sampler(10, 5, 0)
    before = sampler.batch(0).copy()
    sampler.batch(0)[:] = 0
    np.testing.assert_array_equal(sampler.batch(0), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 11, 0), "batch_size=11 is larger than the data: there are 10 images"),
        ((10, 0, 0), "batch_size=0 must be at least 1"),
        ((10, 5, -1), "seed=-1 must not be negative"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampler(*arguments)


def test_weights_draw_each_image_as_often_as_they_say() -> None:
    weights = np.array([0.0, 1.0, 3.0] * 2000)
    sampler = Sampler(6000, 100, seed=3)
    sampler.weigh(weights)
    drawn = np.concatenate([sampler.batch(step) for step in range(sampler.steps_per_epoch)])
    shares = np.bincount(drawn % 3, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.0, 0.25, 0.75], atol=0.02)
    np.testing.assert_array_equal(sampler.batch(7), drawn[700:800])


def test_weights_can_be_taken_back() -> None:
    sampler, plain = Sampler(50, 10, seed=0), Sampler(50, 10, seed=0)
    sampler.weigh(np.ones(50))
    assert not np.array_equal(sampler.batch(0), plain.batch(0))
    sampler.weigh(None)
    np.testing.assert_array_equal(sampler.batch(0), plain.batch(0))


@pytest.mark.parametrize("weights", [np.ones(4), np.zeros(5), np.array([1.0, 1.0, 1.0, 1.0, -1.0])])
def test_weights_that_say_nothing_are_refused(weights: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match="weights to draw 5 images by"):
        Sampler(5, 1, seed=0).weigh(weights)
