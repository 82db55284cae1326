"""The model card of an export."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import likewise
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.errors import InputError

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16)
SCORE = {"name": "knn", "k": 20, "split": "test", "n": 30, "protocol": "exact | cosine", "data": "/srv/me/birds"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    save_encoder(build(SPEC, seed=0), path / "encoder.safetensors")
    scores = [{**SCORE, "which": "student", "value": 0.5}, {**SCORE, "which": "untrained", "value": 0.25}]
    stored = {"method": "isd", "encoder": asdict(SPEC), "seed": 3, "steps": 40, "batch_size": 64, "likewise": "0.1.0"}
    data = {"path": "hf:someone/birds:small", "name": "birds", "images": 1200}
    (path / "run.json").write_text(json.dumps({**stored, "data": data, "scores": scores}))
    return path


def test_the_card_says_what_the_hub_reads(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared" / "birds.safetensors"
    out.parent.mkdir()
    written = likewise.export(run, format="safetensors", out=out, card=True, licence="cc-by-4.0")
    assert written.card == out.parent / "README.md"
    text = written.card.read_text()
    _, front, body = text.split("---\n", 2)
    told = {key: value for key, _, value in (line.partition(": ") for line in front.splitlines())}
    assert json.loads(told["license"]) == "cc-by-4.0"
    assert json.loads(told["datasets"]) == ["someone/birds"]
    assert {"isd", "resnet18"} <= set(json.loads(told["tags"]))
    (result,) = json.loads(told["  results"])  # the untrained encoder's is not the model's
    assert result["metrics"] == [{"type": "accuracy", "name": "knn, k = 20", "value": 0.5}]
    assert result["dataset"] == {"name": "birds", "type": "birds", "split": "test"}
    assert "load_file('birds.safetensors')" in body
    assert "1,200 images of birds" in body
    assert "exact / cosine" in body
    assert str(tmp_path) not in text
    assert "/srv/me" not in text


def test_a_card_replaces_nothing_unasked(run: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"README\.md exists"):
        likewise.export(run, format="safetensors", out=tmp_path / "a.safetensors", card=True)
    assert not (tmp_path / "a.safetensors").exists()
    with pytest.raises(InputError, match="no identifier of a licence"):
        likewise.export(run, format="safetensors", out=tmp_path / "a.safetensors", card=True, licence="My licence")


def test_weights_without_their_run_have_a_card_too(run: Path, tmp_path: Path) -> None:
    made = likewise.export(run / "encoder.safetensors", format="safetensors", out=tmp_path / "a.safetensors", card=True)
    assert made.card is not None
    assert 'license: "unknown"' in made.card.read_text()


def test_scores_of_one_probe_have_names_of_their_own(run: Path, tmp_path: Path) -> None:
    stored = json.loads((run / "run.json").read_text())
    kinds = [{"variant": "majority"}, {"variant": "weighted"}, {"name": "clustering", "k": None, "measure": "NMI"}]
    stored["scores"] = [{**SCORE, "which": "student", "value": 0.5, **kind} for kind in kinds]
    (run / "run.json").write_text(json.dumps(stored))
    card = likewise.export(run, format="safetensors", out=tmp_path / "a.safetensors", card=True).card
    assert card is not None
    text = card.read_text()
    assert all(f'"name": "{name}"' in text for name in ("knn majority, k = 20", "knn weighted, k = 20"))
    assert '"name": "clustering NMI"' in text
