"""Labels of any spelling become class numbers; splits are found and kept apart."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.data import open_source
from likewise.data.labels import Stated, as_labels, find_column, from_text, is_unknown, united
from likewise.data.splitting.splits import (
    are_splits,
    check_split,
    counts_of,
    held_out_split,
    held_out_splits,
    in_order,
    in_words,
    pick_split,
    rows_of,
    training_split,
)
from likewise.errors import InputError
from tests.data.images import encoded, flat, parquet, save, structs


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
        (np.zeros((3, 2)), None, "one label an image"),
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


UNKNOWN = [
    *(None, float("nan"), np.float32("nan"), np.datetime64("NaT"), Decimal("nan")),
    *("", "  ", "nan", "NaN", "NA", "n/a", "null", "NULL", "None", "<NA>", "-1", "-1.0", b"nan", -1, -2.0, np.int8(-1)),
]


@pytest.mark.parametrize("value", UNKNOWN, ids=repr)
def test_what_is_unknown(value: object) -> None:
    assert is_unknown(value)
    found = as_labels(["owl", value, "cat"], "it")
    assert (found.values.tolist(), found.names) == ([1, -1, 0], ("cat", "owl"))


def test_what_pandas_has_for_nothing_is_unknown() -> None:
    pandas = pytest.importorskip("pandas")
    assert as_labels([1, pandas.NA, pandas.NaT, 0], "it").values.tolist() == [1, -1, -1, 0]


@pytest.mark.parametrize("value", ["none", "nano", "N", "-", "?", "0", "minus", 0, 0.0, False, np.bool_(False), "-1a"])
def test_what_is_known(value: object) -> None:
    assert not is_unknown(value)


def test_a_declared_class_may_be_called_anything() -> None:
    assert as_labels(["NA", "EU", None], "it", ("EU", "NA")).values.tolist() == [1, 0, -1]


def test_unknown_is_the_same_in_every_kind_of_data(tmp_path: Path) -> None:
    words = ["owl", "nan", "cat", "", "None", "-1"]
    for number in range(len(words)):
        save(tmp_path / f"{number}.png")
    images = np.zeros((len(words), 8, 8, 3), np.uint8)
    table = [f"{number}.png,{word}" for number, word in enumerate(words)]
    (tmp_path / "a.csv").write_text("\n".join(["path,label", *table]))
    parquet(tmp_path / "a.parquet", {"image": structs([encoded(flat((1, 1, 1)))] * len(words)), "label": words})
    for data in (
        tmp_path / "a.csv",
        tmp_path / "a.parquet",
        {"images": images, "labels": np.array(words)},
        {"train_images": images[:2], "train_labels": np.array(words[:2]), "test_images": images[2:]}
        | {"test_labels": np.array(words[2:], dtype=object)},
        list(zip(images, words, strict=True)),
    ):
        found = open_source(data)
        assert found.labels is not None
        assert (found.labels.tolist(), found.class_names) == ([1, -1, 0, -1, -1, -1], ("cat", "owl"))


def test_masked_bytes_and_very_large_numbers() -> None:
    masked = np.ma.array([1, 0, 5], mask=[False, False, True])
    assert as_labels(masked, "it").values.tolist() == [1, 0, -1]
    assert as_labels(np.array([b"owl", b"cat"]), "it").names == ("cat", "owl")
    large = as_labels(np.array([2**63 + 5, 7], dtype=np.uint64), "it")
    assert (large.values.tolist(), large.names) == ([1, 0], ("7", str(2**63 + 5)))
    with pytest.raises(InputError, match="fractions"):
        as_labels(np.array([1.0, np.inf]), "it")


def test_cells_of_text_are_numbers_where_all_of_them_are() -> None:
    assert list(from_text(["1.0", "", "NA", "2"])) == [1.0, None, None, 2]
    assert list(from_text(["1", "two"])) == ["1", "two"]
    assert list(from_text(["", "nan"])) == ["", "nan"]
    assert list(from_text([1, None, "2"])) == [1, None, "2"]


def test_labels_of_splits_are_brought_together() -> None:
    numbers = united([Stated([90_000, 7], "a"), Stated([None, 7], "b")])
    assert [part.values.tolist() for part in numbers] == [[1, 0], [-1, 0]]
    twice = united([Stated([0, 1], "a", ("x", "x")), Stated([1], "b", ("x", "x"))])
    assert [part.values.tolist() for part in twice] == [[0, 1], [1]]
    with pytest.raises(InputError, match="a has two classes called 'x'"):
        united([Stated([0, 1], "a", ("x", "x")), Stated([1], "b", ("x", "y"))])
    with pytest.raises(InputError, match="labels of train in it holds numbers and labels of test in it words"):
        united([Stated([0, 1], "labels of train in it"), Stated(["x"], "labels of test in it")])


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


def test_capitals_and_years_make_no_other_split() -> None:
    assert in_order(["Train", "train", "TEST"]) == ("train", "TEST")
    assert pick_split("tRain", ("Train", "test"), "it") == "Train"
    assert rows_of("train", ["Train", "train ", "test"], 3, "it").tolist() == [0, 1]
    assert (training_split(("val2017", "train2017")), held_out_split(("val2017",))) == ("train2017", "val2017")
    assert held_out_splits(("dev", "train", "Test", "eval")) == ("Test", "dev", "eval")
    assert counts_of(["Train", "train", "test", ""]) == {"train": 2, "test": 1, "": 1}
    assert are_splits(["train", "test", "extra"])
    assert not are_splits(["train", "bus", "tram"])


def test_splits_in_words() -> None:
    counts = {"train": 1600, "test": 8, "": 2}
    assert in_words(("train", "test"), counts, "train") == "train 1,600 (used), test 8, in none of them 2"
    assert in_words(("a", "b"), {"a": 1, "b": 2}, None) == "a 1, b 2; all are used, since none is called train"
    assert in_words(("train", "extra"), {}, None) == "train, extra; all are used"
    assert in_words((), {}, None) == ""


def test_rows_of_a_split() -> None:
    assert rows_of("test", ["train", "test", "test"], 3, "it").tolist() == [1, 2]
    assert rows_of(None, ["train", "test", ""], 3, "it").tolist() == [0, 1, 2]
    assert rows_of(None, None, 2, "it").tolist() == [0, 1]


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'train'"):
        check_split("trian", ("train", "test"), "it")
    with pytest.raises(InputError, match="has no splits"):
        check_split("train", (), "it")
