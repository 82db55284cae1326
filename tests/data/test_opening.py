"""What is opened as what, and how refusals read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.data import Source, open_source, split_names
from likewise.data.source import Pixels
from likewise.errors import InputError
from tests.data.images import flat, noise, save


def test_a_source_of_ones_own_comes_back() -> None:
    class Mine(Source):
        def read(self, position: int, short_side: int | None = None) -> Pixels:
            return flat((position, 0, 0))

    mine = Mine(name="mine", fingerprint="00", names=[str(number) for number in range(100)], splits=("a",))
    assert open_source(mine) is mine
    assert split_names(mine) == ("a",)
    assert mine.look(3)[:2] == (8, 10)
    part = mine.sample(11)
    assert len(part) == 11
    assert [int(part.read(position)[0, 0, 0]) for position in (0, 5, 10)] == [0, 50, 99]
    assert part.names[5] == "50"
    assert part.fingerprint != mine.fingerprint
    assert mine.sample(1000) is mine


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no/such/folder", "there is no file or folder 'no/such/folder': give a folder"),
        ("cifar1", "did you mean the data set 'cifar10'?"),
        ("digit", "did you mean the data set 'digits'?"),
        ("", "there is no file or folder ''"),
    ],
)
def test_missing_paths_are_one_clear_line(text: str, message: str) -> None:
    for call in (open_source, split_names):
        with pytest.raises(InputError) as caught:
            call(text)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_unsupported_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_bytes(b"0")
    for call in (open_source, split_names):
        with pytest.raises(InputError, match=r"notes.doc is no data that can be read: a folder, an image, .parquet"):
            call(tmp_path / "notes.doc")
    (tmp_path / "film.mp4").write_bytes(b"0")
    pytest.importorskip("av")
    with pytest.raises(InputError, match=r"no video in .*film.mp4 can be read"):
        open_source(tmp_path / "film.mp4")


def test_folders_as_labels_need_a_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(InputError, match="needs a folder"):
        open_source(tmp_path / "a.npy", labels="folders")


def test_a_path_is_meant_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "digits" / "1.png", noise())
    monkeypatch.chdir(tmp_path)
    assert list(open_source("digits").names) == ["1.png"]
    assert split_names("digits") == ()
    assert open_source(".").name == tmp_path.name


def test_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "pictures" / "1.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_source("~/pictures").name == "pictures"


def test_numbers_of_a_column_that_lie_far_apart_are_still_numbers(tmp_path: Path) -> None:
    times = np.array([0, 72_000, 3_000, 900_000_000])
    images = np.zeros((4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "frames.npz", images=images, time=times, scan=np.arange(4) % 2, words=np.array(list("abab")))
    columns = open_source(tmp_path / "frames.npz", columns=("time", "scan", "words")).columns
    assert columns["time"].numbers().tolist() == times.tolist()
    assert columns["scan"].numbers().tolist() == [0, 1, 0, 1]
    with pytest.raises(InputError, match=r"whole numbers is wanted, and one holds 'a'"):
        columns["words"].numbers()
