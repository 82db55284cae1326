"""Every verified method learns: a few hundred steps on real pictures lift kNN clearly above the untrained encoder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from likewise import methods
from likewise.data import open_source, prepare
from likewise.evaluation import evaluate
from likewise.training.train import train

LIFT = 0.02
"""Least gain in 20-NN accuracy. On 2,000 test pictures one standard error is 0.011."""
SEEDS = (0, 1)
"""Where the first misses, the mean of both decides: processors round differently, and a run of minutes is a draw."""
VERIFIED = [name for name in methods.names() if methods.find(name).card.status == "verified"]

FULL_SIZE = {"first_size": 1.0, "last_size": 1.0}
SMALL = {"width": 8, "image_size": 16, **FULL_SIZE, "batch_size": 128, "epochs": 4.0, "device": "cpu"}
"""Enough to see that a method learns, and a minute or two for each: 372 steps on pictures of 16 px."""

pytestmark = [pytest.mark.slow, pytest.mark.data]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12,000 training and 2,000 test pictures of CIFAR-10."""
    folder = os.environ.get("LIKEWISE_DATA")
    if folder is None or not (Path(folder) / "cifar10.parquet").exists():
        pytest.skip("LIKEWISE_DATA names no folder with cifar10.parquet")
    arrays = {}
    for split, count in (("train", 12_000), ("test", 2_000)):
        images = prepare(open_source(Path(folder) / "cifar10.parquet", split=split), short_side=None)
        pixels, _ = images.gather(np.arange(count))
        assert images.labels is not None
        arrays |= {f"{split}_images": pixels.numpy(), f"{split}_labels": images.labels[:count]}
    path = tmp_path_factory.mktemp("learning") / "pictures.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def teacher(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of MoCo v2, for methods that learn from a frozen encoder."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    run = train(pictures, method="moco_v2", out=str(out), quiet=True, report=False, loggers=(), **SMALL)
    return str(run.path)


@pytest.mark.parametrize("method", VERIFIED)
def test_a_few_hundred_steps_lift_knn(
    method: str, pictures: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    needed: dict[str, object] = {}
    if hasattr(methods.find(method).Settings, "small_crops"):
        needed["small_crops"] = 0  # of 16 px nothing smaller can be cut
    if "frozen teacher" in methods.find(method).card.needs:
        needed["teacher"] = request.getfixturevalue("teacher")
    lifts = []
    for seed in SEEDS:
        run = train(
            pictures,
            method=method,
            out=str(tmp_path / f"run-{seed}"),
            seed=seed,
            quiet=True,
            report=False,
            loggers=(),
            **SMALL,
            **needed,
        )
        result = evaluate(run, pictures, probe=("knn",), untrained=True)
        value = {score.which: score.value for score in result.scores if score.k == 20}
        lifts.append(value[methods.find(method).card.deploy] - value["untrained"])
        if lifts[0] > LIFT:
            return
    assert sum(lifts) / len(lifts) > LIFT, f"{method} lifted 20-NN accuracy by {lifts} with seeds {SEEDS}"
