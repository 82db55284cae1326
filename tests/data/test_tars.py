"""Archives of samples, as WebDataset writes them: images, captions, classes and columns, one archive or many."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.data import open_source, prepare, split_names
from likewise.data.texts import texts_of
from likewise.errors import InputError


def png(value: int, side: int = 12) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(held, "png")
    return held.getvalue()


def archive(path: Path, files: dict[str, bytes | str], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def samples(first: int, count: int) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for number in range(first, first + count):
        found |= {
            f"{number:03}.png": png(10 * number),
            f"{number:03}.txt": f"image {number}\nthe same",
            f"{number:03}.json": json.dumps({"place": "left" if number % 2 else "right", "size": number}),
            f"{number:03}.cls": str(number % 3),
        }
    return found


def test_of_several_of_a_kind_the_plainest_ending_counts(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"0.depth.png": png(1), "0.png": png(2), "0.seg.png": png(3)}
    files |= {"0.box.json": '{"place": "box"}', "0.json": '{"place": "here"}', "1.left.png": png(4)}
    source = open_source(archive(tmp_path / "depth.tar", files), columns=("place",))
    assert [int(source.read(position)[0, 0, 0]) for position in range(2)] == [2, 4]
    assert source.columns["place"].names == ("here",)
    assert source.left_out == {".png": 2}


@pytest.mark.parametrize(
    "names",
    [
        ["IMG.2020.01.png", "IMG.2020.02.png", "IMG.2021.01.png"],
        ["photo.png", "photo.1.png", "photo.2.png"],  # as browsers number what is downloaded again
        ["john.smith.png", "john.doe.png"],
        ["shot at 10.11.12.png", "shot at 10.11.13.jpg"],
    ],
)
def test_images_whose_names_have_dots_are_images_of_their_own(names: list[str], tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {name: png(10 * number) for number, name in enumerate(names)}
    files |= {f"{names[1].rpartition('.')[0]}.cls": "7"}
    source = open_source(archive(tmp_path / "x.tar", files))
    assert source.names == [f"x.tar/{name.rpartition('.')[0]}" for name in names]
    assert [int(source.read(at)[0, 0, 0]) for at in range(len(names))] == [10 * at for at in range(len(names))]
    assert source.labels is not None
    assert source.labels.tolist() == [-1, 7, *[-1] * (len(names) - 2)]
    assert source.left_out == {}


def test_fields_called_by_words_belong_to_the_image_of_their_key(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"0.png": png(1), "0.mask.png": png(2), "0.mask.inner.png": png(3), "0.cls": "1"}
    files |= {"1.rgb.png": png(4), "1.depth.tif": png(5), "1.cls": "2"}
    source = open_source(archive(tmp_path / "x.tar", files))
    assert source.names == ["x.tar/0", "x.tar/1"]
    assert [int(source.read(at)[0, 0, 0]) for at in range(2)] == [1, 4]
    assert source.labels is not None
    assert source.labels.tolist() == [1, 2]


def test_several_images_of_a_key_have_what_is_said_of_the_key(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"0.left.png": png(1), "0.right.png": png(2), "0.cls": "1", "0.right.cls": "2"}
    source = open_source(archive(tmp_path / "pairs.tar", files))
    assert source.names == ["pairs.tar/0.left", "pairs.tar/0.right"]
    assert source.labels is not None
    assert source.labels.tolist() == [1, 2]


def test_images_classes_captions_and_columns_of_a_sample_come_together(tmp_path: Path) -> None:
    path = archive(tmp_path / "pairs.tar", samples(0, 5) | {"009.txt": "no image", "010.mp3": "?"})
    source = open_source(path, columns=("caption", "place"))
    assert source.names[:2] == ["pairs.tar/000", "pairs.tar/001"]
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 2, 0, 1]
    captions = texts_of(source.columns["caption"])
    assert captions.of(int(source.columns["caption"].values[2])) == ("image 2", "the same")
    assert source.columns["place"].names == ("left", "right")
    assert source.columns["place"].values.tolist() == [1, 0, 1, 0, 1]
    pixels, _ = prepare(source, short_side=None).gather(np.arange(5))
    assert pixels[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    assert source.left_out == {".mp3": 1}


def test_archives_of_a_folder_have_the_splits_of_their_names(tmp_path: Path) -> None:
    for name, first in (("train-000.tar", 0), ("train-001.tar", 4), ("val-000.tar", 8)):
        archive(tmp_path / "shards" / name, samples(first, 4))
    assert split_names(tmp_path / "shards") == ("train", "val")
    source = open_source(tmp_path / "shards", split="val")
    assert [name.partition("/")[2] for name in source.names] == ["008", "009", "010", "011"]
    assert int(source.read(1)[0, 0, 0]) == 90
    assert len(open_source(tmp_path / "shards")) == 12


def test_keys_are_what_stands_before_the_first_dot_and_folders_are_part_of_them(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "a/0.seen.png": png(50), "a/0.txt": "first", "b/0.png": png(60), "b/0.json": json.dumps({"text": "second"}),
        "b/0.other.png": png(70), "b/.hidden.png": png(1),
    }  # fmt: skip
    source = open_source(archive(tmp_path / "x.tar", files))
    assert source.names == ["x.tar/a/0", "x.tar/b/0"]
    assert [int(source.read(at)[0, 0, 0]) for at in range(2)] == [50, 60]
    assert source.labels is None
    assert source.left_out == {".png": 1}


def test_lists_of_captions_are_lines_also_where_entries_are_mappings(tmp_path: Path) -> None:
    said = [["a car", "two\nlines"], [{"raw": "a dog", "sentid": 1}, {"raw": "dogs"}], [], None]
    files: dict[str, bytes | str] = {}
    for number, captions in enumerate(said):
        files |= {f"{number}.png": png(number), f"{number}.json": json.dumps({"captions": captions})}
    column = open_source(archive(tmp_path / "x.tar", files), columns=("caption",)).columns["caption"]
    texts = texts_of(column)
    assert [texts.of(int(code)) for code in column.values] == [("a car", "two lines"), ("a dog", "dogs"), (), ()]


@pytest.mark.parametrize(
    ("name", "mode", "files", "labels", "told"),
    [
        ("x.tar", "w", {"0.txt": "no image"}, None, "holds no images"),
        ("x.tar", "w", {"0.png": png(1), "0.json": "{"}, "place", r"x\.tar/0\.json is no JSON"),
        ("x.tar", "w", {"0.png": png(1), "0.json": '{"place": 1}'}, "palce", "did you mean 'place'"),
        ("x.tar", "w:gz", {"0.png": png(1)}, None, r"no archive that can be read"),
        ("x.tar.gz", "w:gz", {"0.png": png(1)}, None, r"is compressed.*unpack it to a \.tar"),
        ("x.tgz", "w:gz", {"0.png": png(1)}, None, r"is compressed"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    name: str, mode: str, files: dict[str, bytes | str], labels: str | None, told: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / name, files, mode)
    with pytest.raises(InputError, match=told) as found:
        open_source(path, labels=labels)
    assert "\n" not in str(found.value)


def test_an_archive_that_ends_early_is_no_data(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", samples(0, 4))
    path.write_bytes(path.read_bytes()[:1300])
    with pytest.raises(InputError, match="no archive that can be read"):
        open_source(path)
