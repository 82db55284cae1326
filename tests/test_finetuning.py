"""`likewise finetune`: a run with an encoder and a classifier that loading, exporting and evaluating take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import likewise
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.errors import InputError
from likewise.evaluation import ProbeSettings

EPOCHS = 30


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An encoder that was not trained."""
    path = tmp_path / "untrained.safetensors"
    save_encoder(build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=16), seed=0), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images of three colours, in two splits."""
    draw = np.random.default_rng(0)
    parts = {}
    for split, count in (("train", 48), ("test", 30)):
        labels = np.arange(count) % 3
        images = draw.integers(0, 60, (count, 16, 16, 3))
        images[np.arange(count), :, :, labels] += 190
        parts |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
    np.savez(tmp_path / "colours.npz", **parts)
    return tmp_path / "colours.npz"


def test_a_fine_tuned_run_is_loaded_exported_and_evaluated(weights: Path, data: Path) -> None:
    run = likewise.finetune(weights, data, epochs=EPOCHS, out="runs/tuned", quiet=True)
    stored = run.read()
    assert (stored["method"], stored["status"]) == ("finetune", "finished")
    assert stored["classifier"]["class_names"] == ["0", "1", "2"]
    assert f"{EPOCHS} passes" in stored["scores"][0]["protocol"]
    assert stored["scores"][0]["value"] > 0.8
    page = run.report_file.read_text()
    assert "learned 3 classes from 48 images" in page
    assert "without labels" not in page

    classifier = likewise.load_classifier(run)
    encoder = likewise.load(run)
    pixels = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, features = classifier(pixels), encoder(pixels)
        assert torch.equal(classifier.layer(features), logits)
    assert logits.shape == (4, 3)

    likewise.export(run.path, format="onnx", out="tuned.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession("tuned.onnx", providers=["CPUExecutionProvider"])
    found = dict(
        zip(["features", "logits"], session.run(["features", "logits"], {"pixels": pixels.numpy()}), strict=True)
    )
    assert np.allclose(found["logits"], logits.numpy(), atol=1e-3)
    assert np.allclose(found["features"], features.numpy(), atol=1e-3)
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == ["0", "1", "2"]
    of_run, of_file = (
        likewise.evaluate(what, data, probe="centroid", quiet=True).scores[0].value for what in (run, "tuned.onnx")
    )
    assert of_run == pytest.approx(of_file, abs=0.04)


def test_the_epochs_asked_for_are_the_epochs_made(weights: Path, data: Path) -> None:
    score = likewise.evaluate(
        weights, data, probe="finetune", settings=ProbeSettings(finetune_epochs=2), quiet=True
    ).scores[0]
    assert "2 steps of SGD at batch 48 (2 passes)" in score.protocol


def test_fine_tuning_shows_how_far_it_is(weights: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    likewise.evaluate(weights, data, probe="finetune", settings=ProbeSettings(finetune_epochs=2))
    shown = capsys.readouterr().err
    assert "100.0%" in shown
    assert "loss" in shown


def test_what_cannot_be_is_said_before_training(weights: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    for match, how in (
        ("not empty", {"out": "taken"}),
        ("allowed are 1 or more", {"epochs": 0}),
        ("split", {"train_split": "trian"}),
    ):
        with pytest.raises(InputError, match=match):
            likewise.finetune(weights, data, quiet=True, **how)
    assert not (tmp_path / "runs").exists()
    weights.rename(tmp_path / "taken" / "encoder.safetensors")
    (tmp_path / "model.json").rename(tmp_path / "taken" / "model.json")
    with pytest.raises(InputError, match="no classifier: likewise finetune makes one"):
        likewise.load_classifier(tmp_path / "taken")
