"""How long a person waits before anything happens: help, import, the first step of training, and resuming."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.harness import Outcome, parser_of, rounded, run
from benchmarks.images import small_images

MINUTES = 1.5
HELP_SECONDS = 0.5
BATCH = 64
FIRST_STEP = """
import sys, time
from likewise.training import loop
done = loop.Loop._step
def first(self, loaded):
    done(self, loaded)
    print(time.time(), flush=True)
    loop.Loop._step = done
loop.Loop._step = first
from likewise.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""Runs the command line and prints the time when the first step is done."""


def seconds_of(arguments: Sequence[str]) -> float:
    """Wall time of one call of the interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


def until_first_step(arguments: Sequence[str], folder: Path, threads: int) -> float:
    """Seconds from the call of `likewise train` to the end of its first step."""
    began = time.time()
    environment = {**os.environ, "LIKEWISE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP, "train", *arguments],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    return float(done.stdout.splitlines()[0]) - began


def measure(options: argparse.Namespace) -> Outcome:
    """All waits, each several times."""
    rounds = 1 if options.quick else 5
    found = Outcome("Start", f"Wall time of fresh processes, medians of {rounds}; the cache is warm where it is named.")
    waits: dict[str, float] = {}

    def note(what: str, once: Callable[[], float]) -> None:
        waits[what] = rounded(median(once() for _ in range(rounds)))

    note("likewise --help", lambda: seconds_of(["-m", "likewise", "--help"]))
    note("import likewise", lambda: seconds_of(["-c", "import likewise"]))
    if not options.quick:
        note("python, doing nothing", lambda: seconds_of(["-c", "pass"]))
        note("import torch", lambda: seconds_of(["-c", "import torch"]))
    with TemporaryDirectory() as place:
        folder, batch, count = Path(place), *((8, 32) if options.quick else (BATCH, 8192))
        np.save(folder / "pictures.npy", small_images(count))
        size = {"--width": 8 if options.quick else 16, "--batch-size": batch, "--device": "cpu"}
        words = [str(folder / "pictures.npy"), *(str(part) for pair in size.items() for part in pair)]
        words += ["--epochs", str(6 * batch / count), "--no-report", "--quiet"]
        numbers = iter(range(1000))

        def train() -> float:
            return until_first_step([*words, "--out", str(folder / f"run{next(numbers)}")], folder, options.threads)

        waits["first step, images to be decoded"] = rounded(train())
        if not options.quick:
            note("first step, images in the cache", train)
        run_folder = folder / "run0"
        found.figures["resumed at step"] = unfinished(run_folder)

        def resume() -> float:
            unfinished(run_folder)
            return until_first_step([*words, "--out", str(run_folder), "--resume"], folder, options.threads)

        note("first step of a resumed run", resume)
    found.figures["seconds"] = waits
    if not options.quick:
        extra = waits["first step of a resumed run"] - waits["first step, images in the cache"]
        found.figures["resume_extra_seconds"] = rounded(extra)
    found.table("Seconds until", ["what", "s"], [[what, value] for what, value in waits.items()])
    value = waits["likewise --help"]
    met = None if options.quick else value <= HELP_SECONDS
    found.target("likewise --help, s", f"<= {HELP_SECONDS}", value, met=met)
    return found


def unfinished(folder: Path) -> int:
    """Set the step of a run's checkpoint back, so that there is something to resume; returns the step."""
    from likewise.training import checkpoints

    path = checkpoints.latest(folder / "checkpoints")
    assert path is not None
    state = checkpoints.load(path)
    state["progress"]["step"] = 2
    for other in (folder / "checkpoints").iterdir():
        other.unlink()
    checkpoints.save(folder / "checkpoints", 2, state, 1)
    stored = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**stored, "status": "interrupted"}))
    return 2


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    return run("start", measure, parser_of("start", MINUTES), arguments)


if __name__ == "__main__":
    main()
