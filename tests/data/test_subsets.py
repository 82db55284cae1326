"""Draws: sizes, seeds, what is refused, and that they are other data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from likewise.data import open_source, prepare
from likewise.data.source import Source
from likewise.data.splitting import subsets
from likewise.errors import InputError

CIFAR = np.repeat(np.arange(10), 5000)
CIFAR100 = np.repeat(np.arange(100), 500)


def source(labels: np.ndarray) -> Source:
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None, None].repeat(3, 3).repeat(2, 1).repeat(2, 2)
    return open_source({"images": pixels, "labels": labels})


def test_the_usual_long_tail_of_cifar() -> None:
    counts = np.bincount(CIFAR[subsets.long_tail(CIFAR, 100, seed=0)])
    assert counts.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]  # as printed by Cui et al.'s code
    drawn = np.bincount(CIFAR[subsets.long_tail(CIFAR, 100, seed=0, drawn=True)])
    assert sorted(drawn) == sorted(counts)
    assert drawn.tolist() != counts.tolist()


def test_the_skewed_draw_of_isd() -> None:
    index, groups = subsets.large_and_rare(CIFAR, 2, None, seed=3)
    counts = np.bincount(CIFAR[index])
    assert len(index) == 13_080
    assert [counts[number] for number in groups["large"]] == [5000] * 2
    assert [counts[number] for number in groups["rare"]] == [385] * 8
    index, groups = subsets.large_and_rare(CIFAR100, 8, 30, seed=3)
    counts = np.bincount(CIFAR100[index], minlength=100)
    assert sorted(counts.tolist()) == [0] * 62 + [38] * 30 + [500] * 8
    _, other = subsets.large_and_rare(CIFAR, 2, None, seed=4)
    assert len({*other["large"], *groups["large"]}) > 2


@given(
    st.lists(st.integers(-1, 5), min_size=2, max_size=80),
    st.integers(0, 5),
    st.sampled_from(
        ["longtail:7", "share:0.3", "perclass:3", "noise:0.5", "task:1/2", "base:0.5", "isd:1", "isd:1+share:0.5"]
    ),
)
def test_draws_are_pure_and_never_repeat_an_image(labels: list[int], seed: int, text: str) -> None:
    assume(len({label for label in labels if label >= 0}) >= 2)
    whole = source(np.asarray(labels))
    (one, drawn), (two, _) = subsets.part_of(whole, text, seed), subsets.part_of(whole, text, seed)
    assert one.fingerprint == two.fingerprint
    assert list(one.names) == list(two.names)
    assert len(set(one.names)) == len(one.names)
    assert sum(drawn.counts) <= len(labels)
    assert one.labels is not None
    assert np.array_equal(drawn.truth, np.asarray(labels)[drawn.index])
    if "noise" not in text:
        assert np.array_equal(np.bincount(one.labels, minlength=len(drawn.counts)), drawn.counts)


def test_smaller_draws_lie_in_larger_ones() -> None:
    few, more = subsets.per_class(CIFAR, 5, seed=1), subsets.share_of(CIFAR, 0.01, seed=1)
    assert set(few) < set(more)
    assert np.bincount(CIFAR[more]).tolist() == [50] * 10


def test_base_and_novel_are_complements_and_tasks_a_partition() -> None:
    base, novel = subsets.base_classes(CIFAR100, 0.6, seed=2)
    assert (len(base), len(novel)) == (60, 40)
    assert sorted(base + novel) == list(range(100))
    parts = subsets.tasks(CIFAR100, 7, seed=2)
    assert sorted(value for part in parts for value in part) == list(range(100))
    assert {len(part) for part in parts} == {14, 15}


def test_a_share_needs_no_labels() -> None:
    names = [str(number) for number in range(50)]
    drawn = subsets.draw(None, names, "share:0.2", seed=1)
    assert len(set(drawn.index.tolist())) == 10
    assert drawn.index.tolist() != subsets.draw(None, names, "share:0.2", seed=2).index.tolist()


def test_corrupted_labels_have_the_share_asked_for() -> None:
    wrong = subsets.corrupted(CIFAR, 0.4, seed=0)
    assert [(wrong[rows] != CIFAR[rows]).mean() for rows in np.split(np.arange(len(CIFAR)), 10)] == [0.4] * 10
    assert len(np.unique(wrong[CIFAR == 3])) == 10
    following = subsets.corrupted(CIFAR, 0.4, seed=0, to_next=True)
    assert set(np.unique(following[CIFAR == 9])) == {9, 0}


def test_lists_are_those_of_isd(tmp_path: Path) -> None:
    text = "class names : \nn01\nn02\nTrain Images: \n/train/n01/n01_3.JPEG\n/train/n02/n02_1.JPEG\n"
    (tmp_path / "D1.txt").write_text(text)
    names = ["train/n01/n01_1.JPEG", "train/n02/n02_1.JPEG", "train/n01/n01_3.JPEG"]
    assert subsets.listed(names, tmp_path / "D1.txt").tolist() == [1, 2]
    with pytest.raises(InputError, match=r"lists /train/n02/n02_1.JPEG, which the data does not have"):
        subsets.listed(names[:1] + names[2:], tmp_path / "D1.txt")
    with pytest.raises(InputError, match="two images called so"):
        subsets.listed([*names, "val/n01/n01_3.JPEG"], tmp_path / "D1.txt")


def test_other_labels_and_other_images_are_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    whole = source(np.arange(20) % 4)
    (clean, _), (noisy, _) = (subsets.part_of(whole, text) for text in ("share:0.5", "share:0.5+noise:0.5"))
    prints = {whole.fingerprint, clean.fingerprint, noisy.fingerprint}
    assert len(prints) == 3
    images = prepare(noisy, short_side=None)
    assert images.labels is not None
    assert not np.array_equal(images.labels, np.asarray(clean.labels))
    assert np.array_equal(images.image(1), prepare(clean, short_side=None).image(1))


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(0, 5), st.integers(1, 4))
def test_few_labels_are_those_of_the_draw_and_every_image_stays(labels: list[int], seed: int, count: int) -> None:
    true = np.asarray(labels)
    assume((true >= 0).any())
    names = [f"{n}.png" for n in range(len(true))]
    few = subsets.draw(true, names, f"labels:perclass:{count}", seed)
    assert few.index.tolist() == list(range(len(true)))
    assert few.truth.tolist() == labels
    known = np.flatnonzero(few.labels >= 0)
    np.testing.assert_array_equal(known, subsets.per_class(true, count, seed))
    np.testing.assert_array_equal(few.labels[known], true[known])
    assert few.record()["labelled"] == len(known)
    assert not few.selects_classes


def test_few_labels_by_share_by_list_and_of_a_draw(tmp_path: Path) -> None:
    names = [f"c{label}/{n}.png" for n, label in enumerate(CIFAR)]
    drawn = subsets.draw(CIFAR, names, "labels:share:0.01", seed=2)
    assert np.bincount(drawn.labels[drawn.labels >= 0]).tolist() == [50] * 10
    assert "50,000 images of 10 classes, 500 of them with their labels" in drawn.protocol
    (tmp_path / "few.txt").write_text("c3/15004.png\nc9/45007.png\n")
    listed = subsets.draw(CIFAR, names, f"base:9+labels:list:{tmp_path}/few.txt", seed=1)
    kept = listed.index[listed.labels >= 0]
    assert kept.tolist() == [15004, 45007]
    assert len(listed.index) == 45_000
    np.testing.assert_array_equal(listed.truth, CIFAR[listed.index])


def test_gcd_labels_half_of_each_old_class() -> None:
    names = [str(n) for n in range(len(CIFAR))]
    drawn = subsets.draw(CIFAR, names, "gcd:0.5", seed=0)
    assert np.bincount(drawn.labels[drawn.labels >= 0], minlength=10).tolist() == [2500] * 5 + [0] * 5
    assert drawn.groups == {"old": [0, 1, 2, 3, 4], "new": [5, 6, 7, 8, 9]}
    assert len(drawn.index) == 50_000
    many = subsets.draw(CIFAR100, names, "gcd:80/0.2", seed=0)
    assert np.bincount(many.labels[many.labels >= 0], minlength=100).tolist() == [100] * 80 + [0] * 20


def test_hidden_labels_are_other_data() -> None:
    whole = source(np.arange(20) % 4)
    few, drawn = subsets.part_of(whole, "labels:perclass:1")
    assert few.fingerprint != subsets.part_of(whole, "labels:perclass:2")[0].fingerprint
    assert few.labels is not None
    assert sorted(few.labels.tolist()) == [-1] * 16 + [0, 1, 2, 3]
    assert drawn.truth.tolist() == [n % 4 for n in range(20)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("longtale:3", "did you mean 'longtail'"),
        ("longtail:0.5", "at least 1"),
        ("longtail", "such as longtail:100"),
        ("isd:9", "of 4 classes"),
        ("share:2", "at most 1"),
        ("perclass:x", "takes a number, not 'x'"),
        ("perclass:1.5", "whole number"),
        ("task:6/5", "tasks of 4 classes"),
        ("task:3/2", "counted from 1 to 2"),
        ("base:4", "of 4 classes"),
        ("noise:0.1/last", "did you mean 'next'|allowed are next"),
        ("list:nowhere.txt", "cannot read the list"),
        ("labels:perclas:4", "did you mean 'perclass'"),
        ("labels:list:nowhere.txt", "cannot read the list"),
        ("labels:share:2", "at most 1"),
        ("gcd:4", "of 4 classes"),
        ("gcd:0.5/2", "at most 1"),
        ("gcd", "such as gcd:0.5"),
        ("perclass:inf", "takes a number, not 'inf'"),
        ("base:nan", "takes a number, not 'nan'"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        subsets.part_of(source(np.arange(20) % 4), text)
    assert "\n" not in str(caught.value)


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="0 or more, not -1"):
        subsets.draw(np.arange(4), ["a", "b", "c", "d"], "perclass:1", -1)


def test_without_labels_only_lists_can_be_drawn() -> None:
    with pytest.raises(InputError, match="goes by labels"):
        subsets.part_of(open_source(np.zeros((5, 4, 4, 3), np.uint8)), "perclass:1")
