"""NumPy files, arrays and tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.data import open_source, split_names
from likewise.data.decoding.pixels import Range
from likewise.data.source import BrokenImage, Joined
from likewise.errors import InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, np.repeat(GREY[..., None], 3, axis=3)),
        (GREY[..., None], np.repeat(GREY[..., None], 3, axis=3)),
        (GREY[:, None], np.repeat(GREY[..., None], 3, axis=3)),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR),
        (COLOUR.astype(np.float32) / 255, COLOUR),
        (COLOUR.astype(np.float64), COLOUR),
        (COLOUR.astype(np.float32) / 127.5 - 1, COLOUR),
        (COLOUR.astype(np.uint16) * 257, COLOUR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR > 127, np.where(COLOUR > 127, 255, 0)),
    ],
)
def test_shapes_and_types_give_the_same_images(array: np.ndarray, expected: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    for data in (array, tmp_path / "a.npy"):
        source = open_source(data)
        assert len(source) == 6
        for position in range(6):
            np.testing.assert_array_equal(source.read(position), expected[position])


def test_tensors_are_arrays() -> None:
    source = open_source(torch.from_numpy(COLOUR.transpose(0, 3, 1, 2).astype(np.float32) / 255))
    np.testing.assert_array_equal(source.read(2), COLOUR[2])


def test_one_range_for_all_images() -> None:
    array = np.stack([np.full((4, 4), 1000, np.uint16), np.full((4, 4), 4000, np.uint16)])
    source = open_source(array)
    assert source.read(0)[0, 0, 0] == round(1000 / 4095 * 255)
    assert source.read(1)[0, 0, 0] == round(4000 / 4095 * 255)


def test_an_image_without_a_finite_number_is_named_by_its_row(tmp_path: Path) -> None:
    array = RNG.random((3, 4, 4, 3)).astype(np.float32)
    array[1], array[2, 0] = np.nan, np.nan
    np.save(tmp_path / "set.npy", array)
    np.savez(tmp_path / "set.npz", train_images=array)
    for name, place in (("set.npy", str(tmp_path / "set.npy")), ("set.npz", f"'train' in {tmp_path / 'set.npz'}")):
        source = open_source(tmp_path / name)
        with pytest.raises(BrokenImage) as error:
            source.read(1)
        assert str(error.value) == f"row 1 of {place}: no finite values"
        assert not source.read(2)[0].any(), "part of an image"


def test_medmnist_style_with_splits(tmp_path: Path) -> None:
    arrays = {}
    for split, count in (("train", 4), ("val", 1), ("test", 2)):
        arrays[f"{split}_images"] = RNG.integers(0, 256, (count, 5, 5), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 3
    np.savez(tmp_path / "set.npz", **arrays)
    assert split_names(tmp_path / "set.npz") == ("train", "val", "test")
    test = open_source(tmp_path / "set.npz", split="test")
    assert test.labels is not None
    assert test.labels.tolist() == [0, 1]
    assert test.names[1] == "test 1"
    np.testing.assert_array_equal(test.read(1)[..., 0], arrays["test_images"][1])
    whole = open_source(tmp_path / "set.npz")
    assert isinstance(whole, Joined)
    assert whole.labels is not None
    assert whole.labels.tolist() == [0, 1, 2, 0, 0, 0, 1]
    np.testing.assert_array_equal(whole.read(6)[..., 0], arrays["test_images"][1])
    np.testing.assert_array_equal(whole.read(4)[..., 0], arrays["val_images"][0])
    prints = {open_source(tmp_path / "set.npz", split=split).fingerprint for split in ("train", "val", "test")}
    assert len(prints) == 3
    with pytest.raises(InputError, match="allowed are test, train, val"):
        open_source(tmp_path / "set.npz", split="all")


@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x", "y"), ("X", "Y"), ("data", "targets"), ("arr_0", "arr_1"), ("faces", "label")]
)
def test_plain_names(names: tuple[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{names[0]: COLOUR, names[1]: np.arange(6)})
    source = open_source(tmp_path / "a.npz")
    assert source.labels is not None
    assert source.labels.tolist() == list(range(6))
    assert source.splits == ()


def test_keras_names() -> None:
    data = {"x_train": GREY, "y_train": np.zeros(6, int), "x_test": GREY[:2], "y_test": np.ones(2, int)}
    assert split_names(data) == ("train", "test")
    source = open_source(data, split="test")
    assert source.labels is not None
    assert source.labels.tolist() == [1, 1]


def test_labels_by_name_and_none() -> None:
    data = {"images": GREY, "labels": np.zeros(6, int), "sites": np.array(["b", "a"] * 3)}
    assert open_source(data, labels="sites").class_names == ("a", "b")
    assert open_source(data, labels="none").labels is None
    with pytest.raises(InputError, match="did you mean 'sites'"):
        open_source(data, labels="site")


def test_words_get_the_same_number_in_every_split() -> None:
    data = {
        "train_images": GREY,
        "train_labels": np.array(["b", "c"] * 3),
        "test_images": GREY[:2],
        "test_labels": np.array(["a", "b"]),
    }
    test = open_source(data, split="test")
    assert test.class_names == ("a", "b", "c")
    assert test.labels is not None
    assert test.labels.tolist() == [0, 1]


def test_several_labels_an_image_are_left_out() -> None:
    data = {"images": GREY, "labels": np.zeros((6, 14), int)}
    assert open_source(data).labels is None
    with pytest.raises(InputError, match="one label an image"):
        open_source(data, labels="labels")


def test_fingerprints() -> None:
    changed = COLOUR.copy()
    changed[3, 2, 1, 0] ^= 1
    assert open_source(COLOUR).fingerprint == open_source(COLOUR.copy()).fingerprint
    assert open_source(COLOUR).fingerprint != open_source(changed).fingerprint
    assert open_source(GREY).fingerprint != open_source(GREY.reshape(6, 7, 5)).fingerprint
    first = COLOUR.transpose(0, 3, 1, 2)
    assert open_source(first).fingerprint == open_source(np.ascontiguousarray(first)).fingerprint


def test_the_range_is_part_of_the_fingerprint() -> None:
    dim = GREY.astype(np.float32) / 512
    source = open_source({"train_images": dim, "test_images": dim * 512}, split="train")
    assert source.fingerprint != open_source(dim).fingerprint
    assert source.spans is not None
    assert source.spans.ranges() == {"fraction": Range(0, 255)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((20, 20, 3), np.uint8), "looks like one image"),
        (np.zeros((5, 784), np.uint8), "holds no images"),
        (np.zeros((0, 5, 5), np.uint8), "holds no images"),
        ({"a": GREY, "b": GREY}, "no array of images .* found a, b"),
        ({"images": GREY, "labels": np.zeros(5, int)}, "5 labels for 6 images"),
    ],
)
def test_what_holds_no_images_is_refused(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(data)


def test_damaged_and_unsafe_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "b.npy").write_bytes(b"")
    np.save(tmp_path / "c.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "d.npz", images=np.array([{"x": 1}], dtype=object))
    (tmp_path / "e.npz").write_bytes((tmp_path / "c.npy").read_bytes())
    for name in ("a.npz", "b.npy", "c.npy", "d.npz", "e.npz"):
        with pytest.raises(InputError, match="cannot be read as NumPy arrays"):
            open_source(tmp_path / name)
    for name in ("a.npz", "e.npz"):
        with pytest.raises(InputError, match=r"no \.npz file"):
            split_names(tmp_path / name)


def test_additional_splits_and_splits_without_labels() -> None:
    images = np.zeros((3, 8, 8), np.uint8)
    data = {"train_images": images, "train_labels": np.array(["b", "a", "b"]), "test_images": images}
    data |= {"Unlabeled_images": images, "raw_info": np.zeros(3)}
    assert split_names(data) == ("train", "unlabeled", "test")
    source = open_source(data)
    assert source.labels is not None
    assert (source.labels.tolist(), source.class_names) == ([1, 0, 1] + [-1] * 6, ("a", "b"))
    assert source.split_counts == {"train": 3, "unlabeled": 3, "test": 3}
    alone = open_source(data, split="Unlabeled")
    assert (alone.split, len(alone), alone.labels is not None and alone.labels.tolist()) == ("unlabeled", 3, [-1] * 3)


@pytest.mark.parametrize(
    "column",
    [
        {"split": np.array(["Test", "train", "train", "extra", "train", ""])},
        {"is_train": np.array([False, True, True, False, True, False])},
    ],
)
def test_an_array_may_say_the_splits(column: dict[str, np.ndarray], tmp_path: Path) -> None:
    arrays = {"images": COLOUR, "labels": np.array([0, 1, 2, 3, 4, 5]), "names": [*"abcdef"], **column}
    np.savez(tmp_path / "a.npz", **arrays)
    for data in (arrays, tmp_path / "a.npz"):
        names = split_names(data)
        assert (names[0], names[-1].lower()) == ("train", "test")
        train = open_source(data, split="train")
        assert train.labels is not None
        assert train.labels.tolist() == [1, 2, 4]
        assert np.array_equal(train.read(2), COLOUR[4])
        assert len(open_source(data)) == 6


def test_a_split_array_that_is_no_column_is_none() -> None:
    assert split_names({"images": COLOUR, "split": np.array([3])}) == ()


def test_joined_sources_have_one_list_of_classes() -> None:
    parts = [open_source({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.array([0, 1])}) for _ in range(3)]
    parts[0].class_names, parts[1].class_names, parts[2].labels = ("b", "a"), ("a", "c"), None
    whole = Joined.of(parts)
    assert whole.class_names is not None
    assert whole.labels is not None
    assert [whole.class_names[n] if n >= 0 else "?" for n in whole.labels] == ["b", "a", "a", "c", "?", "?"]
