"""Orders beside plain shuffling: exact counts, what an epoch promises, and nothing that depends on the step before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.data import Sampler
from likewise.data.batches.orders import Among, Clips, Following, Grouped, Order, Stratified, anywhere, falling_gap
from likewise.errors import InputError

LABELS = np.array([0] * 9 + [2] * 5 + [-1] * 6 + [5] * 3)
VIDEO = np.repeat([7, 3, 9, 4], [10, 6, 3, 12])
FRAME = np.concatenate([np.arange(length)[::-1] for length in (10, 6, 3, 12)])

ORDERS: dict[str, Callable[[int], Order]] = {
    "shuffled": lambda seed: Sampler(23, 4, seed),
    "stratified": lambda seed: Stratified(LABELS, 2, 3, seed),
    "grouped": lambda seed: Grouped(LABELS, 2, 3, seed),
    "clips": lambda seed: Clips(VIDEO, FRAME, 2, clips=2, frames=3, seed=seed, law=falling_gap),
    "following": lambda seed: Following(Sampler(23, 4, seed), np.stack([np.arange(23), np.arange(23)[::-1]], 1), seed),
    "among": lambda seed: Among(Sampler(14, 4, seed), np.flatnonzero(LABELS != 0)),
}


@pytest.fixture(params=ORDERS)
def make(request: pytest.FixtureRequest) -> Callable[[int], Order]:
    return ORDERS[request.param]


def test_a_batch_depends_on_seed_and_step_alone(make: Callable[[int], Order]) -> None:
    used = make(3)
    for step in (40, 0, 7, 41, 7):
        found = used.batch(step)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, make(3).batch(step))
    assert any(not np.array_equal(make(3).batch(step), make(4).batch(step)) for step in range(5))
    assert any(not np.array_equal(used.batch(0), used.batch(step)) for step in range(1, 5))
    assert used.steps_per_epoch >= 1


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=60), st.integers(1, 7), st.integers(1, 6), st.integers(0, 99))
def test_stratified_batches_have_exactly_so_many_of_each_class(labels, classes, each, seed) -> None:
    labels_N = np.array(labels)
    known = set(labels) - {-1}
    if classes > len(known):
        with pytest.raises(InputError, match=f"batches of {classes} classes"):
            Stratified(labels_N, classes, each, seed)
        return
    order = Stratified(labels_N, classes, each, seed)
    for step in (0, 1, 50):
        found = order.batch(step)
        rows = labels_N[found].reshape(each, classes)
        assert (rows == rows[0]).all(), "the class changes fastest"
        assert len(set(rows[0].tolist())) == classes
        assert set(rows[0].tolist()) <= known
        for column in found.reshape(each, classes).T:
            held = int((labels_N == labels_N[column[0]]).sum())
            assert len(set(column.tolist())) == min(each, held), "images repeat only where there are too few"


def test_stratified_deals_classes_and_images_out_evenly() -> None:
    order = Stratified(LABELS, 3, 3, seed=0)
    times = np.bincount(np.concatenate([order.batch(step) for step in range(30)]), minlength=len(LABELS))
    assert times[LABELS == 0].tolist() == [10] * 9, "3 batches are one pass over 9 images"
    assert times[LABELS == 5].tolist() == [30] * 3
    assert times[LABELS == -1].sum() == 0
    assert times[LABELS == 2].sum() == 90
    pairs = Stratified(LABELS, 1, 1, seed=0)
    assert sorted(int(LABELS[pairs.batch(step)[0]]) for step in range(3)) == [0, 2, 5]


def test_processes_have_classes_of_their_own_where_these_divide() -> None:
    order = Stratified(np.arange(80) % 8, 4, 5, seed=1)
    shares = [order.batch(2)[rank::2] for rank in (0, 1)]
    held = [set((share % 8).tolist()) for share in shares]
    assert [len(one) for one in held] == [2, 2]
    assert not held[0] & held[1]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_grouped_epochs_show_every_image_of_a_whole_part_once(column, groups, each, seed) -> None:
    column_N = np.array([f"scan {value}" for value in column])
    parts = sum(count // each for count in np.unique(column_N, return_counts=True)[1].tolist())
    if parts < groups:
        with pytest.raises(InputError, match=f"the data has {parts} such groups"):
            Grouped(column_N, groups, each, seed)
        return
    order = Grouped(column_N, groups, each, seed)
    assert order.steps_per_epoch == parts // groups
    for epoch in (0, 2):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        batches = [order.batch(step) for step in steps]
        seen = np.concatenate(batches)
        assert len(set(seen.tolist())) == len(seen) == order.steps_per_epoch * groups * each
        for found in batches:
            rows = column_N[found].reshape(each, groups)
            assert (rows == rows[0]).all(), "row b and row b + groups are of one group"


def test_grouped_shows_all_where_parts_and_batches_divide() -> None:
    order = Grouped(np.repeat([4, 1, 8], [4, 2, 6]), 2, 2, seed=0)
    seen = np.concatenate([order.batch(step) for step in range(order.steps_per_epoch)])
    assert sorted(seen.tolist()) == list(range(12))


@pytest.mark.parametrize("stride", [1, 2])
def test_clips_are_frames_of_one_video_in_their_order(stride: int) -> None:
    order = Clips(VIDEO, FRAME, 4, clips=3, frames=3, seed=0, law=anywhere, stride=stride)
    for step in range(20):
        ids = order.batch(step)
        assert ids.shape == (4, 3, 3)
        assert (VIDEO[ids] == VIDEO[ids][:, :1, :1]).all()
        assert sorted(VIDEO[ids][:, 0, 0].tolist()) == [3, 4, 7, 9], "every video once an epoch"
        lengths = np.array([np.count_nonzero(video == VIDEO) for video in VIDEO[ids][:, 0, 0]])[:, None, None]
        np.testing.assert_array_equal(
            (FRAME[ids][:, :, 1:] - FRAME[ids][:, :, :-1]) % lengths, np.broadcast_to(stride % lengths, (4, 3, 2))
        )
        whole = lengths[:, 0, 0] >= 2 * stride + 1
        assert (np.diff(FRAME[ids][whole], axis=2) == stride).all(), "only short videos begin again"


def test_starts_are_uniform_and_the_gap_falls_linearly() -> None:
    count, length, span = 40_000, 14, 5
    numbers = np.random.default_rng(0).random((count, 4))
    lengths = np.full(count, length)
    free = anywhere(lengths, span, numbers)
    np.testing.assert_allclose(np.bincount(free[:, 0], minlength=10) / count, 0.1, atol=0.01)
    pair = falling_gap(lengths, span, numbers)
    assert pair.min() == 0
    assert pair.max() == length - span
    gap = np.bincount(np.abs(pair[:, 0] - pair[:, 1]), minlength=10) / count
    edge = np.arange(11) / 10
    np.testing.assert_allclose(gap, np.diff(2 * edge - edge**2), atol=0.01)
    np.testing.assert_allclose((pair[:, 0] > pair[:, 1]).sum() / (pair[:, 0] != pair[:, 1]).sum(), 0.5, atol=0.02)
    short = falling_gap(np.full(count, 3), span, numbers)
    np.testing.assert_allclose(np.bincount(short[:, 1], minlength=3) / count, 1 / 3, atol=0.02)
    assert abs(np.corrcoef(short.T)[0, 1]) < 0.02


def test_following_draws_each_entry_of_the_row_equally_often() -> None:
    table = np.array([[1, -1, 2], [-1, 0, -1], [0, 1, 2]])
    lead = Sampler(3, 3, 0)
    order = Following(lead, table, seed=0)
    pairs = np.concatenate([np.stack([lead.batch(step), order.batch(step)]) for step in range(3000)], axis=1)
    times = np.zeros((3, 3))
    np.add.at(times, (pairs[0], pairs[1]), 1 / 3000)
    np.testing.assert_allclose(times, [[0, 1 / 2, 1 / 2], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], atol=0.04)
    one = Following(lead, np.array([2, 0, 1]), seed=0)
    np.testing.assert_array_equal(one.batch(5), np.array([2, 0, 1])[lead.batch(5)])


def test_following_keeps_the_shape_of_clips() -> None:
    clips = Clips(VIDEO, FRAME, 2, clips=2, frames=3, seed=0, law=anywhere)
    np.testing.assert_array_equal(Following(clips, np.arange(31), seed=1).batch(3), clips.batch(3))


def test_among_draws_from_the_given_images_alone() -> None:
    ids = np.flatnonzero(LABELS >= 0)
    order = Among(Stratified(LABELS[ids], 3, 2, 0), ids)
    assert set(np.concatenate([order.batch(step) for step in range(40)]).tolist()) == set(ids.tolist())


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Stratified(LABELS, 0, 2, 0), "classes=0 must be at least 1"),
        (lambda: Stratified(LABELS, 2, 2, -1), "seed=-1 must not be negative"),
        (lambda: Stratified(np.full(4, -1), 1, 1, 0), "the images have labels of 0"),
        (lambda: Grouped(LABELS, 2, 0, 0), "each=0 must be at least 1"),
        (lambda: Clips(VIDEO, FRAME, 5, clips=1, frames=1, seed=0, law=anywhere), "5 videos is asked for.* are 4"),
        (lambda: Clips(VIDEO, FRAME, 2, clips=3, frames=1, seed=0, law=falling_gap).batch(0), "2 clips.* not 3"),
        (lambda: Following(Sampler(2, 1, 0), np.array([[0], [-1]]), 0), "image 1 has no entry"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(build: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build()
    assert "\n" not in str(caught.value)
