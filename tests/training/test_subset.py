"""Training on a draw: written down, resumed, refused, and known to the evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likewise.errors import InputError
from likewise.verbs.judging.evaluate import evaluate
from likewise.verbs.learning.train import train


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """160 noisy images of 16 px in four classes: red, green, blue and white."""
    draw = np.random.default_rng(0)
    labels = np.arange(160) % 4
    colours = 160 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    images = draw.integers(0, 64, (160, 16, 16, 3)) + colours[labels, None, None]
    np.savez(tmp_path / "d.npz", images=images.astype(np.uint8), labels=labels)
    return tmp_path / "d.npz"


def options(out: Path, **more: Any) -> dict[str, Any]:
    common = {"encoder": "resnet18", "width": 8, "batch_size": 8, "epochs": 1, "out": str(out), "quiet": True}
    return {**common, "report": False, "loggers": (), **more}


def test_a_run_knows_its_draw(data: Path, tmp_path: Path) -> None:
    run = train(data, **options(tmp_path / "run", subset="isd:1/2/9", subset_seed=3))
    told = json.loads((run.path / "run.json").read_text())["data"]
    assert sorted(told["subset"]["counts"]) == [0, 9, 9, 40]
    assert told["images"] == told["subset"]["images"] == 58
    assert (told["subset"]["text"], told["subset"]["seed"]) == ("isd:1/2/9", 3)

    everywhere = evaluate(run, probe="knn", quiet=True).scores[0]
    assert everywhere.groups is not None
    assert set(everywhere.groups) == {"large", "rare"}
    assert everywhere.groups["rare"].classes == 2
    assert everywhere.per_class is not None
    assert [entry.frequency for entry in everywhere.per_class] == [40, 9, 9, 0]
    trained = evaluate(run, probe="knn", classes="trained", quiet=True).scores[0]
    assert (everywhere.n, trained.n) == (32, 24)
    assert "3 classes only" in trained.protocol
    assert evaluate(run, probe="knn", classes="others", quiet=True).scores[0].n == 8

    noise = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", images=noise, labels=np.arange(8) % 2)
    with pytest.raises(InputError, match="this has other classes"):
        evaluate(run, tmp_path / "other.npz", probe="knn", classes="trained", quiet=True)
    assert evaluate(run, tmp_path / "other.npz", probe="knn", quiet=True).scores[0].groups is None

    train(data, **options(run.path, resume=True))  # a finished run goes on with the same images
    for other in ({"subset": "isd:1"}, {"subset": "isd:1/2/9"}):  # the latter with another seed
        with pytest.raises(InputError, match=r"was trained on the draw isd:1/2/9 \(seed 3\)"):
            train(data, **options(run.path, resume=True, **other))


def test_wrong_labels_and_classes_that_no_run_has(data: Path, tmp_path: Path) -> None:
    run = train(data, **options(tmp_path / "run"))
    with pytest.raises(InputError, match="was trained on all images"):
        train(data, **options(run.path, resume=True, subset="share:0.5"))
    with pytest.raises(InputError, match="for runs that were trained on a draw"):
        evaluate(run, probe="knn", classes="trained", quiet=True)
    noisy = evaluate(run, probe="centroid", subset="noise:1/next", quiet=True).scores[0]
    clean = evaluate(run, probe="centroid", quiet=True).scores[0]
    # Over seeds 0 to 4 at most .03 with labels that are all wrong, at least .87 with the right ones; .06, .87 in bf16.
    assert noisy.value < 0.3 < clean.value
    assert "the draw noise:1/next (seed 0)" in noisy.protocol
    novel = evaluate(run, probe="knn", subset="novel:0.5", quiet=True).scores[0]
    assert novel.n == 16


def test_few_labels_train_on_all_and_are_the_bank(data: Path, tmp_path: Path) -> None:
    run = train(data, **options(tmp_path / "run", subset="gcd:0.5", precision="float32"))
    told = json.loads((run.path / "run.json").read_text())["data"]
    assert (told["images"], told["subset"]["labelled"]) == (160, 40)
    bank = evaluate(run, probe="knn", subset="labels:perclass:5", quiet=True).scores[0]
    plain = evaluate(run, probe="knn", subset="perclass:5", quiet=True).scores[0]
    assert bank.value == plain.value
    assert "20 of them with their labels" in bank.protocol
    everywhere = evaluate(run, probe="knn", per_class=True, quiet=True).scores[0]
    assert everywhere.groups is not None
    assert set(everywhere.groups) == {"old", "new"}
