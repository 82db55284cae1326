"""Folders and single files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from likewise.data import open_source, prepare, split_names
from likewise.data.source import BrokenImage
from likewise.errors import InputError
from tests.data.pictures import flat, noise, save


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of several formats in nested folders, with things that are none."""
    root = tmp_path / "photos"
    save(root / "b" / "deep" / "1.PNG", flat((1, 1, 1)))
    save(root / "a" / "2.jpeg", flat((2, 2, 2)))
    save(root / "a" / "3.webp", flat((3, 3, 3)), lossless=True)
    save(root / "4.gif", flat((4, 4, 4)))
    save(root / ".thumbnails" / "5.png")
    save(root / "a" / ".6.png")
    (root / "notes.txt").write_text("no picture")
    return root


def test_folder_is_searched_in_order_without_hidden_files(photos: Path) -> None:
    source = open_source(photos)
    assert list(source.names) == ["4.gif", "a/2.jpeg", "a/3.webp", "b/deep/1.PNG"]
    assert [int(source.read(position)[0, 0, 0]) for position in range(len(source))] == [4, 2, 3, 1]
    assert source.name == "photos"
    assert source.labels is None
    assert source.splits == ()


def test_sub_folders_are_labels_only_when_asked(photos: Path) -> None:
    source = open_source(str(photos), labels="folders")
    assert source.class_names == ("a", "b")
    assert source.labels is not None
    assert source.labels.tolist() == [-1, 0, 0, 1]
    assert open_source(photos, labels="none").labels is None
    with pytest.raises(InputError, match="allowed are 'folders'"):
        open_source(photos, labels="label")


def test_labels_need_sub_folders(tmp_path: Path) -> None:
    save(tmp_path / "p" / "1.png")
    with pytest.raises(InputError, match="no sub-folders"):
        open_source(tmp_path / "p", labels="folders")


def test_train_and_test_folders_are_splits(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "val/dog/3.png"):
        save(tmp_path / "set" / name)
    assert split_names(tmp_path / "set") == ("train", "val")
    train = open_source(tmp_path / "set", split="train", labels="folders")
    val = open_source(tmp_path / "set", split="val", labels="folders")
    assert train.class_names == val.class_names == ("cat", "dog")
    assert train.labels is not None
    assert val.labels is not None
    assert (train.labels.tolist(), val.labels.tolist()) == ([0, 1], [1])
    assert train.fingerprint != val.fingerprint
    assert len(open_source(tmp_path / "set")) == 3
    with pytest.raises(InputError, match="allowed are train, val"):
        open_source(tmp_path / "set", split="test")


def test_every_folder_beside_train_and_test_is_a_split(tmp_path: Path) -> None:
    for name in ("Train/cat/1.png", "test/dog/2.png", "unlabeled/3.png", "4.png"):
        save(tmp_path / "set" / name)
    assert split_names(tmp_path / "set") == ("Train", "unlabeled", "test")
    assert list(open_source(tmp_path / "set", split="train").names) == ["Train/cat/1.png"]
    counts = {"Train": 1, "unlabeled": 1, "test": 1, "": 1}
    assert open_source(tmp_path / "set").split_counts == counts


def test_folders_may_say_that_they_are_splits(tmp_path: Path) -> None:
    for name in ("split=train/cat/1.png", "split=extra/dog/2.png"):
        save(tmp_path / "set" / name)
    assert split_names(tmp_path / "set") == ("train", "extra")
    extra = open_source(tmp_path / "set", split="extra", labels="folders")
    assert (list(extra.names), extra.class_names) == (["split=extra/dog/2.png"], ("cat", "dog"))


def test_folders_called_otherwise_are_no_splits(photos: Path) -> None:
    save(photos / "train" / "1.png")
    assert split_names(photos) == ()
    with pytest.raises(InputError, match="has no splits"):
        open_source(photos, split="train")


def test_fingerprint_follows_the_files_not_the_place(photos: Path) -> None:
    before = open_source(photos).fingerprint
    moved = photos.rename(photos.parent / "moved")
    assert open_source(moved).fingerprint == before
    os.utime(moved / "4.gif", ns=(1, 1))
    touched = open_source(moved).fingerprint
    assert touched != before
    (moved / "a" / "2.jpeg").rename(moved / "a" / "22.jpeg")
    assert open_source(moved).fingerprint not in {before, touched}


def test_links_are_followed_but_no_circle(photos: Path, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "7.png")
    (photos / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (photos / "circle").symlink_to(photos, target_is_directory=True)
    (photos / "nowhere.png").symlink_to(photos / "missing.png")
    names = list(open_source(photos).names)
    assert "link/7.png" in names
    assert not any(name.startswith("circle") for name in names)
    with pytest.raises(BrokenImage, match="no such file"):
        open_source(photos).read(names.index("nowhere.png"))


def test_names_that_are_no_utf8_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    save(folder / "1.png")
    source = open_source(folder)
    assert [name.encode() for name in source.names] == [b"1.png", b"caf\\udce9.png"]
    assert len(prepare(source, short_side=8, max_broken=0.5)) == 1


@pytest.mark.parametrize("empty", [True, False])
def test_folders_without_pictures_are_refused(tmp_path: Path, *, empty: bool) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    if not empty:
        (folder / "readme.md").write_text("hello")
    with pytest.raises(InputError, match="the folder is empty" if empty else "1 other files, such as readme.md"):
        open_source(folder)


def test_one_picture_is_a_source(tmp_path: Path) -> None:
    source = open_source(save(tmp_path / "one.png", noise()))
    assert len(source) == 1
    np.testing.assert_array_equal(source.read(0), noise())
    with pytest.raises(InputError, match="has no splits"):
        open_source(tmp_path / "one.png", split="train")
