"""Tables and data sets given from Python, and data sets of the Hugging Face libraries."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from likewise.data import open_source, prepare, split_names
from likewise.data.sources import hub
from likewise.errors import InputError
from tests.data.images import encoded, noise, parquet, png, save, structs


def labels_of(source: Any) -> list[int]:
    assert source.labels is not None
    return list(source.labels.tolist())


# Tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Paths relative to the working folder, with labels and splits."""
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        save(tmp_path / "p" / f"{number}.png", noise(seed=number))
    return {
        "path": [f"p/{number}.png" for number in range(4)],
        "species": ["owl", "fox", "owl", "fox"],
        "split": ["train", "train", "test", "test"],
    }


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
def test_tables_of_paths(columns: dict[str, list[Any]], package: str) -> None:
    make = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[package]
    table = getattr(pytest.importorskip(package), make)(columns)
    assert split_names(table) == ("train", "test")
    source = open_source(table, split="test")
    assert source.class_names == ("fox", "owl")
    assert labels_of(source) == [1, 0]
    np.testing.assert_array_equal(source.read(0), noise(seed=2))
    assert labels_of(open_source(table, labels="species")) == [1, 0, 1, 0]


@pytest.mark.parametrize("held", ["pixels", "bytes", "struct"])
def test_tables_that_hold_images(held: str) -> None:
    pandas = pytest.importorskip("pandas")
    images: list[Any] = [noise(seed=number) for number in range(3)]
    if held != "pixels":
        images = [encoded(image) for image in images]
    if held == "struct":
        images = [{"bytes": image, "path": None} for image in images]
    table = pandas.DataFrame({"image": images, "label": ["a", "b", "a"], "split": ["train", "train", "test"]})
    source = open_source(table, split="train")
    assert len(source) == 2
    assert labels_of(source) == [0, 1]
    np.testing.assert_array_equal(source.read(1), noise(seed=1))
    assert len(open_source(table, labels="none")) == 3


def test_columns_of_paths_and_tables_without_images(columns: dict[str, list[Any]]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns, index=[7, 8, 9, 10])
    np.testing.assert_array_equal(open_source(frame["path"]).read(3), noise(seed=3))
    with pytest.raises(InputError, match="the table has no column of paths: its columns are species, split"):
        open_source(frame.drop(columns="path"))


def test_a_loader_is_told_to_give_its_data_set() -> None:
    dataset = TensorDataset(torch.rand(4, 3, 6, 6))
    with pytest.raises(InputError, match=r"give the data set that it reads, loader\.dataset"):
        open_source(DataLoader(dataset))
    with pytest.raises(InputError, match=r"loader\.dataset"):
        split_names(DataLoader(dataset))


# Hugging Face ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library() -> Any:
    """The library `datasets`, quiet."""
    found = pytest.importorskip("datasets")
    found.disable_progress_bars()
    return found


def dataset(library: Any, images: list[bytes], labels: list[Any], names: list[str] | None = None) -> Any:
    """A Dataset as the library makes it."""
    kind = library.ClassLabel(names=names) if names else library.Value("string")
    features = library.Features({"label": kind, "image": library.Image(), "note": library.Value("string")})
    rows = {"label": labels, "image": images, "note": ["x"] * len(labels)}
    return library.Dataset.from_dict(rows, features=features)


@pytest.fixture
def both(library: Any) -> Any:
    """A DatasetDict of two splits, the second with a word that the first lacks."""
    train = dataset(library, [encoded(noise(seed=seed)) for seed in range(3)], ["owl", "fox", "owl"])
    test = dataset(library, [encoded(noise(seed=9))], ["ant"])
    return library.DatasetDict({"test": test, "train": train})


def test_a_dataset(library: Any) -> None:
    data = dataset(library, [encoded(noise(seed=seed)) for seed in range(3)], [1, 0, -1], ["owl", "fox"])
    source = open_source(data)
    assert split_names(data) == ()
    assert source.class_names == ("owl", "fox")
    assert labels_of(source) == [1, 0, -1]
    np.testing.assert_array_equal(source.read(2), noise(seed=2))
    assert source.look(0).stored_as == "PNG"
    np.testing.assert_array_equal(open_source(data.select([2, 1])).read(0), noise(seed=2))
    assert open_source(data).fingerprint == source.fingerprint != open_source(data.select([2, 1])).fingerprint
    assert open_source(data, labels="none").labels is None
    assert open_source(data, labels="note").class_names == ("x",)
    with pytest.raises(InputError, match="allowed are label, note"):
        open_source(data, labels="lable")
    with pytest.raises(InputError, match="no column of images: its columns are label, note"):
        open_source(data.remove_columns("image"))


def test_files_that_a_dataset_names_belong_to_it(library: Any, tmp_path: Path) -> None:
    paths = [str(save(tmp_path / f"{seed}.png", noise(seed=seed))) for seed in range(3)]
    data = library.Dataset.from_dict({"image": paths}).cast_column("image", library.Image()).select([2, 0])
    before = open_source(data)
    assert open_source(data).fingerprint == before.fingerprint
    save(tmp_path / "1.png", noise(20, 20))  # is not among them
    assert open_source(data).fingerprint == before.fingerprint
    save(tmp_path / "0.png", noise(20, 20, seed=8))
    assert open_source(data).fingerprint != before.fingerprint
    np.testing.assert_array_equal(open_source(data).read(1), noise(20, 20, seed=8))


def test_a_dataset_dict_numbers_classes_over_its_splits(both: Any) -> None:
    assert split_names(both) == ("train", "test")
    train, test, whole = open_source(both, split="train"), open_source(both, split="test"), open_source(both)
    assert train.class_names == test.class_names == ("ant", "fox", "owl")
    assert (labels_of(train), labels_of(test), labels_of(whole)) == ([2, 1, 2], [0], [2, 1, 2, 0])
    np.testing.assert_array_equal(whole.read(3), noise(seed=9))
    with pytest.raises(InputError, match="allowed are test, train"):
        open_source(both, split="val")


def test_a_dataset_of_sixteen_bits_has_one_range(library: Any) -> None:
    values = np.full((4, 4, 3), 3000, np.uint16)
    brighter = values.copy()
    brighter[0, 0] = 5000
    parts = {
        "train": dataset(library, [png(values, bits=16, kind=2)], ["a"]),
        "test": dataset(library, [png(brighter, bits=16, kind=2)], ["a"]),
    }
    data = library.DatasetDict(parts)
    shades = [int(open_source(data, split=split).read(0)[3, 3, 0]) for split in parts]
    assert shades == [47, 47]
    assert prepare(open_source(data, split="test"), short_side=None).ranges == {"whole": (0.0, 16383.0)}


def test_rows_without_an_image_are_broken(library: Any) -> None:
    data = dataset(library, [encoded(noise(seed=seed)) for seed in range(6)] + [None], ["a"] * 7)  # type: ignore[list-item]
    images = prepare(open_source(data), short_side=None)
    assert [(entry.name, entry.reason) for entry in images.broken] == [("row 6", "no image in this row")]


def test_saved_data_sets(both: Any, tmp_path: Path) -> None:
    both.save_to_disk(tmp_path / "saved")
    both["train"].save_to_disk(tmp_path / "one")
    assert split_names(tmp_path / "saved") == ("train", "test")
    source = open_source(str(tmp_path / "saved"), split="test")
    assert (source.name, source.class_names) == ("saved", ("ant", "fox", "owl"))
    np.testing.assert_array_equal(source.read(0), noise(seed=9))
    assert len(open_source(tmp_path / "one")) == 3
    (tmp_path / "saved" / "train" / "state.json").write_text("damaged")
    with pytest.raises(InputError, match="cannot be read as a saved data set"):
        open_source(tmp_path / "saved")


def test_streams_are_refused(both: Any) -> None:
    with pytest.raises(InputError, match="it is a stream: load it without streaming=True"):
        open_source(both["train"].to_iterable_dataset())


@pytest.fixture
def owner(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the data set `owner/birds`, which the library loads as it loads those of the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    for split, seeds in (("train", range(3)), ("test", range(3, 5))):
        images = structs([encoded(noise(seed=seed)) for seed in seeds])
        columns = {"image": images, "label": pa.array([seed % 2 for seed in seeds])}
        parquet(
            tmp_path / "owner" / "birds" / "data" / f"{split}-00000-of-00001.parquet",
            columns,
            classes={"label": ["a", "b"]},
        )
    hub.named.cache_clear()
    return tmp_path


def test_data_sets_by_name(owner: Path) -> None:
    assert split_names("hf:owner/birds") == ("train", "test")
    source = open_source("hf:owner/birds", split="test")
    assert (source.name, source.class_names, labels_of(source)) == ("birds", ("a", "b"), [1, 0])
    np.testing.assert_array_equal(source.read(0), noise(seed=3))
    with pytest.raises(InputError, match="hf:owner/birds:other cannot be loaded"):
        open_source("hf:owner/birds:other")


def test_without_a_network_the_answer_comes_at_once(
    library: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    def refuse(*_: object, timeout: float, **__: object) -> None:
        assert timeout <= 5
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    began = time.monotonic()
    with pytest.raises(InputError, match=r"hub cannot be reached \(no route to host\): connect to a network") as caught:
        open_source("hf:nobody/nothing")
    assert time.monotonic() - began < 5
    assert "\n" not in str(caught.value)
    assert library.config.HF_HUB_OFFLINE is False


def test_names_that_the_hub_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(InputError, match="there is no data set 'a b/c d' on the hub"):
        open_source("hf:a b/c d")


def test_without_the_library_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    hub.named.cache_clear()
    with pytest.raises(InputError, match="pip install datasets"):
        open_source("hf:owner/name")


def test_pillow_images_in_tables() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"image": [Image.fromarray(noise()), None]})
    source = open_source(table)
    np.testing.assert_array_equal(source.read(0), noise())
    assert len(source) == 2
