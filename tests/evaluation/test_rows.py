"""Which pictures are compared with which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.evaluation.rows import open_rows, stratified
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
    assert "from train (60 pictures) to test (30)" in rows.protocol
    assert not rows.notes
    swapped = open_rows(data, image_size=16, train_split="test", test_split="train")
    assert (len(swapped.bank), len(swapped.query), swapped.split) == (30, 60, "train")


def test_without_splits_a_part_is_held_out(tmp_path: Path) -> None:
    pictures, labels = drawn(60, 3)
    np.savez(tmp_path / "d.npz", images=pictures, labels=labels)
    rows = open_rows(tmp_path / "d.npz", image_size=16, seed=4)
    assert (len(rows.bank), len(rows.query), rows.split) == (48, 12, "held out")
    assert "seed 4" in rows.protocol
    assert "may have seen" in rows.protocol


def test_what_has_no_label_is_left_out_and_told(tmp_path: Path) -> None:
    pictures, labels = drawn(60, 3)
    labels[:10] = -1
    np.savez(tmp_path / "d.npz", images=pictures, labels=labels)
    rows = open_rows(tmp_path / "d.npz", image_size=16)
    assert len(rows.bank) + len(rows.query) == 50
    assert "10 pictures" in rows.notes[0]
    assert (rows.bank_labels >= 0).all()
    assert (rows.query_labels >= 0).all()


def test_unknown_and_equal_splits_are_one_line(data: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'test'"):
        open_rows(data, image_size=16, test_split="tset")
    with pytest.raises(InputError, match="every picture would find itself"):
        open_rows(data, image_size=16, train_split="test", test_split="test")


def test_what_to_do_without_labels_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=drawn(9, 0)[0])
    with pytest.raises(InputError, match="labels='COLUMN'"):
        open_rows(tmp_path / "d.npz", image_size=16)
    with pytest.raises(InputError, match="no class with two pictures"):
        open_rows({"images": drawn(3, 0)[0], "labels": np.arange(3)}, image_size=16)
