"""Text, CSV and Parquet files that list images."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.data import open_source, prepare, split_names
from likewise.data.source import BrokenImage
from likewise.errors import InputError
from tests.data.images import flat, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, one of them in a sub-folder."""
    for number, name in enumerate(("a.png", "sub dir/b.png", "c.png")):
        save(tmp_path / "list" / name, flat((number, number, number)))
    return tmp_path / "list"


def first_pixels(path: Path, **options: str) -> list[int]:
    source = open_source(path, **options)
    return [int(source.read(position)[0, 0, 0]) for position in range(len(source))]


def test_text_has_a_path_a_line_relative_to_itself(folder: Path) -> None:
    listed = folder / "list.txt"
    listed.write_text(f"c.png\n\n  sub dir/b.png\n{folder / 'a.png'}\n")
    assert first_pixels(listed) == [2, 1, 0]
    assert open_source(listed).labels is None


def test_csv_with_labels_and_splits(folder: Path) -> None:
    listed = folder / "list.csv"
    listed.write_text("file_name,label,split\na.png,cat,train\nsub dir/b.png,dog,test\nc.png,,train\n")
    assert split_names(listed) == ("train", "test")
    source = open_source(listed, split="train")
    assert list(source.names) == ["a.png", "c.png"]
    assert source.class_names == ("cat", "dog")
    assert source.labels is not None
    assert source.labels.tolist() == [0, -1]
    assert source.splits == ("train", "test")
    assert first_pixels(listed, split="test") == [1]
    assert len(open_source(listed)) == 3


def test_csv_of_other_makes(folder: Path) -> None:
    cases = {
        "semicolon.csv": "path;class\na.png;1\nc.png;0\n",
        "tabs.tsv": "Path\tTarget\na.png\t1\nc.png\t0\n",
        "quoted.csv": '\ufeff"path","label"\r\n"a.png","1"\r\n"c.png","0"\r\n',
        "bare.csv": "a.png,1\nc.png,0\n",
    }
    for name, text in cases.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
        assert first_pixels(folder / name) == [0, 2], name
        labels = open_source(folder / name).labels
        assert labels is not None, name
        assert labels.tolist() == [1, 0], name


TABLES = {
    "capitals.csv": "Path,Label,Split\na.png,owl,train\nsub dir/b.png,cat,train\nc.png,owl,test\n",
    "mixed.csv": "path,label,split\na.png,owl,Train\nsub dir/b.png,cat,train\nc.png,owl,TEST\n",
    "blanks.csv": " path , label, split\na.png , owl , train \nsub dir/b.png, cat, train\nc.png, owl, test\n",
    "set.csv": "path,label,set\na.png,owl,training\nsub dir/b.png,cat,Training\nc.png,owl,testing\n",
    "flag.csv": "path,label,is_train\na.png,owl,True\nsub dir/b.png,cat,1\nc.png,owl,False\n",
    "windows.csv": "path,label,split\r\na.png,owl,train\r\nsub dir\\b.png,cat,train\r\nc.png,owl,test\r\n",
    "spaces.csv": "path;label;split\na.png;owl;train\nsub dir/b.png;cat;train\n\n;;\nc.png;owl;test\n",
    "tabs.csv": "path\tlabel\tsplit\na.png\towl\ttrain\nsub dir/b.png\tcat\ttrain\nc.png\towl\ttest\n",
    "excel.csv": "sep=|\npath|label|split\na.png|owl|train\nsub dir/b.png|cat|train\nc.png|owl|test\n",
    "table.txt": "path,label,split\na.png,owl,train\nsub dir/b.png,cat,train\nc.png,owl,test\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_people_have_them(folder: Path, name: str, encoding: str) -> None:
    (folder / name).write_text(TABLES[name], encoding=encoding, newline="")
    train, test = split_names(folder / name)
    assert (first_pixels(folder / name, split=train), first_pixels(folder / name, split=test)) == ([0, 1], [2])
    source = open_source(folder / name)
    assert source.class_names == ("cat", "owl")
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, 1]
    assert source.split_counts == {train: 2, test: 1}


@pytest.mark.parametrize(
    ("cells", "labels", "names"),
    [
        (["1.0", "", "0.0"], [1, -1, 0], None),
        (["NA", "1", "0"], [-1, 1, 0], None),
        (["owl", "nan", "cat"], [1, -1, 0], ("cat", "owl")),
        (["owl", "-1", "NULL"], [0, -1, -1], ("owl",)),
        (["0.5", "1.0", ""], None, None),
    ],
)
def test_cells_that_are_no_class(folder: Path, cells: list[str], labels: list[int] | None, names: object) -> None:
    rows = zip(("a.png", "sub dir/b.png", "c.png"), cells, strict=True)
    (folder / "a.csv").write_text("\n".join(["path,label", *(f"{path},{cell}" for path, cell in rows)]))
    source = open_source(folder / "a.csv")
    assert (None if source.labels is None else source.labels.tolist(), source.class_names) == (labels, names)
    if labels is None:
        with pytest.raises(InputError, match="fractions"):
            open_source(folder / "a.csv", labels="label")


def test_text_may_have_remarks_and_class_numbers(folder: Path) -> None:
    save(folder / "#1.png", flat((9, 9, 9)))
    (folder / "a.txt").write_text("# mine\nsub dir/b.png 1\nc.png 0\n")
    source = open_source(folder / "a.txt")
    assert source.labels is not None
    assert (list(source.names), source.labels.tolist()) == (["sub dir/b.png", "c.png"], [1, 0])
    (folder / "b.txt").write_text("# mine\n#1.png\nc.png\n")
    assert first_pixels(folder / "b.txt") == [9, 2]


def test_a_name_with_a_backslash_comes_before_a_folder(folder: Path) -> None:
    save(folder / "sub dir\\b.png", flat((7, 7, 7)))
    (folder / "a.txt").write_text("sub dir\\b.png\n~nobody at all/c.png\n")
    source = open_source(folder / "a.txt")
    assert int(source.read(0)[0, 0, 0]) == 7
    with pytest.raises(BrokenImage, match="cannot be opened"):
        source.read(1)


def test_a_second_column_of_a_name_gets_a_number(folder: Path) -> None:
    listed = folder / "list.csv"
    listed.write_text("path,label,label\na.png,ant,x\nc.png,bee,y\n")
    assert open_source(listed).class_names == ("ant", "bee")
    assert open_source(listed, labels="label.1").class_names == ("x", "y")


def test_accents_may_be_written_in_two_ways(folder: Path) -> None:
    save(folder / "\u00e9.png", flat((7, 7, 7)))
    listed = folder / "list.txt"
    listed.write_text("e\u0301.png\n", encoding="utf-8")
    assert first_pixels(listed) == [7]


@pytest.mark.parametrize("words", [("1.0", "0.0"), ("yes", "no"), ("T", "F"), ("True", "False")])
def test_truth_values_are_splits_however_they_are_written(folder: Path, words: tuple[str, str]) -> None:
    listed = folder / "list.csv"
    listed.write_text(f"path,is_train\na.png,{words[0]}\nc.png,{words[1]}\n")
    assert first_pixels(listed, split="train") == [0]


def test_label_column_by_name(folder: Path) -> None:
    listed = folder / "list.csv"
    listed.write_text("path,label,habitat\na.png,0,sea\nc.png,1,land\n")
    assert open_source(listed, labels="habitat").class_names == ("land", "sea")
    assert open_source(listed, labels="none").labels is None
    with pytest.raises(InputError, match="did you mean 'habitat'"):
        open_source(listed, labels="habitats")


def test_parquet_with_a_column_of_paths(folder: Path) -> None:
    table = pa.table({"image_path": ["c.png", "a.png"], "label": [7, 3], "split": ["train", "test"]})
    pq.write_table(table, folder / "list.parquet")
    assert split_names(folder / "list.parquet") == ("train", "test")
    assert first_pixels(folder / "list.parquet") == [2, 0]
    labels = open_source(folder / "list.parquet", split="test").labels
    assert labels is not None
    assert labels.tolist() == [3]


def test_missing_files_are_broken_images(folder: Path) -> None:
    listed = folder / "list.txt"
    listed.write_text("a.png\nmissing.png\n\0\n")
    source = open_source(listed)
    for position in (1, 2):
        with pytest.raises(BrokenImage, match="cannot be opened"):
            source.read(position)
    images = prepare(source, short_side=None, max_broken=0.9)
    assert [entry.name for entry in images.broken] == ["missing.png", "\0"]


def test_fingerprint_follows_the_listed_files(folder: Path) -> None:
    listed = folder / "list.txt"
    listed.write_text("a.png\n")
    before = open_source(listed).fingerprint
    save(folder / "a.png", flat((9, 9, 9), 20, 20))
    assert open_source(listed).fingerprint != before


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.csv", b"id,label\n1,2\n", "no column of paths: its columns are id, label"),
        ("x.csv", b"", "is empty"),
        ("x.csv", b"path,label\na.png\n", "row 2 has 1 cells"),
        ("x.csv", b"path\n", "lists no images"),
        ("x.txt", b"\n\n", "lists no images"),
        ("x.txt", b"\xff\xfea", "no UTF-8 text"),
        ("x.csv", b"path,label\na.png,0.5x\n,\n", None),
    ],
)
def test_lists_that_are_none_are_refused(folder: Path, name: str, data: bytes, message: str | None) -> None:
    (folder / name).write_bytes(data)
    if message is None:
        assert len(open_source(folder / name)) == 1
        return
    with pytest.raises(InputError, match=message):
        open_source(folder / name)
