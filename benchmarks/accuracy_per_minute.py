"""Nearest-neighbour accuracy on CIFAR-10 after so many minutes, for likewise's defaults and lightly's methods.

Every cell (side, method, minutes) is a process of its own, one at a time, and is stored as soon as it is done: a call
that was interrupted goes on where it stopped. All encoders are the same narrow ResNet-18, and all are scored by the
same code on the whole data set. A cell may have several runs (`--runs`); then medians stand in the table, and the
lowest and highest accuracy beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Outcome, machine, parser_of, rounded, run, versions
from benchmarks.images import cifar10, cifar10_file, small_images
from benchmarks.peers import peer
from likewise.encoders import Encoder, EncoderSpec, build
from likewise.verbs.judging.evaluate import evaluate

MINUTES = 330
DEFAULT_MINUTES = (2.0, 5.0, 10.0, 20.0)
OURS, THEIRS = ("isd", "simclr", "moco_v2", "byol"), ("simclr", "byol", "moco_v2")
WIDTH, PEER_BATCH = 16, 128
STORE = Path(__file__).parent / "results" / "accuracy_per_minute"
WANTED = {6.0: 0.58, 10.0: 0.62}
"""20-NN accuracy that is aimed at after so many minutes."""
A_PEER_HOUR = (10.0, 60.0)
"""Minutes in which what lightly's best method reaches in the longer time is to be reached."""


def cell_name(side: str, method: str, minutes: float, number: int = 1) -> str:
    """As a file is called and a person asks for it: likewise:isd:5, and likewise:isd:5:2 for the second run of it."""
    return f"{side}:{method}:{minutes:g}" + (f":{number}" if number > 1 else "")


def train_ours(method: str, minutes: float, data: Path, folder: Path) -> tuple[Encoder, int]:
    """likewise's default, or METHOD@VARIANT; returns the encoder and the images seen."""
    from likewise import load, train

    name, _, variant = method.partition("@")
    done = train(data, method=name, variant=variant or None, width=WIDTH, minutes=minutes, device="cpu", quiet=True,
                 report=False, loggers=(), out=str(folder / "run"))  # fmt: skip
    lines = (done.path / "metrics.jsonl").read_text().splitlines()
    return load(done.path), json.loads(lines[-1])["images"]


def train_theirs(method: str, minutes: float, data: Path) -> tuple[Encoder, int]:
    """lightly's method; returns the encoder and the images seen."""
    from benchmarks.lightly_side import Training

    if data.suffix == ".npy":
        pixels = np.load(data)
    else:
        images = cifar10("train")
        pixels = images.gather(np.arange(len(images)))[0].numpy()
    encoder = build(EncoderSpec(name="resnet18", width=WIDTH, stem="small", image_size=32))
    training = Training(encoder, method, pixels, PEER_BATCH if len(pixels) > PEER_BATCH else len(pixels) // 2)
    seen = training.train(minutes)
    training.close()
    return encoder, seen


def one_cell(name: str) -> dict[str, Any]:
    """Train and score one cell in this process."""
    side, method, minutes = name.split(":")[:3]
    data = cifar10_file()
    with TemporaryDirectory() as folder:
        encoder, seen = (
            train_ours(method, float(minutes), data, Path(folder))
            if side == "likewise"
            else train_theirs(method, float(minutes), data)
        )
        scores = evaluate(encoder, data, probe=("knn",), labels="label", cache_dir=Path(folder), quiet=True)
    values = {f"k={score.k}": score.value for score in scores}
    return {"side": side, "method": method, "minutes": float(minutes), "pictures": seen, "knn": values,
            "threads": torch.get_num_threads(), "machine": machine(), "versions": versions()}  # fmt: skip


def stored(name: str, folder: Path) -> Path:
    """Where a cell's result is kept."""
    return folder / f"{name.replace(':', '-').replace('@', '-')}.json"


def cells(options: argparse.Namespace, notes: list[str]) -> list[str]:
    """All runs that are asked for, short ones first."""
    sides = {"likewise": options.ours}
    if peer("lightly.transforms", notes) is not None:
        sides["lightly"] = options.theirs
    return [
        cell_name(side, method, minutes, number)
        for minutes in sorted(options.minutes)
        for side, methods in sides.items()
        for method in methods
        for number in range(1, options.runs + 1)
    ]


def measure(options: argparse.Namespace) -> Outcome:
    """Whatever is not stored yet, then the table and the plot of everything that is."""
    found = Outcome(
        "Accuracy per minute",
        f"CIFAR-10 (JPEG re-encoded), ResNet-18 of width {WIDTH} with the small stem, training time only, cosine over "
        "the time; exact cosine kNN of 10,000 test images among 50,000: majority of 20, and 200 weighted votes "
        "(T 0.1). lightly: the settings of its CIFAR-10 benchmark, two workers.",
    )
    if options.quick:
        return quick(found)
    options.store.mkdir(parents=True, exist_ok=True)
    for name in cells(options, found.notes):
        path = stored(name, options.store)
        if path.exists() and not options.again:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        call = [sys.executable, "-m", "benchmarks.accuracy_per_minute", "--cell", name, "--threads"]
        done = subprocess.run([*call, str(options.threads)], check=True, stdout=subprocess.PIPE, text=True)
        path.write_text(done.stdout, encoding="utf-8")
    results = [json.loads(path.read_text()) for path in sorted(options.store.glob("*.json"))]
    report(found, results)
    if peer("matplotlib", found.notes) is not None:
        found.images.append(plot(medians(results), options.store.parent / "accuracy_per_minute.png").name)
    return found


def medians(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a cell: medians over its runs, how many there are, and what they lie between in 20-NN accuracy."""
    runs: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for run_of_cell in results:
        runs.setdefault((run_of_cell["side"], run_of_cell["method"], run_of_cell["minutes"]), []).append(run_of_cell)
    return [
        {"side": side, "method": method, "minutes": minutes, "runs": len(alike),
         "pictures": round(median(cell["pictures"] for cell in alike)),
         "knn": {k: median(cell["knn"][k] for cell in alike) for k in alike[0]["knn"]},
         "between": [choose(cell["knn"]["k=20"] for cell in alike) for choose in (min, max)],
         "processors": list(dict.fromkeys(processor(cell["machine"]) for cell in alike))}
        for (side, method, minutes), alike in sorted(runs.items(), key=lambda cell: (cell[0][0] != "likewise", cell[0]))
    ]  # fmt: skip


def processor(found: dict[str, Any]) -> str:
    """Name and best instructions of a run's machine."""
    return f"{found['processor']}, {found['capability']}"


def report(found: Outcome, runs: list[dict[str, Any]]) -> None:
    """Table and targets of all cells, from all their runs."""
    found.figures["cells"] = runs
    results = medians(runs)
    found.table(
        "Nearest-neighbour accuracy",
        ["side", "method", "minutes", "runs", "images seen", "k = 20", "lowest to highest", "k = 200, weighted",
         "processor"],
        [
            [cell["side"], cell["method"], cell["minutes"], cell["runs"], f"{cell['pictures']:,}",
             f"{cell['knn']['k=20']:.1%}",
             " to ".join(f"{value:.1%}" for value in cell["between"]) if cell["runs"] > 1 else "",
             f"{cell['knn']['k=200']:.1%}", "; ".join(cell["processors"])]
            for cell in results
        ],
    )  # fmt: skip
    for minutes, wanted in WANTED.items():
        if (ours := best(results, "likewise", minutes)) is not None:
            found.target(f"k = 20 after {minutes:g} minutes", f">= {wanted}", ours, met=ours >= wanted)
    few, many = A_PEER_HOUR
    ours, theirs = best(results, "likewise", few), best(results, "lightly", many)
    if ours is not None and theirs is not None:
        what = f"k = 20 after {few:g} minutes, less lightly's best after {many:g}"
        found.target(what, ">= 0", ours - theirs, met=ours >= theirs)


def best(results: list[dict[str, Any]], side: str, minutes: float) -> float | None:
    """The highest 20-NN accuracy of a side's methods after so many minutes, None where nothing was measured."""
    values = [cell["knn"]["k=20"] for cell in results if (cell["side"], cell["minutes"]) == (side, minutes)]
    return max(values, default=None)


def plot(results: list[dict[str, Any]], path: Path) -> Path:
    """Accuracy over minutes, a line for each side and method: a colour for the method, a style for the side."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    colours = {method: f"C{number}" for number, method in enumerate(dict.fromkeys(cell["method"] for cell in results))}
    for side, method in dict.fromkeys((cell["side"], cell["method"]) for cell in results):
        line = [cell for cell in results if (cell["side"], cell["method"]) == (side, method)]
        style = "o-" if side == "likewise" else "s--"
        values = [100 * cell["knn"]["k=20"] for cell in line]
        axes.plot([cell["minutes"] for cell in line], values, style, color=colours[method],
                  label=f"{side} {method}")  # fmt: skip
    axes.set(xscale="log", xlabel="minutes of training", ylabel="20-NN accuracy, %", title="CIFAR-10, two cores")
    ticks = sorted({cell["minutes"] for cell in results})
    axes.set_xticks(ticks, [f"{minutes:g}" for minutes in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def quick(found: Outcome) -> Outcome:
    """A second of training on each side, on a few images, without scores that mean anything."""
    with TemporaryDirectory() as folder:
        data = Path(folder) / "pictures.npy"
        np.save(data, small_images(64))
        _, ours = train_ours("byol", 0.01, data, Path(folder))
        rows: list[list[Any]] = [["likewise", "byol", ours]]
        if peer("lightly.transforms", found.notes) is not None:
            rows.append(["lightly", "simclr", train_theirs("simclr", 0.01, data)[1]])
    found.table("Images seen", ["side", "method", "images"], rows)
    found.figures["pictures"] = {f"{side} {method}": rounded(seen) for side, method, seen in rows}
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    parser = parser_of("accuracy_per_minute", MINUTES)
    parser.add_argument("--minutes", type=float, nargs="+", default=DEFAULT_MINUTES, help="budgets of training")
    parser.add_argument("--ours", nargs="*", default=OURS, help="likewise's methods, METHOD or METHOD@VARIANT")
    parser.add_argument("--theirs", nargs="*", default=THEIRS, help="lightly's: simclr, byol, moco_v2, isd")
    parser.add_argument("--runs", type=int, default=1, help="runs of each cell, of which the table has the medians")
    parser.add_argument("--store", type=Path, default=STORE, help="folder of the finished cells")
    parser.add_argument("--again", action="store_true", help="measure cells that are stored already as well")
    parser.add_argument("--cell", default=None, help="train and score this one only, as likewise:isd:5, and print it")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs {options.runs} must be at least 1")
    if options.cell is not None:
        torch.set_num_threads(options.threads)
        cell = one_cell(options.cell)
        print(json.dumps(cell))
        return cell
    return run("accuracy_per_minute", measure, parser, arguments)


if __name__ == "__main__":
    main()
