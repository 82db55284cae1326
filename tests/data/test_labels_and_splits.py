"""Labels of any spelling become class numbers; splits are found and kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.data.labels import as_labels, find_column
from likewise.data.splits import check_split, held_out_split, in_order, rows_of, training_split
from likewise.errors import InputError


def test_numbers_stay_class_numbers() -> None:
    found = as_labels(np.array([3, 0, -1, 3], dtype=np.int32), "it")
    assert found.values.tolist() == [3, 0, -1, 3]
    assert found.values.dtype == np.int64
    assert found.names is None


def test_sparse_numbers_are_numbered_in_their_order() -> None:
    found = as_labels(np.array([90_000, 7, -5, 90_000], dtype=np.int64), "it")
    assert found.values.tolist() == [1, 0, -1, 1]
    assert found.names == ("7", "90000")


def test_words_are_numbered_alphabetically() -> None:
    found = as_labels(["dog", None, "cat", "", "dog"], "it")
    assert found.values.tolist() == [1, -1, 0, -1, 1]
    assert found.names == ("cat", "dog")


def test_words_are_found_among_given_names() -> None:
    assert as_labels(["b", "a"], "it", ("b", "a")).values.tolist() == [0, 1]
    with pytest.raises(InputError, match="did you mean 'bird'"):
        as_labels(["birt"], "it", ("bird", "cat"))


def test_truth_values_missing_numbers_and_columns_of_one() -> None:
    assert as_labels(np.array([True, False]), "it").values.tolist() == [1, 0]
    assert as_labels([1, None, 0], "it").values.tolist() == [1, -1, 0]
    assert as_labels(np.array([1.0, np.nan]), "it").values.tolist() == [1, -1]
    assert as_labels(np.array([[2], [1]], dtype=np.uint8), "it").values.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        (np.array([0.5, 1.0]), None, "fractions"),
        (np.zeros((3, 2)), None, "one label a picture"),
        (np.array([0, 3]), ("a", "b"), "names only 2 classes"),
    ],
)
def test_what_is_no_label_is_refused(values: np.ndarray, names: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_labels(values, "it", names)


@given(st.lists(st.one_of(st.none(), st.text("abc", max_size=3)), max_size=20))
def test_words_can_be_read_back(words: list[str | None]) -> None:
    values, names = as_labels(words, "it")
    assert names is not None
    assert [names[value] if value >= 0 else "" for value in values] == [word or "" for word in words]


def test_label_column_is_asked_for_or_likely() -> None:
    assert find_column(["id", "Class"], None, "it") == "Class"
    assert find_column(["target", "label"], None, "it") == "label"
    assert find_column(["id"], None, "it") is None
    assert find_column(["id", "label"], "id", "it") == "id"
    assert find_column(["id", "label"], "none", "it") is None
    with pytest.raises(InputError, match="did you mean 'domain'"):
        find_column(["domain", "label"], "domane", "it")


# Splits ------------------------------------------------------------------------------------------------------------


def test_splits_come_train_first_and_test_last() -> None:
    assert in_order(["test", "", "extra", "train", "val", "test"]) == ("train", "extra", "val", "test")


def test_which_split_is_for_what() -> None:
    assert training_split(("Train", "test")) == "Train"
    assert training_split(("a", "b")) is None
    assert held_out_split(("train", "val", "test")) == "test"
    assert held_out_split(("train", "validation")) == "validation"
    assert held_out_split(()) is None


def test_rows_of_a_split() -> None:
    assert rows_of("test", ["train", "test", "test"], 3, "it").tolist() == [1, 2]
    assert rows_of(None, ["train", "test", ""], 3, "it").tolist() == [0, 1, 2]
    assert rows_of(None, None, 2, "it").tolist() == [0, 1]


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'train'"):
        check_split("trian", ("train", "test"), "it")
    with pytest.raises(InputError, match="has no splits"):
        check_split("train", (), "it")
