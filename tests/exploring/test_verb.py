"""`likewise explore` from the shell and from Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import likewise
from likewise.cli import main
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.errors import InputError
from likewise.verbs.looking.explore import explore

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_encoder(build(SPEC, seed=0), tmp_path / "encoder.safetensors")
    return tmp_path / "encoder.safetensors"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 60, (40, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(40) % 3
    pixels[np.arange(40), :, :, labels] += 180
    splits = {"train_images": pixels[:30], "train_labels": labels[:30], "test_images": pixels[30:]}
    np.savez(tmp_path / "colours.npz", **splits, test_labels=labels[30:])
    return tmp_path / "colours.npz"


def test_a_page_and_a_table_are_written(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "page.html", tmp_path / "all.parquet"
    words = ["explore", str(weights), str(data), "--out", str(out), "--parquet", str(table), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["left_out"], told["thumbnail"]) == (40, 0, 16)
    assert told["page_bytes"] == out.stat().st_size
    page = out.read_text()
    assert "default-src 'none'" in page
    assert f"likewise train {data} --subset list:selection.csv" in page
    rows = pq.read_table(table).to_pydict()
    assert rows["split"] == ["train"] * 30 + ["test"] * 10
    assert rows["label"][:3] == ["class 0", "class 1", "class 2"]
    right = [said == f"class {number % 3}" for number, said in enumerate(rows["prediction"][:30])]
    assert sum(right) > 20  # an untrained encoder sees most colours apart


def test_a_large_collection_is_thinned_evenly(weights: Path, data: Path, tmp_path: Path) -> None:
    found = explore(weights, data, out=tmp_path / "page.html", images=20, layout="pca", quiet=True)
    assert (found.images, found.left_out) == (20, 20)
    assert found.notes[0].startswith("20 further images are not on the map")


def test_broken_images_are_not_said_to_be_too_many(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(6):
        Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    found = explore(weights, tmp_path / "photos", out=tmp_path / "page.html", layout="pca", quiet=True)
    assert (found.images, found.left_out) == (6, 0)
    assert found.notes == ("1 image could not be read and is not on the map",)


def test_a_folder_is_written_once(weights: Path, data: Path, tmp_path: Path) -> None:
    found = likewise.explore(weights, data, folder=tmp_path / "page", split="test", quiet=True)
    assert found.images == 10
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"index.html", "sheets"}
    with pytest.raises(InputError, match="holds a page"):
        likewise.explore(weights, data, folder=tmp_path / "page", quiet=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to write"),
        (["--out", "page.pdf"], "does not end in .html"),
        (["--out", "no/page.html"], "there is no folder no"),
        (["--out", "a.html", "--serve", "b"], "not both"),
        (["--out", "a.html", "--clusters", "99"], "99 clusters of 40 images"),
        (["--out", "a.html", "--images", "1"], "allowed are 2 to 100,000"),
        (["--out", "a.html", "--split", "tset"], "tset"),
        (["--out", "a.html", "--thumbnails", "0"], "more than 0"),
        (["--out", "a.html", "--layout", "umap"], "umap"),
        (["--out", "there.html"], "there.html exists"),
    ],
)
def test_bad_input_is_one_line(
    weights: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.html").touch()
    assert main(["explore", str(weights), str(data), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a.html").exists()
