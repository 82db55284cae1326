"""Which few images to label: USL, typical, k-centre and random picks, on features of CIFAR-10."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from benchmarks.features import made_up
from benchmarks.harness import Outcome, parser_of, run
from benchmarks.images import cifar10
from likewise.evaluation.encoder_source import open_subject
from likewise.evaluation.features import cached_features
from likewise.selection.picking import STRATEGIES, pick
from likewise.selection.pool import Pool
from likewise.selection.proof import WORLDS, LabelledScore, expect, measure
from likewise.similarity import unit

MINUTES = 4
BUDGETS = (10, 40, 100)
SEEDS, IMAGES = 20, 5000
SIZE, WIDTH = 64, 128
"""Side at which images are shown to the encoder, and features that are kept."""


def table(options: argparse.Namespace) -> tuple[Tensor, Tensor, str]:
    """Features and labels of the images that are chosen from, and where they come from."""
    if options.quick:
        made = made_up(600, 10, 32)
        return made.bank_ND, made.bank_labels_N, made.origin
    images = cifar10("train")
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:IMAGES].sort().values
    part = images.subset(rows.numpy())
    assert part.labels is not None
    with TemporaryDirectory() as folder:
        encoder = options.encoder or str(_lite0(Path(folder)))
        subject = open_subject(encoder, None, image_size=options.size)
        features_ND = cached_features(subject.encoder, part).clone()
    told = options.encoder or "EfficientNet-Lite0, trained on ImageNet with labels"
    words = f"{told}, at {subject.encoder.spec.image_size} px, {WIDTH} principal components"
    return narrowed(unit(features_ND)), torch.from_numpy(part.labels), words


def narrowed(x_ND: Tensor) -> Tensor:
    """The principal components of most variance, as many as the head has that the paper selects by."""
    axes_DC = torch.linalg.eigh(torch.cov(x_ND.T)).eigenvectors[:, -WIDTH:]
    return (x_ND - x_ND.mean(0)) @ axes_DC


def _lite0(folder: Path) -> Path:
    """The weights inside the package of the extra lite0."""
    from likewise.verbs.keeping.convert import lite0

    lite0(folder / "lite0.safetensors")
    return folder / "lite0.safetensors"


def scored(pool: Pool, labels_N: Tensor, count: int, by: str, seeds: int) -> list[LabelledScore]:
    """One result a seed; k-centre draws nothing, so it has one."""
    return [
        measure(pool.features_ND, labels_N, pick(pool, count, by, seed=seed).rows, seed=seed)
        for seed in range(1 if by == "coverage" else seeds)
    ]


def spread(values: Sequence[float], times: float = 100.0) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {times * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{times * fmean(values):.1f}{deviation}"


def measure_all(options: argparse.Namespace) -> Outcome:
    """Classes covered and accuracy at each budget."""
    features_ND, labels_N, origin = table(options)
    pool, seeds, worlds = Pool.of(features_ND), *((2, 3) if options.quick else (SEEDS, WORLDS))
    found = Outcome(
        "Selection",
        f"m of {len(pool):,} images of CIFAR-10's training part are picked without labels and labelled; accuracy in % "
        f"on all others by the features of {origin}; mean and standard deviation over {seeds} seeds (k-centre draws "
        "nothing).",
    )
    for count in BUDGETS[:1] if options.quick else BUDGETS:
        results = {by: scored(pool, labels_N, count, by, seeds) for by in STRATEGIES}
        fixed = {by: pick(pool, count, by, seed=0).rows for by in STRATEGIES}
        told = expect(
            features_ND, {by: lambda _, rows=rows: rows for by, rows in fixed.items()}, classes=10, worlds=worlds
        )
        rows = []
        for by, each in results.items():
            linear = [one.linear for one in each if one.linear is not None]
            rows.append(
                [by, spread([float(one.classes) for one in each], 1.0), spread([one.spread for one in each], 1.0),
                 spread([one.nearest for one in each]), spread(linear) if linear else None,
                 f"{100 * told[by].accuracy:.1f} ({100 * told[by].low:.1f} to {100 * told[by].high:.1f})"]
            )  # fmt: skip
            found.figures.setdefault(by, {})[str(count)] = [one.to_json() for one in each]
        columns = [
            "strategy",
            "classes of 10",
            "std of labels a class",
            "1-NN",
            "linear",
            "expected 1-NN before labels",
        ]
        found.table(f"{count} labels", columns, rows)
        gain = fmean(one.nearest for one in results["usl"]) - fmean(one.nearest for one in results["random"])
        met = None if options.quick else gain > 0
        found.target(f"1-NN of USL over random at {count} labels, points", "> 0", 100 * gain, met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    parser = parser_of("selection", MINUTES)
    parser.add_argument(
        "--encoder", default=None, help="run or weights file; by default the package of the extra lite0"
    )
    parser.add_argument("--size", type=int, default=SIZE, help="side at which images are shown")
    return run("selection", measure_all, parser, arguments)


if __name__ == "__main__":
    main()
