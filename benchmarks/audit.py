"""Self-supervised beside supervised encoders (arXiv 2010.08377) in small: do they err alike, what do they withstand.

On CIFAR-10 at 32 px, one narrow ResNet-18 for all: SimCLR, SimCLR by crops alone, supervised, and untrained, on the
same draw of each seed. All decide by a linear probe of undistorted images among seven of the sixteen categories, and
see the same distorted images and, at 32 px, the published cue conflicts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

import likewise
from benchmarks.harness import Outcome, parser_of, run
from benchmarks.images import cifar10_file
from likewise.auditing.benchmark import likeness
from likewise.auditing.consistency import NONE
from likewise.auditing.result import Audit, left_out
from likewise.encoders import EncoderSpec, build, save_encoder

MINUTES = 30


class Form(NamedTuple):
    """How much is trained and judged."""

    seeds: int
    epochs: int
    per_class: int
    """Images of each class that are trained on."""
    images: int
    """Images that are judged, of each distortion."""
    width: int
    """Channels of the first stage; 64 is a whole ResNet-18."""


FULL = Form(seeds=3, epochs=12, per_class=1000, images=1000, width=16)
SHORT = Form(seeds=2, epochs=5, per_class=250, images=150, width=8)
QUICK = Form(seeds=1, epochs=1, per_class=50, images=100, width=16)
MAPPING = {"airplane": [0], "bird": [2], "boat": [8], "car": [1], "cat": [3], "dog": [5], "truck": [9]}
"""Those of the sixteen categories that CIFAR-10 has."""
SIMCLR, CROPS, SUPERVISED, UNTRAINED = ARMS = ("SimCLR", "SimCLR-crops", "supervised", "untrained")
EXPERIMENTS = ("colour", "contrast", "high-pass", "low-pass", "phase-scrambling", "rotation", "uniform-noise")


def trained(data: Path, folder: Path, seed: int, form: Form) -> list[Path]:
    """A run or weights file of each of `ARMS`, all of the same draw and of one architecture."""
    draw = {"subset": f"perclass:{form.per_class}", "subset_seed": seed}
    common: dict[str, Any] = {**draw, "seed": seed, "epochs": form.epochs, "quiet": True}
    shape: dict[str, Any] = {"encoder": "resnet18", "width": form.width, "image_size": 32, "batch_size": 128}
    start = folder / f"{UNTRAINED}.safetensors"
    folder.mkdir()
    save_encoder(build(EncoderSpec(name="resnet18", width=form.width, stem="small", image_size=32), seed=seed), start)
    likewise.train(data, method="simclr", out=folder / SIMCLR, **common, **shape)
    likewise.train(data, method="simclr", out=folder / CROPS, jitter_strength=0.0, **common, **shape)
    # Five times the rate of fine-tuning, since nothing was learned before.
    likewise.finetune(start, data, rate=0.05, out=folder / SUPERVISED, **common)
    return [folder / SIMCLR, folder / CROPS, folder / SUPERVISED, start]


def audited(data: Path, folder: Path, seed: int, form: Form) -> Audit:
    """All arms of one seed as observers of the same stimuli."""
    first, *others = trained(data, folder, seed, form)
    mapping = folder / "seven.json"
    mapping.write_text(json.dumps(MAPPING), encoding="utf-8")
    conflicts = data.with_name("cue_conflict.parquet")
    return likewise.audit(
        first,
        data,
        against=others,
        mapping=mapping,
        stimuli=[f"cue-conflict={conflicts}"] if conflicts.exists() else [],
        experiments=EXPERIMENTS,
        images=form.images,
        subset=f"perclass:{form.per_class}",  # the same draw as was learned from
        seed=seed,
        quiet=True,
    )


def kappas(found: Audit, first: str, second: str) -> float:
    """Mean error consistency over the distortions that were made."""
    return fmean(found.likeness(name, first, second).error for name in EXPERIMENTS)


def shuffled(found: Audit, first: str, seed: int) -> float:
    """The control: an observer and itself, what it got right at each level given to other images of that level."""
    draw = np.random.default_rng(seed)
    values = []
    for name in EXPERIMENTS:
        own = found.of(name, first)
        right = own.right.copy()
        for level in np.unique(own.condition_N):
            rows = np.flatnonzero(own.condition_N == level)
            right[rows] = right[draw.permutation(rows)]
        other = replace(own, answer_N=np.where(right, own.truth_N, NONE))
        values.append(likeness(own, other, left_out(name)).error)
    return fmean(values)


def measure(options: argparse.Namespace) -> Outcome:
    """Train, audit, and say what became of the paper's findings."""
    form, data = QUICK if options.quick else SHORT if options.short else FULL, cifar10_file()
    with tempfile.TemporaryDirectory() as place:
        audits = [audited(data, Path(place) / str(seed), seed, form) for seed in range(form.seeds)]
    found = Outcome(
        "Self-supervised beside supervised encoders",
        f"CIFAR-10, {10 * form.per_class:,} images, {form.epochs} epochs, ResNet-18 of width {form.width}, "
        f"{form.seeds} seeds; {audits[0].protocol}.",
    )

    def told(of: Callable[[Audit], float]) -> str:
        values = [of(one) for one in audits]
        return f"{100 * fmean(values):.1f}" + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")

    rows: list[list[str]] = [["undistorted", *(told(lambda one, who=who: one.plain_accuracy(who)) for who in ARMS)]]
    rows += [
        [name, *(told(lambda one, who=who, name=name: one.accuracy(name, who)) for who in ARMS)] for name in EXPERIMENTS
    ]
    if audits[0].shape_bias():
        rows.append(["shape bias", *(told(lambda one, who=who: one.shape_bias()[who][0].bias) for who in ARMS)])
    found.table("Accuracy over distorted levels, in %", ["experiment", *ARMS], rows)
    pairs = [(a, b) for number, a in enumerate(ARMS) for b in ARMS[number + 1 :]]
    found.table(
        "Error consistency (kappa), in hundredths",
        ["pair", "kappa"],
        [[f"{a} and {b}", told(lambda one, a=a, b=b: kappas(one, a, b))] for a, b in pairs],
    )
    if not options.quick and form != FULL:
        found.notes.append(
            "The short form is not judged: its encoders are young, above all the supervised one, and two seeds few."
        )
    _judge(found, audits, judged=form == FULL)
    return found


def _judge(found: Outcome, audits: Sequence[Audit], *, judged: bool) -> None:
    """The trends of the paper, as targets."""

    def target(what: str, wanted: str, values: Sequence[float]) -> None:
        mean = fmean(values)
        found.figures[what] = list(values)
        found.target(what, wanted, mean, met=mean > 0 if judged else None)

    alike = [kappas(one, SIMCLR, SUPERVISED) for one in audits]
    target("kappa of SimCLR and supervised", "> 0", alike)
    control = [shuffled(one, SIMCLR, seed) for seed, one in enumerate(audits)]
    target(
        "the same less that of SimCLR and itself shuffled", "> 0", [a - b for a, b in zip(alike, control, strict=True)]
    )
    for name in ("uniform-noise", "contrast"):
        gain = [one.accuracy(name, SIMCLR) - one.accuracy(name, SUPERVISED) for one in audits]
        target(f"{name}: SimCLR less supervised", "> 0", gain)
    gain = [one.accuracy("contrast", SIMCLR) - one.accuracy("contrast", CROPS) for one in audits]
    target("contrast: SimCLR less SimCLR by crops alone", "> 0", gain)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    parser = parser_of("audit", MINUTES)
    parser.add_argument("--short", action="store_true", help="a form of few minutes: fewer images, a narrower encoder")
    return run("audit", measure, parser, arguments)


if __name__ == "__main__":
    main()
