"""`likewise discover` on images: lists, draws, scores, the table that other verbs take, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import likewise
from likewise.cli import main
from likewise.data import open_source
from likewise.discovery.result import Discovery
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.errors import InputError
from likewise.index.embedding.embed import embed
from likewise.verbs.labelling.discover import discover
from likewise.verbs.labelling.label import session
from tests.browser import opened
from tests.discovery.clouds import write_images

CLASSES, EACH = 4, 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and an encoder that tells colours apart, which any does."""
    folder = tmp_path_factory.mktemp("discover")
    write_images(folder / "photos", CLASSES, EACH)
    spec = EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16)
    save_encoder(build(spec, seed=0), folder / "encoder.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("LIKEWISE_CACHE", str(place / "cache"))


def found_in(place: Path, **how: Any) -> Discovery:
    how = {"labels": "folders", "classes": CLASSES, "quiet": True, **how}
    return discover(place / "encoder.safetensors", place / "photos", **how)


def write_list(path: Path, rows: dict[str, str]) -> Path:
    path.write_text("path,label\n" + "".join(f"{name},{label}\n" for name, label in rows.items()))
    return path


def test_a_draw_of_half_of_the_classes(place: Path) -> None:
    found = found_in(place, subset="gcd:0.5")
    assert found.unlabelled == 36
    assert [one.name for one in found.classes] == ["c0", "c1", "new 1", "new 2"]
    told = {one.name: one.value for one in found.scores}
    assert told["All"] == told["Old"] == told["New"] == told["NMI"] == 1.0
    assert found.to_json()["old"] == found.to_json()["new"] == 2


def test_true_labels_of_unlabelled_images_change_nothing_but_scores(place: Path) -> None:
    listed = write_list(place / "few.csv", {"photos/c0/00.png": "c0", "photos/c1/00.png": "c1"})
    with_truth = found_in(place, labelled=listed)
    without = found_in(place, labelled=listed, labels=None)
    assert np.array_equal(with_truth.found.clusters, without.found.clusters)
    assert np.array_equal(with_truth.found.confidence, without.found.confidence)
    assert with_truth.scores
    assert not without.scores


def test_lists_find_images_however_they_are_written(place: Path) -> None:
    ways = {"photos/c0/00.png": "red", str(place / "photos/c0/01.png"): "red", "c0/02.png": "red", "c1/00.png": "green"}
    found = found_in(place, labelled=write_list(place / "ways.csv", ways))
    assert found.known.how.startswith("4 images that")
    assert [one.labelled for one in found.classes if not one.is_new] == [1, 3]  # green, red
    assert any("other names" in note for note in found.notes)


def test_the_table_is_data_for_other_verbs(place: Path) -> None:
    listed = write_list(place / "few.csv", {"photos/c0/00.png": "c0", "photos/c1/00.png": "c1"})
    found = found_in(place, labelled=listed, out=place / "out" / "found.csv", sure=0.5)
    with (place / "out" / "found.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == CLASSES * EACH
    assert rows[0] == {"path": str(place / "photos/c0/00.png"), "label": "c0", "guess": "c0", "confidence": "1.00",
                       "kind": "given"}  # fmt: skip
    source = open_source(place / "out" / "found.csv")
    assert source.class_names is not None
    assert set(source.class_names) >= {"c0", "c1"}
    assert source.labels is not None
    assert int((source.labels < 0).sum()) == found.unsure == sum(row["kind"] == "not sure" for row in rows)
    page = (place / "out" / "found.html").read_text()
    assert "Classes that no label names" in page
    assert page.count("<img") >= CLASSES
    assert "http" not in page.replace("http://www.w3.org", "")
    beside = found_in(place, labelled=listed, out=place / "found.csv")
    assert beside.to_csv(place).splitlines()[1].startswith("photos/c0/00.png,c0")


def test_the_page_shows_thumbnails_side_by_side(place: Path, tmp_path: Path) -> None:
    found_in(place, subset="gcd:0.5", out=tmp_path / "found.csv")
    with opened((tmp_path / "found.html").as_uri()) as seen:
        assert seen.page.evaluate("Math.max(...[...document.images].map(one => one.clientWidth))") < 130


def test_paths_are_right_in_a_table_that_lies_elsewhere(place: Path) -> None:
    how: dict[str, Any] = {"subset": "gcd:0.5", "labels": "folders", "classes": CLASSES, "quiet": True}
    discover("encoder.safetensors", "photos", **how, out="lists/found.csv")
    source = open_source("lists/found.csv")
    assert all(Path(str(source.file(row))).is_file() for row in range(len(source)))


def test_an_index_stands_for_encoder_and_images(place: Path, tmp_path: Path) -> None:
    """Its vectors are those that the encoder gave, so the same classes are found; and the next command is one."""
    index = tmp_path / "x.index"
    embed(place / "encoder.safetensors", place / "photos", to=index, labels="folders")
    how: dict[str, Any] = {"subset": "gcd:0.5", "classes": CLASSES, "quiet": True}
    plain = discover(place / "encoder.safetensors", place / "photos", labels="folders", **how)
    for run, data in ((index, None), (place / "encoder.safetensors", index), (index, place / "photos")):
        more = {"labels": "folders"} if data == place / "photos" else {}
        found = discover(run, data, **how, **more)
        assert np.array_equal(found.found.clusters, plain.found.clusters)
        assert found.places == plain.places
    with pytest.raises(InputError, match="leave out --which"):
        discover(index, pretrained=True, **how)


def test_what_was_found_goes_into_label_and_train(place: Path, tmp_path: Path) -> None:
    """What is not sure has no label there, the given and the found labels are kept, and a run takes the result."""
    table = tmp_path / "found.csv"
    found = found_in(place, subset="gcd:0.5", out=table, sure=0.9)
    with session(table) as (opened, out):
        now = opened.journal.labels.now()
        assert len(now) == CLASSES * EACH - found.unsure
        assert set(now.values()) <= {"c0", "c1", "new 1", "new 2"}
    source = open_source(out)
    assert source.labels is not None
    assert int((source.labels >= 0).sum()) == len(now)
    small: dict[str, Any] = {"width": 8, "image_size": 16, "batch_size": 16, "epochs": 1.0, "report": False}
    run = likewise.train(out, method="gcd", **small, out=tmp_path / "run", quiet=True)
    assert run.read()["data"]["class_names"] == list(source.class_names or ())


def test_labels_that_the_data_lacks_are_the_ones_to_find(place: Path) -> None:
    lines = [f"photos/c{value}/{number:02}.png,{f'c{value}' if value < 2 and number < 5 else ''}"
             for value in range(CLASSES) for number in range(EACH)]  # fmt: skip
    (place / "partly.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    found = discover(place / "encoder.safetensors", place / "partly.csv", classes=CLASSES, quiet=True)
    assert (found.unlabelled, len(found.new), found.scores) == (38, 2, [])


def test_one_class_and_all_known(place: Path) -> None:
    one = found_in(place, labelled=write_list(place / "one.csv", {"photos/c0/00.png": "c0"}), classes="auto", most=8)
    assert one.counted is not None
    assert one.counted.published is None
    known = found_in(place, subset="labels:perclass:3")
    assert not known.new
    assert {score.name for score in known.scores} >= {"All", "Old", "NMI"}
    assert "New" not in {score.name for score in known.scores}


def test_broken_images_are_left_out_on_all_sides(tmp_path: Path, place: Path) -> None:
    photos = write_images(tmp_path / "photos", CLASSES, EACH)
    (photos / "c0" / "03.png").write_bytes(b"no image")
    found = discover(
        place / "encoder.safetensors", photos, labels="folders", subset="gcd:0.5", classes=4, quiet=True,
        out=tmp_path / "found.csv",
    )  # fmt: skip
    assert len(found.known.labels) == CLASSES * EACH - 1
    names = [row.split(",")[0] for row in (tmp_path / "found.csv").read_text().splitlines()]
    assert "photos/c0/02.png" in names
    assert "photos/c0/03.png" not in names
    assert any("could not be read" in note for note in found.notes)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing known": ({"labels": None}, "no image of photos has a label: name a list"),
    "all known": ({}, "all 48 images have a label, so there is nothing to discover"),
    "two ways": ({"labelled": "a.csv", "subset": "gcd:0.5"}, "give one of them"),
    "too few": ({"subset": "gcd:0.5", "classes": 1}, "allowed are 2 to 38"),
    "no number": ({"subset": "gcd:0.5", "classes": 0}, "classes=0: allowed are whole numbers from 1, or 'auto'"),
    "sure": ({"subset": "gcd:0.5", "sure": 2.0}, "sure=2.0 is out of range"),
    "most": ({"subset": "gcd:0.5", "classes": "auto", "most": 1}, "most=1 classes: allowed are 2 to 48"),
    "name": ({"subset": "gcd:0.5", "out": "found.txt"}, "does not end in .csv"),
    "draw": ({"subset": "gdc:0.5"}, "did you mean 'gcd'"),
    "no list": ({"labelled": "none.csv"}, "cannot read none.csv"),
    "no table": ({"labelled": "photos"}, "a table with path and label"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_line(place: Path, case: str) -> None:
    how, line = REFUSED[case]
    with pytest.raises(InputError, match=line.replace("(", r"\(")):
        found_in(place, **how)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ({"photos/c9/00.png": "c0"}, "lists photos/c9/00.png, which photos does not have"),
        ({"photos/c0/00.png": ""}, "no row of .* has a label"),
        ({"photos/c0/00.png": "a", "c0/00.png": "b"}, "says both a and b of c0/00.png"),
        ({"00.png": "a"}, "has two images called so"),
    ],
)
def test_lists_that_cannot_be_are_one_line(place: Path, rows: dict[str, str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        found_in(place, labelled=write_list(place / "wrong.csv", rows))


def test_features_that_are_no_numbers_are_one_line(place: Path) -> None:
    encoder = build(EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16), seed=0)
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="finite"):
        discover(encoder, place / "photos", labels="folders", subset="gcd:0.5", classes=4, quiet=True)


def test_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["discover", "encoder.safetensors", "photos", "--labels", "folders", "--subset", "gcd:0.5", "--seed", "1"]
    assert main([*words, "--classes", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["classes"], told["new"], told["count"]) == (4, 2, None)
    assert main([*words, "--most", "8"]) == 0
    said = capsys.readouterr().out
    assert "published search" in said
    assert "next    likewise discover encoder.safetensors photos" in said
    assert main([*words, "--classes", "4", "--out", "cli.csv"]) == 0
    assert "next    likewise train cli.csv --method gcd --start encoder.safetensors" in capsys.readouterr().out
    assert main([*words, "--classes", "4", "--out", "cli.csv"]) == 2
    assert "cli.csv exists" in capsys.readouterr().err
    assert main([*words, "--classes", "many"]) == 2
    assert "allowed is a whole number from 1, or auto" in capsys.readouterr().err
