"""Parquet files that belong together although they are written differently: types, class names, splits, columns."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.data import open_source, prepare, split_names
from likewise.data.source import BrokenImage, Source
from likewise.errors import InputError
from tests.data.images import encoded, flat, parquet, save, structs


def images(values: Sequence[int]) -> pa.Array:
    """Images of one colour, whose red says their value."""
    return structs([encoded(flat((value, 0, 0))) for value in values])


def put(path: Path, value: int) -> None:
    """An image in a file that is not called like one: beside images a table would not be found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(flat((value, 0, 0))))


def red(source: Source) -> list[int]:
    return [int(source.read(position)[0, 0, 0]) for position in range(len(source))]


def words(source: Source) -> list[str]:
    """The class of each image by its name, or by its number; ? where unknown."""
    assert source.labels is not None
    names = source.class_names
    return ["?" if value < 0 else names[value] if names else str(value) for value in source.labels.tolist()]


def shard(path: Path, labels: Any, names: list[str] | None = None, **columns: Any) -> Path:
    classes = None if names is None else {"label": names}
    return parquet(path, {"image": images(range(len(labels))), "label": labels, **columns}, classes=classes)


# Class names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [["cat", "fox", "owl"], ["owl", "fox", "cat"], ["fox", "gnu"]])
def test_numbers_go_through_the_names_of_their_own_file(tmp_path: Path, train: list[str]) -> None:
    test = ["cat", "dog", "fox", "owl"]
    shard(tmp_path / "set" / "train-0.parquet", list(range(len(train))), train)
    shard(tmp_path / "set" / "test-0.parquet", [3, 2, -1, 1], test)
    assert words(open_source(tmp_path / "set", split="train")) == train
    assert words(open_source(tmp_path / "set", split="test")) == ["owl", "fox", "?", "dog"]
    assert len({open_source(tmp_path / "set", split=split).class_names for split in ("train", "test")}) == 1


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float32(), pa.float64()])
def test_names_count_whatever_the_type_of_the_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    shard(tmp_path / "set" / "train-0.parquet", pa.array([1, 0, None], type=kind), ["cat", "owl"])
    shard(tmp_path / "set" / "train-1.parquet", ["owl", "dog", None])
    assert words(open_source(tmp_path / "set")) == ["owl", "cat", "?", "owl", "dog", "?"]


def test_numbers_without_names_are_read_by_those_of_the_other_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard(tmp_path / "set" / "train-0.parquet", [0, 1], ["cat", "owl"])
    shard(tmp_path / "set" / "train-1.parquet", [1, 0])
    assert words(open_source(tmp_path / "set")) == ["cat", "owl", "owl", "cat"]
    assert "train-1.parquet has no class names" in caplog.text


@pytest.mark.parametrize(
    "others",
    [
        {"test-0": ([0, 2], None)},  # the third class has no name
        {"test-0": ([0, 1], None), "test-1": ([0, 1], ["owl", "cat"])},  # whose names?
    ],
)
def test_numbers_that_may_mean_several_classes_are_refused(tmp_path: Path, others: dict[str, Any]) -> None:
    shard(tmp_path / "set" / "train-0.parquet", [0, 1], ["cat", "owl"])
    for name, (labels, names) in others.items():
        shard(tmp_path / "set" / f"{name}.parquet", labels, names)
    with pytest.raises(
        InputError, match=r"test-0\.parquet holds class numbers .* without names.*(train-0|test-1)\.parquet"
    ):
        open_source(tmp_path / "set")


def test_numbers_in_one_file_and_words_in_the_other_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "train-0.parquet", [0, 1])
    shard(tmp_path / "set" / "test-0.parquet", ["cat", "owl"])
    with pytest.raises(InputError, match=r"train-0\.parquet holds numbers and .*test-0\.parquet words"):
        open_source(tmp_path / "set")


def test_numbers_written_as_words_are_numbers_beside_numbers(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "train-0.parquet", [10, 2])
    shard(tmp_path / "set" / "test-0.parquet", ["2", "10"])
    assert words(open_source(tmp_path / "set")) == ["2", "10", "10", "2"]  # sorted by file: test first


# Types -------------------------------------------------------------------------------------------------------------

BYTES = [encoded(flat((value, 0, 0))) for value in (7, 8, 9)]
LABELS = {
    "int8": pa.array([0, 1, 2], type=pa.int8()),
    "whole floats": pa.array([0.0, 1.0, 2.0]),
    "bools": pa.array([False, True, None]),
    "nothing": pa.nulls(3),
    "large strings": pa.array(["0", "1", "2"], type=pa.large_string()),
    "string views": pa.array(["0", "1", "2"], type=pa.string_view()),
    "dictionary": pa.array(["0", "1", "2"]).dictionary_encode(),
    "dictionary of numbers": pa.array([0, 1, 2]).dictionary_encode(),
}
IMAGES = {
    "large struct": structs(BYTES).cast(pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])),
    "struct without paths": pa.array([{"bytes": data} for data in BYTES]),
    "struct of no paths": pa.array([{"bytes": data, "path": None} for data in BYTES]),
    "binary": pa.array(BYTES),
    "large binary": pa.array(BYTES, type=pa.large_binary()),
    "binary view": pa.array(BYTES, type=pa.binary_view()),
    "dictionary": pa.array(BYTES).dictionary_encode(),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("place", [0, 1])
def test_labels_of_different_types_are_one_column(tmp_path: Path, kind: str, place: int) -> None:
    if "view" in kind:
        pytest.importorskip("pyarrow", "21", reason="older versions cannot write views")
    parquet(tmp_path / "set" / f"train-{place}.parquet", {"image": structs(BYTES), "label": LABELS[kind]})
    parquet(tmp_path / "set" / f"train-{1 - place}.parquet", {"image": structs(BYTES), "label": [2, 1, 0]})
    own = {"bools": ["0", "1", "?"], "nothing": ["?", "?", "?"]}.get(kind, ["0", "1", "2"])
    assert words(open_source(tmp_path / "set")) == (["2", "1", "0", *own] if place else [*own, "2", "1", "0"])


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("place", [0, 1])
def test_images_of_different_types_are_one_column(tmp_path: Path, kind: str, place: int) -> None:
    if "view" in kind:
        pytest.importorskip("pyarrow", "21", reason="older versions cannot write views")
    parquet(tmp_path / "set" / f"train-{place}.parquet", {"image": IMAGES[kind]})
    parquet(tmp_path / "set" / f"train-{1 - place}.parquet", {"image": structs(BYTES[::-1])})
    assert red(open_source(tmp_path / "set")) == ([9, 8, 7, 7, 8, 9] if place else [7, 8, 9, 9, 8, 7])


def test_a_file_without_any_image_is_broken_rows(tmp_path: Path) -> None:
    parquet(tmp_path / "set" / "train-0.parquet", {"image": pa.nulls(3)})
    parquet(tmp_path / "set" / "train-1.parquet", {"image": structs(BYTES)})
    source = open_source(tmp_path / "set")
    assert [int(source.read(position)[0, 0, 0]) for position in (3, 4, 5)] == [7, 8, 9]
    with pytest.raises(BrokenImage, match="no image in this row"):
        source.read(0)


def test_files_with_paths_and_files_with_bytes_are_one_table(tmp_path: Path) -> None:
    put(tmp_path / "set" / "b" / "one.raw", 5)
    parquet(tmp_path / "set" / "a" / "0.parquet", {"image": structs(BYTES)})
    parquet(tmp_path / "set" / "b" / "0.parquet", {"image": ["one.raw"]})
    assert red(open_source(tmp_path / "set")) == [7, 8, 9, 5]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"photo": structs(BYTES)}, r"test-0\.parquet has no column 'image' of images, which .*train-0\.parquet has"),
        ({"image": [1, 2, 3]}, r"test-0\.parquet has no column 'image' of images, which .*train-0\.parquet has"),
        ({"image": structs(BYTES), "class": [0, 1, 2]}, r"test-0\.parquet has no column 'label', which .*train-0"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    shard(tmp_path / "set" / "train-0.parquet", [0, 1, 2])
    parquet(tmp_path / "set" / "test-0.parquet", columns)
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / "set")


def test_a_split_column_in_one_file_alone_is_refused(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "a.parquet", [0], split=["train"])
    shard(tmp_path / "set" / "b.parquet", [0])
    with pytest.raises(InputError, match=r"b\.parquet has no column 'split', which .*a\.parquet has"):
        open_source(tmp_path / "set")


def test_a_file_without_the_column_of_labels_is_unlabelled(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "train-0.parquet", [0, 1], ["cat", "owl"])
    parquet(tmp_path / "set" / "test-0.parquet", {"image": structs(BYTES), "caption": ["a", "b", "c"]})
    assert words(open_source(tmp_path / "set")) == ["?", "?", "?", "cat", "owl"]


def test_capitals_make_no_other_column(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "train-0.parquet", [0, 1])
    parquet(tmp_path / "set" / "train-1.parquet", {"Image": structs(BYTES), "Label": [2, 1, 0]})
    assert words(open_source(tmp_path / "set")) == ["0", "1", "2", "1", "0"]
    assert red(open_source(tmp_path / "set")) == [0, 1, 7, 8, 9]


# Splits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train-0", "test-0", "extra-0"], ("train", "extra", "test")),
        (["train-00000-of-00001", "unlabeled-00000-of-00001"], ("train", "unlabeled")),
        (["partial-train-0", "train-0", "validation-0"], ("train", "partial-train", "validation")),
        (["Train-0", "TEST-0"], ("Train", "TEST")),
        (["train-0", "Train-1", "dev-0"], ("train", "dev")),
        (["cifar-train", "cifar-test"], ("train", "test")),
        (["train2017", "val2017"], ("train", "val")),
        (["split=train/0", "split=test/0", "split=extra/0"], ("train", "extra", "test")),
        (["split=train/site=3/0", "split=train/site=4/0", "split=test/site=3/0"], ("train", "test")),
        (["site=3/split=Training/0", "site=3/split=eval/0"], ("Training", "eval")),
        (
            ["data/train-00000-of-00001-0123456789abcdef", "data/test-00000-of-00001-fedcba9876543210"],
            ("train", "test"),
        ),
        (["default/train/0000", "default/test/0000"], ("train", "test")),
        (["train.parquet/part-0", "test.parquet/part-0"], ("train", "test")),
        (["a/0", "b/0"], ()),
        (["trains-0", "cars-0"], ()),
    ],
)
def test_files_and_folders_that_are_called_like_splits(tmp_path: Path, files: list[str], splits: Any) -> None:
    for number, name in enumerate(files):
        parquet(tmp_path / "set" / f"{name}.parquet", {"image": images([number])})
    assert split_names(tmp_path / "set") == splits
    parts = [red(open_source(tmp_path / "set", split=split)) for split in splits]
    assert sorted(value for part in parts for value in part) == (list(range(len(files))) if splits else [])


def test_folders_say_columns(tmp_path: Path) -> None:
    for split, site in (("train", "north%20sea"), ("train", "alps"), ("test", "alps")):
        parquet(tmp_path / "set" / f"split={split}" / f"site={site}" / "0.parquet", {"image": structs(BYTES)})
    source = open_source(tmp_path / "set", split="train", labels="site")
    assert words(source) == ["alps"] * 3 + ["north sea"] * 3


@pytest.mark.parametrize(
    ("column", "values", "names"),
    [
        ("split", ["train", "Train", "TEST", "test "], None),
        ("Split", ["train", "train", "test", "test"], None),
        ("set", ["training", "training", "Testing", "testing"], None),
        ("split", pa.array([0, 0, 1, 1], type=pa.int8()), ["train", "test"]),
        ("split", pa.array(["train", "train", "test", "test"]).dictionary_encode(), None),
        ("is_train", [True, True, False, False], None),
    ],
)
def test_columns_of_splits(tmp_path: Path, column: str, values: Any, names: list[str] | None) -> None:
    classes = None if names is None else {"split": names}
    path = parquet(tmp_path / "a.parquet", {"image": images(range(4)), column: values}, classes=classes)
    train, test = split_names(path)
    assert (red(open_source(path, split=train)), red(open_source(path, split=test))) == ([0, 1], [2, 3])
    assert red(open_source(path, split=train.upper())) == [0, 1]
    assert open_source(path).labels is None


def test_files_say_the_splits_where_the_column_does_not(tmp_path: Path) -> None:
    for split in ("train", "test"):
        shard(tmp_path / "set" / f"{split}-0.parquet", [0, 1], split=["fold 1", "fold 2"])
    assert split_names(tmp_path / "set") == ("train", "test")


# Which column is the image -----------------------------------------------------------------------------------------


def declared(path: Path, columns: dict[str, Any], features: dict[str, Any]) -> Path:
    table = pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)
    return path


SOUND = pa.array(
    [{"bytes": b"RIFF sound", "path": "a.wav"}] * 3, type=pa.struct([("bytes", pa.binary()), ("path", pa.string())])
)
HASHES = pa.array([bytes(range(32))] * 3)


@pytest.mark.parametrize(
    "others",
    [
        {"sound": SOUND, "photo": structs(BYTES)},
        {"bytes": HASHES, "photo": structs(BYTES)},
        {"bytes": HASHES, "photo": pa.array(BYTES)},
        {"image": HASHES, "content": pa.array(BYTES)},
        {"bytes": pa.array(BYTES[::-1]), "photo": structs(BYTES)},
        {"photo": pa.array([{"image": {"bytes": data, "path": None}, "label": 1} for data in BYTES])},
        {"mask": structs(BYTES[::-1]), "image": structs(BYTES)},
        {"photo": pa.array([None, *BYTES])[1:]},
    ],
)
def test_the_column_of_images_is_the_one_that_holds_images(tmp_path: Path, others: dict[str, Any]) -> None:
    assert red(open_source(parquet(tmp_path / "a.parquet", others))) == [7, 8, 9]


def test_the_column_that_is_declared_comes_first(tmp_path: Path) -> None:
    columns = {"image": structs(BYTES[::-1]), "scan": structs(BYTES)}
    features = {"scan": {"_type": "Image"}, "image": {"bytes": {"_type": "Value"}, "path": {"_type": "Value"}}}
    assert red(open_source(declared(tmp_path / "a.parquet", columns, features))) == [7, 8, 9]


def test_bytes_beside_paths_that_are_no_images_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path / "one.png", flat((5, 0, 0)))
    path = parquet(tmp_path / "a.parquet", {"sha": HASHES[:1], "path": pa.array(["one.png"]).dictionary_encode()})
    assert red(open_source(path)) == [5]


def test_labels_inside_a_struct(tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": data, "path": None}, "label": value} for data, value in zip(BYTES, (2, 0, 1), strict=True)
    ]
    path = parquet(tmp_path / "a.parquet", {"sample": rows})
    assert words(open_source(path)) == ["2", "0", "1"]
    assert words(open_source(path, labels="sample.label")) == ["2", "0", "1"]


def test_a_struct_without_the_label_is_unlabelled(tmp_path: Path) -> None:
    for number, more in enumerate(({"label": 1}, {})):
        rows = [{"image": {"bytes": BYTES[0], "path": None}, **more}]
        parquet(tmp_path / "set" / f"train-{number}.parquet", {"sample": rows})
    assert words(open_source(tmp_path / "set")) == ["1", "?"]


# Images outside ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [[None, None], [None, BYTES[0]]])
def test_fingerprint_follows_images_outside(tmp_path: Path, inside: list[bytes | None]) -> None:
    save(tmp_path / "0.png", flat((1, 0, 0)))
    path = parquet(tmp_path / "a.parquet", {"image": structs(inside, ["0.png", "1.png"])})

    def now() -> tuple[str, int, int]:
        some_images = prepare(open_source(path), short_side=None, max_broken=0.6)
        return open_source(path).fingerprint, int(some_images.image(0)[0, 0, 0]), len(some_images.broken)

    first = now()
    assert first[1:] == (1, inside.count(None) - 1)
    assert now() == first
    save(tmp_path / "0.png", flat((2, 0, 0)))
    os.utime(tmp_path / "0.png", ns=(1, 1))
    second = now()
    assert second[1:] == (2, first[2])
    assert second[0] != first[0]
    if len(inside) == inside.count(None):
        save(tmp_path / "1.png", flat((3, 0, 0)))
        assert now()[1:] == (2, 0)


def test_fingerprint_of_images_inside_needs_no_other_file(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"image": structs(BYTES)})
    before = open_source(path).fingerprint
    save(tmp_path / "0.png")
    assert open_source(path).fingerprint == before


# Tables of paths ---------------------------------------------------------------------------------------------------


def test_tables_of_paths_are_relative_to_themselves(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "test")):
        put(tmp_path / "set" / split / "here.raw", number)
        put(tmp_path / "store" / f"{split}.raw", 10 + number)
        names = ["here.raw", f"../../store/{split}.raw", str(tmp_path / "store" / f"{split}.raw")]
        parquet(tmp_path / "set" / split / "0.parquet", {"path": names, "label": [number] * 3})
    assert split_names(tmp_path / "set") == ("train", "test")
    test = open_source(tmp_path / "set", split="test")
    assert (test.name, red(test), words(test)) == ("set", [1, 11, 11], ["1", "1", "1"])
    assert test.names[0] == "test/here.raw"


def test_tables_of_paths_have_class_names_and_a_common_root(tmp_path: Path) -> None:
    put(tmp_path / "set" / "img" / "a.raw", 3)
    for split, names in (("train", ["cat", "owl"]), ("test", ["owl", "cat"])):
        features = {"label": {"_type": "ClassLabel", "names": names}}
        declared(tmp_path / "set" / "data" / f"{split}-0.parquet", {"path": ["img/a.raw"], "label": [0]}, features)
    assert red(open_source(tmp_path / "set", split="train")) == [3]
    assert words(open_source(tmp_path / "set", split="train")) == ["cat"]
    assert words(open_source(tmp_path / "set", split="test")) == ["owl"]
