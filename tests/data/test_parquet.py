"""Parquet files with the images inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.data import open_source, prepare, split_names
from likewise.data.source import BrokenImage
from likewise.data.sources.tables.parquet import ParquetSource
from likewise.errors import InputError
from tests.data.images import encoded, flat, parquet, save, structs

COUNT = 8


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Eight images, whose pixels say their number, with two columns of labels and a split."""
    columns = {
        "image": structs([encoded(flat((number, 0, 0))) for number in range(COUNT)]),
        "coarse_label": [0, 1] * 4,
        "fine_label": [0, 1, 2, 3] * 2,
        "camera": ["left", "right"] * 4,
        "split": ["train"] * 6 + ["test"] * 2,
    }
    classes = {"coarse_label": ["plant", "animal"], "fine_label": ["oak", "ant", "elm", "bee"]}
    return parquet(tmp_path / "animals.parquet", columns, classes=classes)


def test_rows_are_read_across_row_groups(table: Path) -> None:
    source = open_source(table)
    assert [int(source.read(position)[0, 0, 0]) for position in (7, 0, 3, 5, 2)] == [7, 0, 3, 5, 2]
    assert list(source.names) == [f"{number}.png" for number in range(COUNT)]
    assert source.name == "animals"


def test_split_column_is_honoured(table: Path) -> None:
    assert split_names(table) == ("train", "test")
    train, test = (open_source(table, split=split) for split in ("train", "test"))
    assert (len(train), len(test), len(open_source(table))) == (6, 2, 8)
    assert int(test.read(0)[0, 0, 0]) == 6
    assert test.names[0] == "6.png"
    assert train.fingerprint != test.fingerprint
    with pytest.raises(InputError, match=r"unknown split of .* 'val'.* allowed are test, train"):
        open_source(table, split="val")


def test_labels_are_found_with_their_names(table: Path) -> None:
    source = open_source(table, split="test")
    assert source.class_names == ("oak", "ant", "elm", "bee")
    assert source.labels is not None
    assert source.labels.tolist() == [2, 3]
    coarse = open_source(table, labels="coarse_label")
    assert coarse.class_names == ("plant", "animal")
    words = open_source(table, labels="camera")
    assert words.class_names == ("left", "right")
    assert open_source(table, labels="none").labels is None
    with pytest.raises(InputError, match="did you mean 'camera'"):
        open_source(table, labels="camara")


def test_declared_classes_are_labels_whatever_they_are_called(tmp_path: Path) -> None:
    columns = {"image": structs([encoded(flat((0, 0, 0)))] * 2), "shape": [1, 0], "label": [0.1, 0.2]}
    source = open_source(parquet(tmp_path / "a.parquet", columns, classes={"shape": ["round", "square"]}))
    assert source.class_names == ("round", "square")


def test_a_measurement_called_label_is_none(tmp_path: Path) -> None:
    columns = {"image": structs([encoded(flat((0, 0, 0)))]), "label": [0.25]}
    path = parquet(tmp_path / "a.parquet", columns)
    assert open_source(path).labels is None
    with pytest.raises(InputError, match="fractions"):
        open_source(path, labels="label")


def test_missing_labels_are_unknown(tmp_path: Path) -> None:
    columns = {"image": structs([encoded(flat((0, 0, 0)))] * 3), "label": [1, None, 0]}
    labels = open_source(parquet(tmp_path / "a.parquet", columns)).labels
    assert labels is not None
    assert labels.tolist() == [1, -1, 0]


def test_a_plain_binary_column_will_do(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"img": pa.array([encoded(flat((5, 5, 5)))])})
    source = open_source(path)
    assert source.read(0)[0, 0].tolist() == [5, 5, 5]
    assert list(source.names) == ["row 0"]


def test_images_may_lie_outside_or_be_missing(tmp_path: Path) -> None:
    save(tmp_path / "outside.png", flat((6, 6, 6)))
    cells = structs([None, None, encoded(flat((7, 7, 7)))], ["outside.png", None, None])
    source = open_source(parquet(tmp_path / "a.parquet", {"image": cells}))
    assert source.read(0)[0, 0, 0] == 6
    assert source.read(2)[0, 0, 0] == 7
    with pytest.raises(BrokenImage, match="no image in this row"):
        source.read(1)
    assert list(source.names) == ["outside.png", "row 1", "row 2"]


def test_shards_are_one_source_with_splits_by_name(tmp_path: Path) -> None:
    for split, number in (("train", 0), ("train", 1), ("test", 0)):
        cells = structs([encoded(flat((10 * number + row, 0, 0))) for row in range(4)])
        parquet(tmp_path / "set" / f"{split}-0000{number}-of-00002.parquet", {"image": cells, "label": [number] * 4})
    (tmp_path / "set" / "README.md").write_text("about")
    assert split_names(tmp_path / "set") == ("train", "test")
    source = open_source(tmp_path / "set", split="train")
    assert [int(source.read(position)[0, 0, 0]) for position in range(8)] == [0, 1, 2, 3, 10, 11, 12, 13]
    assert source.labels is not None
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    assert len(open_source(tmp_path / "set")) == 12
    assert source.name == "set"


def test_folders_of_shards_are_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        parquet(tmp_path / "set" / split / "0.parquet", {"image": structs([encoded(flat((0, 0, 0)))] * 2)})
    assert split_names(tmp_path / "set") == ("train", "test")
    assert len(open_source(tmp_path / "set", split="test")) == 2


def test_images_beside_a_parquet_file_make_a_folder(tmp_path: Path, table: Path) -> None:
    save(tmp_path / "one.png")
    assert list(open_source(tmp_path).names) == ["one.png"]
    assert table.exists()


def test_few_row_groups_are_kept(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likewise.data.sources.tables.shards._KEPT_BYTES", 0)
    reads = []
    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, *a, **k: (reads.append(a), whole(self, *a, **k))[1]
    )
    source = open_source(table)
    assert isinstance(source, ParquetSource)
    for position in range(COUNT):
        source.read(position)
    assert len(reads) == 3  # in order, each once
    assert len(source.shards._kept) == 2


def test_reading_in_order_from_many_threads(tmp_path: Path) -> None:
    cells = structs([encoded(flat((number % 256, number // 256, 0))) for number in range(600)])
    source = open_source(parquet(tmp_path / "many.parquet", {"image": cells}, rows=7))
    images = prepare(source, short_side=None, workers=8)
    pixels, _ = images.gather(np.arange(600))
    assert (pixels[:, 0, 0, 0].numpy() + 256 * pixels[:, 0, 0, 1].numpy().astype(int)).tolist() == list(range(600))


# Refused -----------------------------------------------------------------------------------------------------------


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", {"id": [1], "text": ["hello"]})
    with pytest.raises(InputError, match=r"no images: its columns are id, text; wanted is a struct"):
        open_source(path)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match="no Parquet file"):
        open_source(tmp_path / "a.parquet")


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rows"):
        open_source(parquet(tmp_path / "a.parquet", {"image": structs([])}))


def test_damaged_row_groups_are_broken_images(table: Path) -> None:
    source = open_source(table)
    data = bytearray(table.read_bytes())
    data[4:200] = b"\xff" * 196
    table.write_bytes(data)
    with pytest.raises(BrokenImage, match=r"row group 0 of animals\.parquet is damaged"):
        source.read(0)
