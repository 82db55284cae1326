"""Quality of an encoder on held-out images: by labels if there are any, else by the stability of neighbours.

Shapes: Q held-out images, N others, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.encoders.embedding import BATCH, batch_for, evaluating
from likewise.errors import InputError
from likewise.evaluation.features import extract
from likewise.evaluation.intervals import of_mean, wilson
from likewise.similarity import unit
from likewise.similarity.knn import majority
from likewise.similarity.nearest import neighbours
from likewise.training.watching import health
from likewise.views import make_views, weak

NEIGHBOURS = 10
FEW_LABELS = (1, 5, 20)
"""Labels of each class that class means are made of, beside all of them."""
LOOKED_AT = 500
"""Held-out images whose neighbours are looked for where there are no labels."""


@dataclass(frozen=True)
class EncoderScore:
    """One encoder on the held-out images."""

    score: float
    """Share of right answers by neighbours; without labels, share of neighbours that two views have in common."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    values: NDArray[np.float64]
    """(Q,) of each held-out image: right or wrong, or that share. Their mean is the score."""
    rank: float
    """Effective rank of the features of the held-out images."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """Accuracy of class means of so many labels of each class."""


def measure(encoder: Encoder, held_in: Images, held_out: Images, *, labelled: bool) -> EncoderScore:
    """Measure an encoder, on the device that it is on. `labelled`: by labels, and not by neighbours of views."""
    query_QF = extract(encoder, held_out)
    bank_NF = extract(encoder, held_in)
    rank = float(health.effective_rank(health.gram(query_QF)))
    if labelled:
        assert held_in.labels is not None
        assert held_out.labels is not None
        return _by_labels(query_QF, bank_NF, held_out.labels, held_in.labels, rank)
    return _by_views(encoder, bank_NF, held_out, rank)


def _by_labels(
    query_QF: Tensor, bank_NF: Tensor, asked_Q: NDArray[np.int64], known_N: NDArray[np.int64], rank: float
) -> EncoderScore:
    """Majority of the ten nearest neighbours, and class means of few labels."""
    query, bank = (torch.from_numpy(labels >= 0) for labels in (asked_Q, known_N))
    truth_Q, labels_N = torch.from_numpy(asked_Q)[query], torch.from_numpy(known_N)[bank]
    query_QF, bank_NF = query_QF[query], bank_NF[bank]
    if not len(truth_Q) or not len(labels_N):
        raise InputError("no held-out image has a label: give more labels, or try without any (--labels none)")
    k = min(NEIGHBOURS, len(labels_N))
    right_Q = (majority(neighbours(query_QF, bank_NF, k), labels_N, k) == truth_Q).numpy()
    curve = {
        f"{count or 'all'} a class": _class_means(query_QF, truth_Q, bank_NF, labels_N, count)
        for count in (*FEW_LABELS, 0)
        if count < len(labels_N) / max(1, len(torch.unique(labels_N)))
    }
    interval = wilson(int(right_Q.sum()), len(right_Q))
    return EncoderScore(float(right_Q.mean()), interval.low, interval.high, right_Q.astype(float), rank, curve)


def _class_means(query_QF: Tensor, truth_Q: Tensor, bank_NF: Tensor, labels_N: Tensor, count: int) -> float:
    """Accuracy of the nearest mean of `count` images of each class, 0 for all; the first ones in a fixed shuffle."""
    order = torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(0))
    classes = torch.unique(labels_N)
    means = []
    for label in classes.tolist():
        rows_of = order[labels_N[order] == label]
        means.append(unit(bank_NF[rows_of[:count] if count else rows_of]).mean(0))
    nearest_Q = (unit(query_QF) @ unit(torch.stack(means)).T).argmax(1)
    return float((classes[nearest_Q] == truth_Q).float().mean())


@torch.no_grad()
def _by_views(encoder: Encoder, bank_NF: Tensor, held_out: Images, rank: float) -> EncoderScore:
    """The share of ten nearest neighbours that two random crops of an image have in common."""
    spec, device = encoder.spec, next(encoder.parameters()).device
    crop = weak(spec.image_size, mean=spec.mean, std=spec.std, scale=(0.5, 1.0))
    index = np.arange(min(LOOKED_AT, len(held_out)))
    k = min(NEIGHBOURS, max(1, len(bank_NF) // 2))  # all of them would always be shared
    each = batch_for(spec.image_size, BATCH, device)
    shared: list[Tensor] = []
    with evaluating(encoder):
        for start in range(0, len(index), each):
            pixels, sizes = held_out.gather(index[start : start + each])
            views = make_views({"first": crop, "second": crop}, pixels.to(device), sizes, seed=0, step=start)
            first, second = (neighbours(encoder(view.image).float().cpu(), bank_NF, k).rows for view in views.values())
            shared.append((first.unsqueeze(2) == second.unsqueeze(1)).any(2).double().mean(1))
    shared_Q = torch.cat(shared).numpy()
    interval = of_mean(shared_Q)
    return EncoderScore(float(shared_Q.mean()), max(0.0, interval.low), min(1.0, interval.high), shared_Q, rank)
