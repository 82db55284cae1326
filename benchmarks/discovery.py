"""Classes that nobody named: All, Old and New on halves of data sets beside plain k-means, and the number of classes.

Features are those of a trained encoder inside a package (EfficientNet-Lite0), which has seen neither data set; where
the data or the package is missing, points around centres stand in.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import Outcome, parser_of, run
from benchmarks.images import data_file
from likewise.data import cached_side, open_source, prepare
from likewise.data.splitting.subsets import draw, part_of
from likewise.discovery.counting import count_classes
from likewise.discovery.finding import Seeding, find
from likewise.discovery.scoring import score
from likewise.encoders import load_encoder
from likewise.errors import InputError
from likewise.evaluation.features import cached_features
from likewise.evaluation.probes.clustering import cluster
from likewise.similarity import unit
from likewise.verbs.keeping.convert import lite0

MINUTES = 12
SEEDS = 2
WITHIN = 0.1
"""How far the estimated number of classes may be from the true one."""
TAKEN = "what is taken"


class Collection(NamedTuple):
    """One data set."""

    name: str
    features_ND: Tensor
    """Unit."""
    labels_N: NDArray[np.int64]


class Shape(NamedTuple):
    """What is taken of a data set."""

    file: str
    split: str | None
    subset: str | None
    side: int


SHAPES = (
    Shape("caltech101_small.parquet", None, None, 96),
    Shape("cifar100.parquet", "train", "perclass:60", 64),
)


def collections(notes: list[str]) -> list[Collection]:
    """The data sets that are there, embedded."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        weights = Path(place) / "lite0.safetensors"
        try:
            lite0(weights)
        except InputError as error:
            notes.append(f"real data is left out: {error}")
            return []
        encoder = load_encoder(weights)
    for shape in SHAPES:
        try:
            path = data_file(shape.file)
        except InputError as error:
            notes.append(f"left out: {error}")
            continue
        encoder.spec = replace(encoder.spec, image_size=shape.side)
        source = open_source(path, split=shape.split)
        if shape.subset is not None:
            source, _ = part_of(source, shape.subset)
        images = prepare(source, short_side=cached_side(shape.side))
        assert images.labels is not None
        found.append(Collection(path.stem, unit(cached_features(encoder, images)), images.labels))
    return found


def stand_in(*, classes: int = 8, each: int = 20) -> Collection:
    """Points around centres."""
    generator = torch.Generator().manual_seed(0)
    labels = np.arange(classes * each) % classes
    centres = torch.randn(classes, 32, generator=generator)
    points = centres[torch.from_numpy(labels)] + 0.8 * torch.randn(len(labels), 32, generator=generator)
    return Collection("points", unit(points), labels)


def measure(options: argparse.Namespace) -> Outcome:
    """Accuracies of three ways to cluster halves of each data set, and the estimates of the number of classes."""
    found = Outcome(
        "Classes that nobody named",
        "Half of the labels of the first half of the classes are known (gcd:0.5); v2 accuracy of the unlabelled "
        f"images, one matching, the number of classes known; means of {1 if options.quick else SEEDS} draws. "
        "Features of EfficientNet-Lite0, trained on ImageNet.",
    )
    every = [] if options.quick else collections(found.notes)
    for one in every or [stand_in()]:
        _measured(one, found, seeds=1 if options.quick or not every else SEEDS, judged=bool(every))
    return found


def _measured(one: Collection, found: Outcome, *, seeds: int, judged: bool) -> None:
    """One data set."""
    classes = len(np.unique(one.labels_N))
    told: dict[str, list[list[float]]] = {"plain k-means": [], "published": [], "greedy": []}
    counts: dict[str, list[int]] = {"published search": [], "stability": [], "size": [], TAKEN: []}
    for seed in range(seeds):
        drawn = draw(one.labels_N, [str(row) for row in range(len(one.labels_N))], "gcd:0.5", seed)
        known = drawn.labels
        answers = {"plain k-means": cluster(one.features_ND, classes, seed=seed).numpy()}
        for seeding in get_args(Seeding):
            answers[seeding] = find(one.features_ND, known, classes, seeding=seeding, runs=3, seed=seed).clusters
        for name, clusters in answers.items():
            scores = score(drawn.truth, known, clusters, np.zeros(len(known), bool))
            told[name].append([entry.value for entry in scores if entry.name in {"All", "Old", "New"}])
        counted = count_classes(one.features_ND, known, most=None if judged else 2 * classes, seed=seed)
        for name, estimate in (*counted.estimates(), (TAKEN, counted.chosen)):
            counts[name].append(estimate.classes)
    means = {name: np.mean(values, axis=0).tolist() for name, values in told.items()}
    found.table(
        f"{one.name}: {len(one.labels_N):,} images, {classes} classes",
        ["clustering", "All", "Old", "New"],
        [[name, *(f"{value:.1%}" for value in values)] for name, values in means.items()],
    )
    found.table(
        f"{one.name}: number of classes, true {classes}",
        ["by", "estimates", "error of their mean"],
        [
            [name, ", ".join(map(str, values)), f"{np.mean(values) / classes - 1:+.1%}"]
            for name, values in counts.items()
            if values
        ],
    )
    found.figures[one.name] = {"accuracy": means, "classes": counts, "true": classes}
    error = abs(float(np.mean(counts[TAKEN])) / classes - 1)
    met = error <= WITHIN if judged else None
    found.target(f"{one.name}: share that the number of classes is off by", f"<= {WITHIN}", error, met=met)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    return run("discovery", measure, parser_of("discovery", MINUTES), arguments)


if __name__ == "__main__":
    main()
