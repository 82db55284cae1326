"""Folders and single files."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from likewise import cli
from likewise.cli.learning import doctor
from likewise.data import describe, open_source, prepare, split_names
from likewise.data.decoding import formats
from likewise.data.decoding.decode import EXTENSIONS, decode
from likewise.data.decoding.formats import HEAD, starts_like_image
from likewise.data.describing import remarks
from likewise.data.source import BrokenImage
from likewise.data.sources import walking
from likewise.errors import InputError
from likewise.runs import RunDirectory
from tests.data.images import encoded, flat, noise, parquet, save, structs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of several formats in nested folders, with things that are none."""
    root = tmp_path / "photos"
    save(root / "b" / "deep" / "1.PNG", flat((1, 1, 1)))
    save(root / "a" / "2.jpeg", flat((2, 2, 2)))
    save(root / "a" / "3.webp", flat((3, 3, 3)), lossless=True)
    save(root / "4.gif", flat((4, 4, 4)))
    save(root / ".thumbnails" / "5.png")
    save(root / "a" / ".6.png")
    (root / "notes.txt").write_text("no image")
    return root


def test_folder_is_searched_in_order_without_hidden_files(photos: Path) -> None:
    source = open_source(photos)
    assert list(source.names) == ["4.gif", "a/2.jpeg", "a/3.webp", "b/deep/1.PNG"]
    assert [int(source.read(position)[0, 0, 0]) for position in range(len(source))] == [4, 2, 3, 1]
    assert source.name == "photos"
    assert source.labels is None
    assert source.splits == ()


def test_sub_folders_are_labels_only_when_asked(photos: Path) -> None:
    source = open_source(str(photos), labels="folders:1")
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


def test_splits_may_lie_deeper(tmp_path: Path) -> None:
    for name in ("images/train/cat/1.png", "images/val/dog/2.png", "logo.png"):
        save(tmp_path / "set" / name)
    (tmp_path / "set/labels/train").mkdir(parents=True)
    assert split_names(tmp_path / "set") == ("train", "val")
    train = open_source(tmp_path / "set", split="train", labels="folders")
    assert (list(train.names), train.class_names) == (["images/train/cat/1.png"], ("cat", "dog"))
    assert train.split_counts == {"train": 1, "val": 1, "": 1}


def test_each_folder_may_have_splits_of_its_own(tmp_path: Path) -> None:
    for name in ("cat/train/1.png", "cat/test/2.png", "dog/train/3.png", "dog/unlabeled/4.png", "fox/5.png"):
        save(tmp_path / "set" / name)
    assert split_names(tmp_path / "set") == ("train", "unlabeled", "test")
    train = open_source(tmp_path / "set", split="train", labels="folders")
    assert (list(train.names), train.class_names) == (["cat/train/1.png", "dog/train/3.png"], ("cat", "dog", "fox"))
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1]


def test_deeper_folders_without_images_are_no_splits(tmp_path: Path) -> None:
    for name in ("photos/1.png", "photos/2.png", "code/train/plot.png"):
        save(tmp_path / "set" / name)
    (tmp_path / "set/code/test").mkdir()
    assert split_names(tmp_path / "set") == ()
    assert len(open_source(tmp_path / "set")) == 3


def test_deeper_folders_with_few_of_the_images_are_no_splits(tmp_path: Path) -> None:
    for name in ("photos/1.png", "photos/2.png", "photos/3.png", "code/train/plot.png", "code/test/plot.png"):
        save(tmp_path / "set" / name)
    assert split_names(tmp_path / "set") == ()
    assert len(open_source(tmp_path / "set")) == 5


def test_folders_called_otherwise_are_no_splits(photos: Path) -> None:
    save(photos / "train" / "1.png")
    assert split_names(photos) == ()
    with pytest.raises(InputError, match="has no splits"):
        open_source(photos, split="train")


@pytest.mark.parametrize("many", [1, 100])
def test_times_in_whole_seconds_are_not_trusted(tmp_path: Path, many: int) -> None:
    found = []
    for place, shade in (("old", 1), ("new", 2), ("copy", 2)):
        for number in range(many):
            path = save(tmp_path / place / "set" / f"{number:03}.bmp", flat((shade, 0, 0), 60, 60))
            os.utime(path, (10**9, 10**9))  # as an archive has them that is made the same each time
        found.append(open_source(tmp_path / place / "set"))
    old, new, copy = (source.fingerprint for source in found)
    assert old != new == copy
    assert [int(prepare(source, short_side=None).image(0)[0, 0, 0]) for source in found] == [1, 2, 2]


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
def test_folders_without_images_are_refused(tmp_path: Path, *, empty: bool) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    if not empty:
        (folder / "readme.md").write_text("hello")
    with pytest.raises(InputError, match="the folder is empty" if empty else "1 other files, such as readme.md"):
        open_source(folder)


def test_one_image_is_a_source(tmp_path: Path) -> None:
    source = open_source(save(tmp_path / "one.png", noise()))
    assert len(source) == 1
    np.testing.assert_array_equal(source.read(0), noise())
    with pytest.raises(InputError, match="has no splits"):
        open_source(tmp_path / "one.png", split="train")


# Which level of sub-folders ----------------------------------------------------------------------------------------


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    """Site/month/species, as cameras in the field are stored."""
    root = tmp_path / "survey"
    for number, (site, month, species) in enumerate(
        [("north", "may", "fox"), ("north", "june", "owl"), ("south", "may", "owl"), ("south", "may", "lynx")]
    ):
        save(root / site / month / species / f"{number}.png")
    return root


def test_several_levels_of_folders_have_to_be_chosen_from(survey: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_source(survey, labels="folders")
    told = str(caught.value)
    assert "Level 1: 2 folders (north, south); Level 2: 2 folders (may, june); Level 3: 3 folders" in told
    assert "'folders:1', 'folders:2', 'folders:3' or 'folders:last'" in told
    assert open_source(survey, labels="folders:1").class_names == ("north", "south")
    assert open_source(survey, labels="folders:2").class_names == ("june", "may")
    last = open_source(survey, labels="folders:last")
    assert last.class_names == open_source(survey, labels="folders:3").class_names == ("fox", "lynx", "owl")
    assert last.labels is not None
    assert dict(zip(last.names, last.labels.tolist(), strict=True))["south/may/owl/2.png"] == 2
    for wrong in ("folders:4", "folders:0", "folders:first", "folders:"):
        with pytest.raises(InputError, match="allowed are 'folders:1', 'folders:2', 'folders:3' and 'folders:last'"):
            open_source(survey, labels=wrong)


def test_levels_are_counted_below_the_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save(tmp_path / "d" / split / "cat" / "1.png")
        save(tmp_path / "d" / split / "dog" / "2.png")
    assert open_source(tmp_path / "d", labels="folders").class_names == ("cat", "dog")
    assert open_source(tmp_path / "d", labels="folders:1").class_names == ("cat", "dog")


def test_files_that_lie_less_deep_are_told_and_unlabelled(survey: Path) -> None:
    save(survey / "north" / "map.png")
    with pytest.raises(InputError, match=r"Level 3: 3 folders .*, with 4 of 5 files"):
        open_source(survey, labels="folders")
    source = open_source(survey, labels="folders:3")
    assert source.labels is not None
    assert source.labels[list(source.names).index("north/map.png")] == -1


# What else a folder holds ------------------------------------------------------------------------------------------


def test_what_is_no_image_is_counted_by_ending(photos: Path) -> None:
    for name in ("a/1.mp4", "a/2.MP4", "b/3.raw", "b/LICENSE"):
        (photos / name).write_bytes(b"no image")
    source = open_source(photos)
    assert source.left_out == {".mp4": 2, ".raw": 1, ".txt": 1, "without an ending": 1}
    assert next(iter(source.left_out)) == ".mp4"
    assert "left out: 2 .mp4, " in str(describe(source))
    assert remarks(prepare(source, short_side=None))[-1].startswith("left out: 2 .mp4")
    assert open_source(photos / "b" / "deep").left_out == {}


def test_what_lies_beside_shards_is_counted(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "0.parquet", {"image": structs([encoded(noise())])})
    (tmp_path / "p" / "README.md").write_text("birds")
    assert open_source(tmp_path / "p").left_out == {".md": 1}
    save(tmp_path / "p" / "a.png")
    assert open_source(tmp_path / "p").left_out == {".md": 1, ".parquet": 1}


def test_images_without_an_ending_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for number, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF", "TIFF", "JPEG2000")):
        (folder / f"{number}").write_bytes(encoded(noise(seed=number), kind))
    (folder / "notes").write_text("BM is how bitmaps begin, and P5 is a format")
    source = open_source(folder)
    assert list(source.names) == ["0", "1", "2", "3", "4", "5"]
    assert [source.look(position).stored_as for position in (0, 4)] == ["PNG", "TIFF"]
    assert source.left_out == {"without an ending": 1}


def test_heic_is_read_where_its_package_is() -> None:
    package = pytest.importorskip("pillow_heif")
    package.register_heif_opener()
    data = encoded(flat((200, 60, 30), 64, 64), "HEIF", quality=95)
    np.testing.assert_allclose(decode(data), flat((200, 60, 30), 64, 64), atol=6)
    assert ".heic" in EXTENSIONS
    assert starts_like_image(data[:HEAD])


def test_heic_without_its_package_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"\0\0\0\x18ftypheic" + bytes(40)
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    monkeypatch.setattr(walking, "EXTENSIONS", EXTENSIONS - formats.HEIC)
    formats._formats.cache_clear()
    try:
        with pytest.raises(BrokenImage, match="HEIC, which the package pillow-heif reads"):
            decode(head)
        (tmp_path / "a.heic").write_bytes(head)
        (tmp_path / "b.mov").write_bytes(b"")
        with pytest.raises(InputError, match=r"2 other files, .*1 \.heic, 1 \.mov.*pip install pillow-heif"):
            open_source(tmp_path)
    finally:
        formats._formats.cache_clear()


# Links -------------------------------------------------------------------------------------------------------------


def test_real_folders_come_before_links_to_them(tmp_path: Path) -> None:
    root = tmp_path / "p"
    save(root / "z" / "owl" / "1.png", flat((1, 1, 1)))
    save(tmp_path / "outside" / "2.png", flat((2, 2, 2)))
    (root / "a").symlink_to(root / "z")
    (root / "b").symlink_to(tmp_path / "outside")
    (root / "c").symlink_to(root)
    (root / "z" / "first.png").symlink_to(root / "z" / "owl" / "1.png")
    (root / "z" / "second.png").symlink_to(tmp_path / "outside" / "2.png")
    source = open_source(root)
    assert list(source.names) == ["b/2.png", "z/owl/1.png"]
    assert source.left_out == {"links to files that are there": 2}
    assert [int(source.read(at)[0, 0, 0]) for at in range(2)] == [2, 1]


def test_links_alone_are_followed(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "all" / f"{number}.png")
        (tmp_path / "chosen" / "owl").mkdir(parents=True, exist_ok=True)
        (tmp_path / "chosen" / "owl" / f"{number}.png").symlink_to(tmp_path / "all" / f"{number}.png")
    source = open_source(tmp_path / "chosen", labels="folders")
    assert list(source.names) == ["owl/0.png", "owl/1.png", "owl/2.png"]
    assert source.left_out == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    save(tmp_path / "1.png")
    (root / "owl").mkdir(parents=True)
    (tmp_path / "1.png").rename(root / "owl" / "1.png")
    source = open_source(root, labels="folders")
    assert source.name == "caf\\udce9"
    assert str(describe(source)).encode()
    with pytest.raises(InputError) as caught:
        open_source(root, labels="folders:7")
    assert str(caught.value).encode()
    run = RunDirectory.create(tmp_path / "run", "run")
    run.write(data={"path": str(root)})
    assert run.read()["data"]["path"] == str(root)


def test_printed_commands_name_such_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8", errors="strict", write_through=True))
    monkeypatch.setattr(doctor, "run", lambda words: print(*words))
    name = os.fsdecode(b"caf\xe9")
    assert cli.main(["doctor", name]) == 0
    assert raw.getvalue() == b"caf\xe9\n"
