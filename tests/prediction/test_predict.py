"""`likewise predict`: the table, its paths, runs with a classifier, and what cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import likewise
from likewise.cli import main
from likewise.data import open_source
from likewise.errors import InputError
from tests.colours import COLOURS, colour_folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("by", ["linear", "knn"])
def test_classes_and_nearest_labelled_images(by: str, encoder: Path, photos: Path, tmp_path: Path) -> None:
    new = colour_folder(tmp_path / "new", 5, seed=1)
    (new / "torn.png").write_bytes(b"\x89PNG")
    told = likewise.predict(encoder, new, labelled=photos, labels="folders", by=by, out="p.csv", quiet=True)
    rows = table(tmp_path / "p.csv")
    assert len(rows) == told.images == 15
    assert any("could not be read: torn.png" in note for note in told.notes)
    assert all(row["class"] == row["likeliest"] == row["path"].split("/")[1] for row in rows)
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    for place in (1, 2, 3):
        assert all((tmp_path / row[f"nearest_{place}"]).parent.name == row[f"nearest_{place}_class"] for row in rows)
    assert told.accuracy is not None
    assert told.accuracy >= 0.9
    assert told.ece is not None
    assert told.threshold is None
    assert sum(told.counts.values()) == 15
    source = open_source(tmp_path / "p.csv")
    assert source.class_names == COLOURS


def test_risk_leaves_doubtful_images_out(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of the images are noise whose label is a coin's: classes are given for the others alone."""
    draw = np.random.default_rng(0)
    count, grey = 480, np.arange(480) % 2 == 1
    labels = draw.integers(0, 2, count)
    images = draw.integers(0, 60, (count, 16, 16, 3))
    images[np.flatnonzero(~grey), :, :, labels[~grey]] += 190
    images[grey] = draw.integers(0, 255, (int(grey.sum()), 16, 16, 3))
    np.savez(tmp_path / "known.npz", images=images[:300].astype(np.uint8), labels=labels[:300])
    np.savez(tmp_path / "new.npz", images=images[300:].astype(np.uint8))
    words = ["predict", str(encoder), "new.npz", "--labelled", "known.npz", "--out", "p.csv", "--held-out", "0.5"]
    assert main([*words, "--risk", "0.1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = table(tmp_path / "p.csv")
    given = np.array([row["class"] != "none of these" for row in rows])
    names = np.array([row["class"] for row in rows])
    wrong = names[given] != labels[300:][given].astype(str)
    assert given[~grey[300:]].mean() > 0.8
    assert wrong.mean() <= 0.1
    assert told["threshold"]["bound"] <= 0.1
    assert "random draw" in told["promise"]
    assert main([*words, "--risk", "0.01", "--overwrite"]) == 2
    assert "at least" in capsys.readouterr().err


def test_a_run_with_a_classifier(
    encoder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = likewise.finetune(encoder, photos, labels="folders", epochs=12, out="runs/tuned", quiet=True)
    new = colour_folder(tmp_path / "new", 8, seed=3)
    bare = likewise.predict(run.path, new, out="bare.csv", quiet=True)
    assert bare.temperature is None
    assert "not calibrated" in bare.notes[0]
    told = likewise.predict(run.path, new, labelled=new, labels="folders", out="p.csv", quiet=True)
    rows = table(tmp_path / "p.csv")
    assert [row["likeliest"] for row in rows] == [row["likeliest"] for row in table(tmp_path / "bare.csv")]
    right = np.mean([row["class"] == row["path"].split("/")[1] for row in rows])
    assert told.accuracy == pytest.approx(right)
    (new / "red").rename(new / "unheard")  # a class that the classifier does not have: always wrong
    other = likewise.predict(run.path, new, labelled=new, labels="folders", out="o.csv", quiet=True)
    assert other.accuracy is not None
    assert other.accuracy <= 2 / 3 + 1e-9
    assert main(["predict", str(run.path), str(new), "--out", "x.csv", "--risk", "0.1"]) == 2
    assert "--labelled" in capsys.readouterr().err


def test_picked_labels_are_no_random_draw(encoder: Path, photos: Path, tmp_path: Path) -> None:
    lines = [f"photos/{name}/{number:03}.png,densest,{name}" for name in COLOURS for number in range(12)]
    (tmp_path / "labelled.csv").write_text("path,reason,label\n" + "\n".join(lines) + "\n")
    told = likewise.predict(encoder, photos, labelled="labelled.csv", out="p.csv", risk=0.5, quiet=True)
    assert any("not drawn at random" in note for note in told.notes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--labelled"),
        (["--labelled", "photos"], "has no labels"),
        (["--labelled", "photos/red", "--labels", "folders"], "no sub-folders"),
        (["--labelled", "photos", "--labels", "folders", "--risk", "1.5"], "risk=1.5"),
        (["--labelled", "photos", "--labels", "folders", "--risk", "0.05"], "cannot be promised"),
        (["--labelled", "one.csv"], "two or more"),
        (["--labelled", "photos", "--labels", "folders", "--out", "taken.csv"], "exists"),
        (["--labelled", "photos", "--labels", "folders", "--by", "lineal"], "linear"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, encoder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken.csv").write_text("mine")
    (tmp_path / "one.csv").write_text("path,label\nphotos/red/000.png,red\nphotos/red/001.png,red\n")
    given = ["predict", str(encoder), str(photos), *([] if "--out" in words else ["--out", "p.csv"]), *words]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "p.csv").exists()
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_another_classifier_is_named(encoder: Path, photos: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'linear'"):
        likewise.predict(encoder, photos, labelled=photos, labels="folders", by="line", out="p.csv")
