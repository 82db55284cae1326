"""Neighbours, lists, places and tables of a collection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from likewise.errors import InputError
from likewise.exploring import layout
from likewise.exploring.collection import UNKNOWN, MapColumn, categorised, written
from likewise.exploring.metadata import read_columns
from likewise.exploring.page import write_page
from likewise.exploring.payload import pack
from likewise.exploring.relations import relate
from likewise.exploring.sprites import SIDES, plan, sheets
from likewise.exploring.table import NAMES, write_table
from tests.exploring.conftest import MakeCollection


def test_copies_and_outliers_are_found(make_collection: MakeCollection) -> None:
    collection = make_collection(30)
    collection.features_NF[17] = torch.full((8,), -1.0)  # like nothing else
    found = relate(collection)
    assert found.pairs_P2[0].tolist() == [0, 3]
    assert found.copies_P.tolist() == [True] + [False] * (len(found.copies_P) - 1)
    assert found.outliers[0] == 17
    assert len({tuple(pair) for pair in found.pairs_P2.tolist()}) == len(found.pairs_P2)
    assert (np.diff(found.pair_similarity_P) <= 0).all()


def test_neighbours_predict_the_class_that_they_have(make_collection: MakeCollection) -> None:
    collection = make_collection(60)
    values = collection.columns[0].values_N.copy()
    values[5] = 0  # labelled as another class than it looks
    values[7] = UNKNOWN
    label = replace(collection.columns[0], values_N=values)
    predicted = {one.name: one for one in relate(replace(collection, columns=(label,))).columns}["prediction"]
    assert predicted.values_N.tolist() == [number % 3 for number in range(60)]


def test_without_any_label_there_is_no_prediction(make_collection: MakeCollection) -> None:
    collection = replace(make_collection(12), columns=())
    assert [one.name for one in relate(collection, clusters=3).columns] == ["cluster", "distance"]
    with pytest.raises(InputError, match="allowed are 1 to 12"):
        relate(collection, clusters=13)


@pytest.mark.parametrize("small", [3_000, 10], ids=["scikit-learn", "openTSNE"])
def test_alike_images_lie_together(
    make_collection: MakeCollection, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    if small == 10:
        pytest.importorskip("openTSNE")
    monkeypatch.setattr(layout, "SMALL", small)
    collection = make_collection(90)
    found = relate(collection)
    points = layout.place(collection.features_NF, found.graph_NG, found.graph_similarity_NG, threads=1)
    assert points.min() >= 0
    assert points.max() <= 1
    labels = collection.columns[0].values_N
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (labels[apart.argmin(axis=1)] == labels).mean() > 0.95


def test_a_large_map_names_what_it_needs(make_collection: MakeCollection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"3,001 images needs .*explore.* or take --layout pca"):
        layout.check_layout("tsne", 3001)
    layout.check_layout("pca", 3001)
    with pytest.raises(InputError, match="did you mean 'tsne'"):
        layout.check_layout("tnse", 10)


def test_slots_are_a_permutation_that_begins_with_all_parts_of_the_map() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (9000, 2)).astype(np.float32)
    slot = layout.slots(points)
    assert sorted(slot.tolist()) == list(range(9000))
    first = np.argsort(slot)[:1500]
    assert len(np.unique((points[first] * layout.COARSE).astype(int), axis=0)) == 1500
    rest = points[np.argsort(slot)[1700:]]
    steps = np.linalg.norm(np.diff(rest, axis=0), axis=1)
    assert np.median(steps) < 0.03  # near in the sheets is near on the map


def test_thumbnails_are_as_large_as_the_budget_allows(make_collection: MakeCollection) -> None:
    collection = make_collection(80, side=64)
    assert plan(collection, 10**9).side == 64  # no larger than the images
    tight = plan(collection, 1)
    assert tight.side == SIDES[-1]
    assert tight.estimate > 1
    made = plan(collection, 10**9)
    content = list(sheets(collection, np.arange(80), made))
    assert len(content) == made.sheets
    assert sum(map(len, content)) < 2 * made.estimate


def test_the_table_holds_what_viewers_need(make_collection: MakeCollection, tmp_path: Path) -> None:
    collection = make_collection(20)
    found = relate(collection)
    points = np.random.default_rng(0).uniform(0, 1, (20, 2)).astype(np.float32)
    size = write_table(tmp_path / "all.parquet", collection, found, points)
    assert size == (tmp_path / "all.parquet").stat().st_size
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.num_rows == 20
    assert {"id", "name", "x", "y", "neighbors", "image", "embedding", "label", "cluster", "distance"} <= set(
        table.column_names
    )
    row = table.slice(4, 1).to_pylist()[0]
    assert row["label"] == "class 1"
    assert row["neighbors"]["ids"] == found.nearest_NK[4].tolist()
    assert row["embedding"] == pytest.approx(collection.features_NF[4].tolist())
    assert row["image"]["bytes"][:2] == b"\xff\xd8"


def test_a_table_adds_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text('path,site,depth,label\na/2.png,"north, far",3.5,x\na/1.png,,4,y\n')
    found = read_columns(path, ["a/1.png", "a/2.png", "a/3.png"], taken={"label"})
    assert [(one.name, one.kind) for one in found] == [
        ("site", "category"),
        ("depth", "number"),
        ("label_", "category"),
    ]
    assert found[0].texts() == [None, "north, far", None]
    assert found[1].values_N[:2].tolist() == [4.0, 3.5]
    assert np.isnan(found[1].values_N[2])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("more.csv", "place,depth\na,1\n", "has no column of names"),
        ("more.csv", "name,depth\nother.png,1\n", "names none of the images"),
        ("more.txt", "name\n", "unknown kind of table '.txt'"),
        ("more.parquet", "no table", "is no table that can be read"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        read_columns(tmp_path / name, ["a/1.png"], taken=())


def test_columns_must_fit_the_images(make_collection: MakeCollection) -> None:
    with pytest.raises(InputError, match="one row each"):
        replace(make_collection(6), columns=(MapColumn("depth", "depth", np.zeros(5, np.float32)),))
    with pytest.raises(InputError, match="at least 2"):
        make_collection(1)


def test_a_row_is_of_the_one_image_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text("name,site\ncat/1.png,a\ndog/1.png,b\n2.png,c\n/data/x/3.png,d\n4.png,e\n4.png,f\n")
    names = ["test/cat/1.png", "test/dog/1.png", "test/fox/1.png", "test/2.png", "x/3.png", "test/4.png"]
    (site,) = read_columns(path, names, taken=())
    assert site.texts() == ["a", "b", None, "c", "d", None]
    (site,) = read_columns(path, ["cat/2.png", "dog/2.png", "x/3.png"], taken=())
    assert site.texts() == [None, None, "d"], "a row that fits two images is of neither"


def test_names_and_numbers_of_a_table_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text("name,id,x,when,serial\n007,4,1,1577836801,9007199254740993\n010,5,,2,3\n")
    found = {one.name: one for one in read_columns(path, ["007", "010"], taken=NAMES)}
    assert list(found) == ["id_", "x_", "when", "serial"]
    assert found["when"].values_N.tolist() == [1577836801, 2]
    assert found["serial"].texts() == ["9007199254740993", "3"]


def test_a_table_of_names_that_are_no_text_is_written(make_collection: MakeCollection, tmp_path: Path) -> None:
    strange = "\udcff</script>"
    label = categorised("site", strange, [strange, None] * 6)
    collection = make_collection(12)
    collection.parts[0].names[0] = strange  # type: ignore[index]
    collection = replace(collection, title=written(strange), columns=(label,))
    found, points = relate(collection), np.full((12, 2), 0.5, np.float32)
    made, slot = plan(collection, 10**6), np.arange(12)
    write_table(tmp_path / "all.parquet", collection, found, points)
    about = {"about": strange, "command": strange}
    write_page(tmp_path / "x.html", pack(collection, found, points, slot, made, about), sheets(collection, slot, made))
    page = (tmp_path / "x.html").read_text()
    assert page.count("</script>") == page.count("<script")
