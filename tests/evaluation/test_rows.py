"""Which images are compared with which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.data import Source, open_source, prepare
from likewise.data.describing import remarks
from likewise.errors import InputError
from likewise.evaluation.bank_and_query import open_rows, stratified
from likewise.verbs.judging.evaluate import _classes, _renumbered
from tests.evaluation.conftest import drawn


@given(
    labels=st.lists(st.integers(-1, 4), max_size=60),
    share=st.floats(0.0, 1.0),
    seed=st.integers(0, 5),
)
def test_two_parts_hold_every_labelled_row_once(labels: list[int], share: float, seed: int) -> None:
    array = np.array(labels, dtype=np.int64)
    larger, smaller = stratified(array, share, seed)
    assert sorted([*larger, *smaller]) == np.flatnonzero(array >= 0).tolist()
    assert (np.diff(larger) > 0).all()
    assert (np.diff(smaller) > 0).all()
    for value in np.unique(array[array >= 0]):
        count = int((array == value).sum())
        assert (array[larger] == value).sum() >= 1
        assert (array[smaller] == value).sum() == min(count - 1, round(share * count))
    again = stratified(array, share, seed)
    assert np.array_equal(again[0], larger)


def test_the_seed_chooses() -> None:
    labels = np.zeros(200, dtype=np.int64)
    assert not np.array_equal(stratified(labels, 0.2, 0)[1], stratified(labels, 0.2, 1)[1])


def test_splits_are_used_where_there_are(data: Path) -> None:
    rows = open_rows(data, image_size=16)
    assert (len(rows.bank), len(rows.query), rows.split) == (60, 30, "test")
    assert "from train (60 images) to test (30)" in rows.protocol
    assert rows.notes == ("labels: 3 classes, imbalance 1.0: 0 20, 1 20, 2 20 in the bank",)
    swapped = open_rows(data, image_size=16, train_split="test", test_split="train")
    assert (len(swapped.bank), len(swapped.query), swapped.split) == (30, 60, "train")


def test_without_splits_a_part_is_held_out(tmp_path: Path) -> None:
    images, labels = drawn(60, 3)
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    rows = open_rows(tmp_path / "d.npz", image_size=16, seed=4)
    assert (len(rows.bank), len(rows.query), rows.split) == (48, 12, "held out")
    assert "seed 4" in rows.protocol
    assert "may have seen" in rows.protocol


def test_what_has_no_label_is_left_out_and_told(tmp_path: Path) -> None:
    images, labels = drawn(60, 3)
    labels[:10] = -1
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    rows = open_rows(tmp_path / "d.npz", image_size=16)
    assert len(rows.bank) + len(rows.query) == 50
    assert "10 images" in rows.notes[0]
    assert (rows.bank_labels >= 0).all()
    assert (rows.query_labels >= 0).all()


def test_unknown_and_equal_splits_are_one_line(data: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'test'"):
        open_rows(data, image_size=16, test_split="tset")
    with pytest.raises(InputError, match="every image would find itself"):
        open_rows(data, image_size=16, train_split="test", test_split="test")


def test_what_to_do_without_labels_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=drawn(9, 0)[0])
    with pytest.raises(InputError, match="--labels and the column"):
        open_rows(tmp_path / "d.npz", image_size=16)
    with pytest.raises(InputError, match="no class with two images"):
        open_rows({"images": drawn(3, 0)[0], "labels": np.arange(3)}, image_size=16)


# Splits without labels ---------------------------------------------------------------------------------------------


def parts(**labels: list[int] | None) -> dict[str, np.ndarray]:
    """Arrays of splits with these labels, or without any."""
    arrays: dict[str, np.ndarray] = {}
    for seed, (split, own) in enumerate(labels.items()):
        arrays[f"{split}_images"] = drawn(12, seed)[0]
        if own is not None:
            arrays[f"{split}_labels"] = np.array(own)
    return arrays


KNOWN = [0, 1, 2] * 4
UNKNOWN = [-1] * 12


@pytest.mark.parametrize("test", [UNKNOWN, None])
def test_a_test_split_without_labels_is_passed_over(test: list[int] | None) -> None:
    rows = open_rows(parts(train=KNOWN, validation=KNOWN, test=test), image_size=16)
    assert (len(rows.bank), len(rows.query), rows.split) == (12, 12, "validation")
    assert "from train (12 images) to validation (12), since test has no labels" in rows.protocol
    assert "validation, since test has no labels; --test-split names others" in rows.notes[0]


def test_a_part_is_held_out_where_no_other_split_has_labels() -> None:
    rows = open_rows(parts(train=KNOWN, dev=UNKNOWN, test=UNKNOWN), image_size=16)
    assert (len(rows.bank), len(rows.query), rows.split) == (9, 3, "held out")
    assert "since test and dev have no labels" in rows.protocol


def test_asking_for_a_split_without_labels_says_which_has_some() -> None:
    data = parts(train=KNOWN, validation=KNOWN, test=UNKNOWN)
    with pytest.raises(InputError, match=r"split 'test' of arrays has no labels.*train, validation has.*--test-split"):
        open_rows(data, image_size=16, test_split="test")
    with pytest.raises(InputError, match=r"split 'train' of arrays has no labels.*validation has.*--train-split"):
        open_rows(data | {"train_labels": np.array(UNKNOWN)}, image_size=16)


def test_a_split_to_be_judged_on_needs_one_to_learn_from() -> None:
    with pytest.raises(InputError, match=r"no split of the data is called train.*--train-split, dev, test"):
        open_rows(parts(dev=KNOWN, test=KNOWN), image_size=16, test_split="test")


# Names of classes --------------------------------------------------------------------------------------------------


def test_classes_of_bank_and_queries_compare_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of which each split numbers its own classes, as one of torchvision might."""
    named = {"train": ("cat", "owl"), "test": ("owl", "dog", "cat")}

    def opened(data: object, *, split: str, labels: object, columns: object) -> Source:
        images, labels = drawn(6, 1)[0], [number % len(named[split]) for number in range(6)]
        source = open_source({"images": images, "labels": np.array(labels)})
        source.class_names, source.split = named[split], split
        return source

    monkeypatch.setattr("likewise.evaluation.bank_and_query.split_names", lambda data: tuple(named))
    monkeypatch.setattr("likewise.evaluation.bank_and_query.open_source", opened)
    rows = open_rows("any", image_size=16)
    names = rows.bank.class_names
    assert names is not None
    assert names == rows.query.class_names
    assert [names[label] for label in rows.bank_labels] == ["cat", "owl"] * 3
    assert [names[label] for label in rows.query_labels] == ["owl", "dog", "cat"] * 2
    assert any("classes dog are not in the bank, so their 2 images" in note for note in rows.notes)


def test_classes_may_be_asked_for_by_name() -> None:
    words = np.array(["cat", "owl", "dog"] * 4)
    data = {"images": drawn(12, 1)[0], "labels": words}
    rows = open_rows(data, image_size=16, classes=["owl", "dog", "gnu"])
    assert sorted({rows.bank.class_names[label] for label in rows.bank_labels}) == ["dog", "owl"]


DRAW = {"path": "a.csv", "class_names": ["owl", "cat"], "counts": [9, 1], "classes": [0], "groups": {"rare": [1]}}


def test_a_draw_is_known_again_by_the_names_of_its_classes() -> None:
    other = _renumbered(DRAW, ("cat", "dog", "owl"), "b.csv")
    assert other is not None
    assert (list(other["counts"]), other["groups"]) == ([1, 0, 9], {"rare": [0]})
    assert _renumbered(DRAW, ("cat", "dog"), "a.csv") is None  # another column of the same table
    assert _renumbered({**DRAW, "class_names": None}, None, "a.csv") is not None
    assert _renumbered({**DRAW, "class_names": None}, None, "b.csv") is None
    assert (_classes("trained", DRAW), _classes("others", DRAW)) == (["owl"], ["cat"])


# Exact copies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_copies_are_never_separated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 4, 300)
    same = rng.integers(0, 120, 300)
    larger, smaller = stratified(labels, 0.2, seed, same)
    assert not set(same[larger]) & set(same[smaller])
    assert sorted([*larger, *smaller]) == np.flatnonzero(labels >= 0).tolist()
    assert 0.1 * len(larger) < len(smaller) < 0.3 * len(larger)


def test_without_copies_the_draw_is_as_it_was() -> None:
    labels = np.arange(100) % 7
    for with_ids, without in zip(
        stratified(labels, 0.2, 3, np.arange(100)[::-1]), stratified(labels, 0.2, 3), strict=True
    ):
        assert np.array_equal(with_ids, without)
    generator = np.random.default_rng(3)
    first = generator.permutation(np.flatnonzero(labels == 0))[:3]
    assert set(first) == {row for row in stratified(labels, 0.2, 3)[1] if labels[row] == 0}


def test_a_class_of_nothing_but_copies_stays_in_the_bank() -> None:
    labels = np.array([0] * 10 + [1] * 10)
    same = np.array([7] * 10 + list(range(10, 20)))
    larger, smaller = stratified(labels, 0.5, 0, same)
    assert set(range(10)) <= set(larger.tolist())
    assert len(smaller) == 5


def test_copies_are_told_and_held_out_together(tmp_path: Path) -> None:
    images, labels = drawn(60, 3)
    twice, both = np.concatenate([images, images]), np.concatenate([labels, labels])
    np.savez(tmp_path / "d.npz", images=twice, labels=both)
    rows = open_rows(tmp_path / "d.npz", image_size=16, quiet=True)
    assert rows.bank.copies == len(rows.bank) // 2
    assert not set(rows.bank.digests.tolist()) & set(rows.query.digests.tolist())
    assert "exact copies on one side" in rows.protocol
    assert "copies: 60 of 120 images are exact copies of another one" in remarks(
        prepare(open_source(tmp_path / "d.npz"), short_side=None)
    )
    np.savez(tmp_path / "s.npz", train_images=images, train_labels=labels, test_images=twice, test_labels=both)
    notes = open_rows(tmp_path / "s.npz", image_size=16, quiet=True).notes
    assert "120 of 120 queries have an exact copy in the bank" in notes
