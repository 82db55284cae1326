"""The quality of a selection: from the features alone, and later from the true labels.

Shapes: N images, D features, m picks, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation.probes.linear import fit
from likewise.similarity import unit
from likewise.similarity.kmeans import kmeans
from likewise.similarity.knn import accuracy
from likewise.similarity.nearest import neighbours

WORLDS = 20
"""Pretended truths."""
_ROWS = 4000
"""Images of each that are judged."""
Draw = Callable[[int], Tensor]
"""The labelled rows of a strategy in a world: the same each time, or drawn anew."""


@dataclass(frozen=True)
class Expected:
    """The expected quality of a strategy."""

    accuracy: float
    """1-NN accuracy, the mean over the pretended truths and over both looks at them."""
    low: float
    """2.5 % quantile over these."""
    high: float
    """97.5 % quantile."""
    covered: float
    """Mean share of the pretended classes that have a label."""

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        return asdict(self)


@dataclass(frozen=True)
class LabelledScore:
    """The score of labelled rows by the true labels."""

    nearest: float
    """1-NN accuracy on all other labelled images."""
    linear: float | None
    """Of a linear layer; None where the rows have one class."""
    classes: int
    """Classes among the rows."""
    of_classes: int
    """Classes of all images."""
    spread: float
    """Standard deviation of the number of rows in each class."""

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        return asdict(self)


def rests_on(classes: int, worlds: int = WORLDS) -> str:
    """The assumptions of `expect`, for people."""
    return (
        f"{worlds} pretended truths of {classes} classes: k-means on a random half of the images and of the features, "
        "found again by all features (too good, where classes mix) and by the other half alone (too bad, where it says "
        "less than all); the mean of both, and quantiles over both. It assumes that what the halves agree on are "
        "classes, and promises nothing; the order of the strategies is what it tells"
    )


@torch.no_grad()
def expect(
    features_ND: Tensor, strategies: Mapping[str, Draw], *, classes: int, worlds: int = WORLDS, seed: int = 0
) -> dict[str, Expected]:
    """Expected 1-NN accuracy of the labelled rows of each strategy, with the interval over pretended truths.

    A pretended truth is k-means into `classes` clusters on a random half of the images, seen by a random half of the
    features: another one than the clusters that strategies pick from. It is looked for twice: by all features, which
    hold those that made it, so a cluster is purer than a class; and by the other half of the features alone, where
    chance is all that is left of clusters that are none, and of others what both halves tell. Real accuracy is seldom
    above the first, and below the second where what the halves agree on is something else than the classes. Images
    that are labelled are not judged.

    Raises InputError for fewer than 2 classes, or more than half of the images.
    """
    x_ND = unit(features_ND)
    count, width = x_ND.shape
    if not 2 <= classes <= max(2, count // 2):
        raise InputError(f"classes={classes} to expect by: allowed are 2 to {max(2, count // 2)}")
    values: dict[str, list[tuple[float, float, float]]] = {name: [] for name in strategies}
    for world in range(worlds):
        generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + world)
        half = torch.randperm(count, generator=generator)[: max(classes, min(_ROWS, count // 2))]
        order = torch.randperm(width, generator=generator)
        columns, apart = order[: max(1, width // 2)], order[width // 2 :]
        judged = torch.randperm(count, generator=generator)[:_ROWS]
        centres = kmeans(x_ND[half][:, columns], min(classes, len(half)), iterations=20, seed=world).centroids
        for name, draw in strategies.items():
            rows = draw(world)
            others = judged[~torch.isin(judged, rows)]
            own_R, own_O = ((unit(x_ND[part][:, columns]) @ centres.T).argmax(1) for part in (rows, others))
            share = len(torch.unique(own_R)) / len(torch.unique(torch.cat([own_R, own_O])))
            same, other = (
                _nearest(x_ND[rows][:, seen], own_R, x_ND[others][:, seen], own_O) for seen in (order, apart)
            )
            values[name].append((same, other, share))
    return {name: _summed(found) for name, found in values.items()}


def _summed(found: list[tuple[float, float, float]]) -> Expected:
    table = torch.tensor(found, dtype=torch.float64)
    low, high = torch.quantile(table[:, :2].flatten(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Expected(float(table[:, :2].mean()), low, high, float(table[:, 2].mean()))


def _nearest(x_RD: Tensor, labels_R: Tensor, x_OD: Tensor, labels_O: Tensor) -> float:
    """1-NN accuracy of the others (O) by the labels of rows (R); 1 where there are no others."""
    if not len(x_OD):
        return 1.0
    return accuracy(labels_R[neighbours(x_OD, x_RD, 1).rows[:, 0]], labels_O)


def measure(features_ND: Tensor, labels_N: Tensor, rows: Tensor, *, seed: int = 0) -> LabelledScore:
    """The score of `rows` with their true labels (N,), -1 where unknown, on all other images.

    Raises InputError where none of the rows has a label, and where no other image has one.
    """
    x_ND = unit(features_ND)
    known = labels_N >= 0
    rows = rows[known[rows]]
    free = known.clone()
    free[rows] = False
    others = free.nonzero().flatten()
    if not len(rows) or not len(others):
        what = "picks" if not len(rows) else "images beside the picks"
        raise InputError(f"none of the {what} has a true label, so nothing can be evaluated")
    counts_C = labels_N[rows].bincount(minlength=int(labels_N.max()) + 1)
    present_C = labels_N[known].bincount(minlength=len(counts_C)) > 0
    linear = None
    if int((counts_C > 0).sum()) > 1:
        linear = accuracy(fit(x_ND[rows], labels_N[rows], seed=seed).predict(x_ND[others]), labels_N[others])
    return LabelledScore(
        _nearest(x_ND[rows], labels_N[rows], x_ND[others], labels_N[others]),
        linear,
        int((counts_C > 0).sum()),
        int(present_C.sum()),
        float(counts_C[present_C].double().std(correction=0)),
    )
