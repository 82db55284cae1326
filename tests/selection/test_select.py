"""`likewise select`: the list, the files for other tools, rounds, and that no label is seen."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import likewise
from likewise.cli import main
from likewise.data import open_source
from likewise.errors import InputError
from likewise.selection.exchange import Pick, write_cvat


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_everything_is_written(
    encoder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # or the table is broken into more lines
    words = ["select", str(encoder), str(photos), "--labels", "6", "--out", "picks.csv"]
    words += ["--evaluate", "--truth", "folders"]
    assert main([*words, "--html", "p.html", "--label-studio", "ls.json", "--cvat", "m.jsonl", "--classes", "3"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "picks   picks.csv"
    assert said.splitlines()[-1] == "next    likewise label picks.csv"
    assert "usl (chosen)" in said
    assert "pretended truths of 3 classes" in " ".join(said.split())
    rows = table(tmp_path / "picks.csv")
    assert list(rows[0]) == ["path", "reason", "cluster", "density"]
    assert len({row["path"] for row in rows}) == 6
    assert all((tmp_path / row["path"]).is_file() and float(row["density"]) > 0 for row in rows)
    assert len(open_source(tmp_path / "picks.csv")) == 6

    tasks = json.loads((tmp_path / "ls.json").read_text())
    root = (tmp_path / "photos").name
    assert {task["data"]["image"].partition("?d=")[2] for task in tasks} == {row["path"] for row in rows}
    assert tasks[0]["data"]["image"].startswith(f"/data/local-files/?d={root}/")
    head, kind, *images = map(json.loads, (tmp_path / "m.jsonl").read_text().splitlines())
    assert (head, kind) == ({"version": "1.1"}, {"type": "images"})
    assert {f"photos/{one['name']}{one['extension']}" for one in images} == {row["path"] for row in rows}
    assert {(one["width"], one["height"]) for one in images} == {(16, 16)}
    page = (tmp_path / "p.html").read_text()
    assert page.count("<figure>") == 6
    assert "6 of 36 images to label, picked by usl." in page


def test_a_manifest_is_as_cvat_writes_it(tmp_path: Path) -> None:
    """Readable in any encoding, a line each, and names put together again as CVAT does."""
    names = ["ö/a b.JPG", "c/d.e.png", "c/\udcff.png"]
    picks = [Pick(tmp_path / name, "", 0, 1.0, 30, 20) for name in names]
    assert write_cvat(tmp_path / "m.jsonl", picks) == tmp_path
    head, kind, *images = map(json.loads, (tmp_path / "m.jsonl").read_text("ascii").splitlines())
    assert (head["version"], kind["type"]) == ("1.1", "images")
    assert [one["name"] + one["extension"] for one in images] == names
    assert [one["extension"] for one in images] == [".JPG", ".png", ".png"]
    assert {(one["width"], one["height"]) for one in images} == {(30, 20)}


def test_selection_sees_no_labels(encoder: Path, tmp_path: Path) -> None:
    """The same images with other labels, and without any: the same picks, whatever the strategy."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 255, (24, 16, 16, 3)).astype(np.uint8), np.arange(24) % 4
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    np.savez(tmp_path / "shuffled.npz", images=images, labels=draw.permutation(labels))
    np.savez(tmp_path / "none.npz", images=images)
    for by in ("usl", "typical", "coverage", "random"):
        picks = {}
        for name in ("own", "shuffled", "none"):
            how = {"labels": 7, "by": by, "out": f"{name}-{by}.csv", "expected": False, "quiet": True}
            found = likewise.select(encoder, tmp_path / f"{name}.npz", **how)
            picks[name] = [(one.path.name, one.cluster, one.density) for one in found.picks]
        assert picks["own"] == picks["shuffled"] == picks["none"]


def test_images_that_are_no_files_are_written_and_found_again(encoder: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 16, 16, 3)).astype(np.uint8)
    np.savez(tmp_path / "some.npz", images=pixels)
    found = likewise.select(encoder, tmp_path / "some.npz", labels=10, out="picks.csv", expected=False)
    rows = [int(one.path.stem) for one in found.picks]
    saved = [np.asarray(Image.open(one.path)) for one in found.picks]
    assert np.array_equal(np.stack(saved), pixels[rows])
    lines = table(tmp_path / "picks.csv")
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("path,label\n" + "".join(f"{line['path']},{place % 2}\n" for place, line in enumerate(lines)))
    again = likewise.select(encoder, tmp_path / "some.npz", labels=20, out="more.csv", given=labelled, expected=False)
    assert again.covered == 10
    assert {int(one.path.stem) for one in again.picks} == set(range(30)) - set(rows)
    with pytest.raises(InputError, match="allowed are 1 to 20"):
        likewise.select(encoder, tmp_path / "some.npz", labels=21, out="most.csv", given=labelled)


def test_images_labelled_elsewhere_cover_too(encoder: Path, photos: Path, tmp_path: Path) -> None:
    """A labelled image that is not among those to choose from still stands for what is like it."""
    lines = "".join(f"{path},red\n" for path in sorted((photos / "red").glob("*.png"))[:1])
    for path in (photos / "red").glob("00[1-9].png"):
        path.rename(photos / path.name)
    (tmp_path / "given.csv").write_text("path,label\n" + lines)
    (photos / "red" / "010.png").unlink()
    found = likewise.select(encoder, photos / "blue", labels=2, out="picks.csv", given="given.csv", expected=False)
    assert found.covered == 0
    assert len(found.picks) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "99"], "allowed are 1 to 36"),
        (["--labels", "0"], "allowed are 1 to 36"),
        (["--labels", "3", "--by", "typcal"], "typical"),
        (["--labels", "3", "--given", "photos"], "has no labels"),
        (["--labels", "3", "--out", "nowhere/picks.csv"], "no folder"),
        (["--labels", "3", "--classes", "1"], "classes=1"),
        (["--labels", "3", "--split", "train"], "split"),
        (["--labels", "3", "--evaluate"], "--truth"),
        (["--labels", "3", "--cvat", "m.json"], "m.jsonl"),
        (["--labels", "3", "--label-studio", "tasks.jsonl"], "tasks.json"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, encoder: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["select", str(encoder), str(photos), *([] if "--out" in words else ["--out", "picks.csv"]), *words]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not Path("picks.csv").exists()


def test_a_list_is_not_written_over(encoder: Path, photos: Path) -> None:
    Path("picks.csv").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        likewise.select(encoder, photos, labels=3, out="picks.csv")
    assert Path("picks.csv").read_text() == "mine"
