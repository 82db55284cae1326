"""Which preset is ahead once there is time: `python -m benchmarks.longer [cifar10] [imagenette112] [--minutes 60]`.

The small presets were chosen in minutes on CIFAR-10. Here ISD with its small and its proposed preset and SimCLR have an
hour each. What is measured already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import arms
from benchmarks.harness import processors
from benchmarks.images import data_file
from benchmarks.results import STORE as RESULTS
from likewise import load, train
from likewise.verbs.judging.evaluate import evaluate

SIDES = {"cifar10": 32, "imagenette112": 64}
"""Data sets, and the side of their images in pixels."""
ARMS = ("isd@small", "isd@proposed", "simclr@small")
WIDTH = 16
STORE = RESULTS / "longer.json"


def section(file: Path) -> str:
    """The part of `RESULTS.md` about longer trainings."""
    about = (
        f"`python -m benchmarks.longer`: ResNet-18 of width {WIDTH}, CIFAR-10 at 32 px and imagenette at 64 px; "
        "accuracy of the held-out images among the train images. Processor minutes say how much others took."
    )
    return arms.section(file, "With more time", about)


def one(name: str, arm: str, minutes: float, seed: int) -> dict[str, float]:
    """Scores of one arm, METHOD@VARIANT, trained for so many minutes."""
    data = data_file(f"{name}.parquet")
    method, _, variant = arm.partition("@")
    with TemporaryDirectory() as folder:
        began = time.process_time()
        done = train(data, method=method, variant=variant, width=WIDTH, image_size=SIDES[name], minutes=minutes,
                     device="cpu", seed=seed, quiet=True, report=False, loggers=(), out=f"{folder}/run")  # fmt: skip
        used = time.process_time() - began
        lines = (done.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        seen = json.loads(lines[-1])["images"]
        found = evaluate(load(done.path), data, probe=("knn",), labels="label", cache_dir=Path(folder), quiet=True)
    scores = {f"{score.k}-NN": score.value for score in found}
    return {**scores, "images seen, thousands": seen / 1e5, "processor minutes": used / 6000}  # shown times 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.longer", description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="*", default=list(SIDES), help=f"data sets, of {', '.join(SIDES)}")
    parser.add_argument("--minutes", type=float, default=60.0, help="of every arm")
    parser.add_argument("--arms", nargs="+", default=ARMS, help="METHOD@VARIANT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=processors(), help="of every training")
    parser.add_argument("--out", type=Path, default=STORE, help="JSON file that the scores are added to")
    options = parser.parse_args(arguments)
    if wrong := sorted({*options.data} - {*SIDES}):
        parser.error(f"there is no {wrong[0]}: allowed are {', '.join(SIDES)}")
    torch.set_num_threads(options.threads)
    budget = f"{options.minutes:g} minutes, {options.threads} thread{'s' * (options.threads > 1)}"
    for name in options.data:
        for arm in options.arms:
            if not arms.has(options.out, name, budget, arm, options.seed):
                scores = one(name, arm, options.minutes, options.seed)
                arms.add(options.out, name, budget, arm, options.seed, scores)
                print(f"{name} {arm}: {', '.join(f'{key} {value:.3f}' for key, value in scores.items())}", flush=True)


if __name__ == "__main__":
    main()
