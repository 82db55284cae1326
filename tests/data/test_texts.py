"""Captions from columns, lists and files beside images, in any script; words and their codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from likewise.data import open_source
from likewise.data.source import Column
from likewise.data.texts import texts_of, with_text
from likewise.encoders.words import TextTransformer, encode, split
from likewise.errors import InputError


def some_images(folder: Path, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    for at in range(count):
        Image.new("RGB", (8, 8), (at * 40, 0, 0)).save(folder / f"{at}.png")
    return [f"{at}.png" for at in range(count)]


def test_a_text_of_several_lines_is_several_captions_and_equal_ones_are_held_once() -> None:
    column = Column(np.array([0, 1, 2, -1]), ("a cat\n\n a dog ", "a dog", " \n"))
    found = texts_of(column)
    assert found.strings == ("a cat", "a dog")
    assert [found.of(code) for code in column.values] == [("a cat", "a dog"), ("a dog",), (), ()]
    assert with_text(column).tolist() == [True, True, False, False]


def test_numbers_are_texts_as_they_are_written() -> None:
    assert texts_of(Column(np.array([2, -1, 0]))).of(2) == ("2",)


def test_files_beside_images_are_captions(tmp_path: Path) -> None:
    some_images(tmp_path / "a", 5)
    (tmp_path / "a/0.txt").write_text("a red car\nein rotes Auto\n", encoding="utf-8-sig")
    (tmp_path / "a/1.json").write_text(json.dumps({"captions": ["赤い車", "a car"], "place": "left"}), encoding="utf-8")
    (tmp_path / "a/2.txt").write_text("   ", encoding="utf-8")
    (tmp_path / "a/3.txt").write_bytes(b"caf\xe9")
    column = open_source(tmp_path / "a", columns=("caption",)).columns["caption"]
    found = texts_of(column)
    said = [found.of(int(code)) for code in column.values]
    assert said == [("a red car", "ein rotes Auto"), ("赤い車", "a car"), (), ("caf\ufffd",), ()]
    place = open_source(tmp_path / "a", columns=("place",)).columns["place"]
    assert (place.values.tolist(), place.names) == ([-1, 0, -1, -1, -1], ("left",))


def test_a_damaged_json_file_and_a_missing_column_are_one_line(tmp_path: Path) -> None:
    some_images(tmp_path / "a", 2)
    with pytest.raises(InputError, match="has no column 'caption': give a table that has it, or files beside"):
        open_source(tmp_path / "a", columns=("caption",))
    (tmp_path / "a/0.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"0\.json is no JSON"):
        open_source(tmp_path / "a", columns=("caption",))


def test_lists_of_a_parquet_file_and_other_names_of_the_column(tmp_path: Path) -> None:
    names = some_images(tmp_path / "a", 3)
    table = pa.table({"path": [f"a/{name}" for name in names], "captions": [["one", "two\nlines"], [], None]})
    pq.write_table(table, tmp_path / "list.parquet")
    source = open_source(tmp_path / "list.parquet", columns=("caption",))
    found = texts_of(source.columns["caption"])
    assert [found.of(int(code)) for code in source.columns["caption"].values] == [("one", "two lines"), (), ()]
    assert source.labels is None, "captions are no labels"


def test_sound_files_of_a_table_are_placed_beside_it(tmp_path: Path) -> None:
    names = some_images(tmp_path / "a", 2)
    lines = ["path,speech", *(f"a/{name},sound/1.wav" for name in names)]
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    column = open_source(tmp_path / "list.csv", columns=("speech",)).columns["speech"]
    assert column.names == (str(tmp_path / "sound/1.wav"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red Car, 12!", ["a", "red", "car", ",", "12", "!"]),
        ("", []),
        (" \n\t", []),
        ("赤い車 ABC", ["赤", "い", "車", "abc"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ÜBER ﬁn", ["über", "fin"]),
        ("👍 ok", ["👍", "ok"]),
        ("x" * 30, ["xxxx"] * 7 + ["xx"]),
    ],
)
def test_words_in_any_script(text: str, words: list[str]) -> None:
    assert split(text) == words


def test_codes_are_the_same_everywhere_and_very_long_texts_are_cut() -> None:
    codes = encode(["a red car", "", "red " * 100_000], 4, 1000)
    assert codes.tolist() == [[172, 346, 985, 0], [0] * 4, [346] * 4]


def test_the_transformer_reads_each_text_by_itself_and_an_empty_one_as_nothing() -> None:
    torch.manual_seed(0)
    network = TextTransformer(codes=50, length=6, width=32, layers=2)
    codes = torch.tensor([[3, 4, 5, 0, 0, 0], [7, 0, 0, 0, 0, 0], [0] * 6, [9, 8, 7, 6, 5, 4]])
    together = network(codes)
    alone = torch.cat([network(row.unsqueeze(0)) for row in codes])
    torch.testing.assert_close(together, alone)
    assert not together[2].any()
    assert not torch.allclose(network(torch.tensor([[4, 3, 5]])), together[:1]), "the order of words matters"
    together.sum().backward()
    assert network.words.weight.grad is not None
    assert network.words.weight.grad.isfinite().all()


def test_lists_of_captions_given_in_python(tmp_path: Path) -> None:
    images = [np.full((12, 12, 3), 9 * number, np.uint8) for number in range(4)]
    captions: list[object] = [["a car", "cars"], [{"raw": "a dog"}], [], None]
    entries = [{"image": image, "captions": each} for image, each in zip(images, captions, strict=True)]
    source = open_source(entries, columns=("caption",))
    found = texts_of(source.columns["caption"])
    assert [found.of(int(code)) for code in source.columns["caption"].values] == [("a car", "cars"), ("a dog",), (), ()]
    assert source.labels is None
    with pytest.raises(InputError, match=r"holds sentid: its text must be called raw or caption or text or sentence"):
        open_source([{"image": images[0], "captions": [{"sentid": 3}]}], labels="captions")


def test_lists_of_mappings_in_a_parquet_file(tmp_path: Path) -> None:
    names = some_images(tmp_path / "a", 2)
    said = [[{"raw": "a car", "sentid": 1}, {"raw": "cars", "sentid": 2}], [{"raw": "a dog", "sentid": 3}]]
    pq.write_table(pa.table({"path": [f"a/{name}" for name in names], "sentences": said}), tmp_path / "list.parquet")
    column = open_source(tmp_path / "list.parquet", columns=("caption",)).columns["caption"]
    assert column.names == ("a car\ncars", "a dog")
