"""What a training run says and writes down of its data, and what an evaluation on other data makes of that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.verbs.judging.evaluate import evaluate
from likewise.verbs.learning.train import train


def cameras(root: Path, count: int, most: int) -> Path:
    """Images of 16 bits, values up to `most`, in two classes."""
    rng = np.random.default_rng(most)
    for number in range(count):
        folder = root / ("fox", "owl")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = rng.integers(0, most, (16, 16)).astype(np.uint16)
        values[0, 0] = most
        Image.fromarray(values).save(folder / f"{number}.png")
    return root


def test_a_run_tells_its_data_and_an_evaluation_follows_its_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    data = cameras(tmp_path / "survey", 24, 4000)
    (data / "fox" / "again.png").write_bytes((data / "fox" / "0.png").read_bytes())
    (data / "clip.mp4").write_bytes(b"")
    run = train(
        str(data),
        labels="folders",
        encoder="resnet18",
        width=8,
        batch_size=8,
        epochs=1,
        precision="float32",
        out=str(tmp_path / "run"),
        loggers=(),
    )
    told = capsys.readouterr().err
    assert "labels: 2 classes, imbalance 1.1: fox 13, owl 12" in told
    assert "copies: 1 of 25 images is an exact copy of another one" in told
    assert "left out: 1 .mp4" in told
    assert "values: of whole numbers, 0 becomes black and 4095 white, in all images" in told
    stored = run.read()["data"]
    assert (stored["left_out"], stored["copies"], stored["ranges"]) == ({".mp4": 1}, 1, {"whole": [0.0, 4095.0]})
    report = run.report_file.read_text(encoding="utf-8")
    assert "Left out of the folder: 1 .mp4." in report
    assert "1 of 25 images are exact copies of another one." in report
    darker = cameras(tmp_path / "darker", 20, 900)
    notes = evaluate(run.path, darker, labels="folders", probe="knn", quiet=True, report=False).notes
    assert "values: of whole numbers, 0 becomes black and 4095 white, in all images" in notes
    assert any(note.startswith("labels: 2 classes") for note in notes)
    brighter = cameras(tmp_path / "brighter", 20, 60000)
    notes = evaluate(run.path, brighter, labels="folders", probe="knn", quiet=True, report=False).notes
    assert "the encoder was trained with other values (0 to 4095), which do not suit these" in notes
