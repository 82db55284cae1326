"""Geometry of features, without a classifier: alignment, uniformity, effective rank, purity of neighbourhoods.

Shapes: N images, F features, C classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation import intervals
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity import unit
from likewise.similarity.nearest import check_features, neighbours
from likewise.training.watching import health

SPREAD = 2.0
"""t of the uniformity, as in the paper."""
_TILE_ROWS = 1024


@torch.no_grad()
def uniformity(features_NF: Tensor, t: float = SPREAD) -> float:
    """log of the mean over all pairs of exp(-t |x - y|^2) of unit vectors (Wang and Isola, ICML 2020, eq. 3).

    0 where all are the same, about -4 at best in many dimensions for t = 2. Exact, in tiles.
    """
    check_features("features whose uniformity is asked, the", features_NF)
    if len(features_NF) < 2:
        raise InputError("uniformity is about pairs, and there is one image")
    x_NF = unit(features_NF)
    # Pairs of an image with itself are none. Their product is 1, but for features of length 0.
    total = -float((x_NF.square().sum(1) - 1).mul_(2 * t).exp_().double().sum())
    for part_BF in torch.split(x_NF, _TILE_ROWS):
        total += float(((part_BF @ x_NF.T).clamp_(max=1.0).sub_(1).mul_(2 * t)).exp_().double().sum())
    count = len(x_NF)
    return math.log(total / (count * (count - 1)))


@torch.no_grad()
def class_alignment(features_NF: Tensor, labels_N: Tensor) -> float:
    """Mean |x - y|^2 of unit vectors over all pairs of images of one class; 0 where each class is a point.

    (Wang and Isola's pairs are views of one image; between images only the class says that they belong together.)
    """
    check_features("features whose alignment is asked, the", features_NF)
    known_N = labels_N >= 0
    x_NF = unit(features_NF[known_N]).double()
    classes_C, member_N = torch.unique(labels_N[known_N], return_inverse=True)
    sums_CF = x_NF.new_zeros(len(classes_C), x_NF.shape[1]).index_add_(0, member_N, x_NF)
    counts_C = torch.bincount(member_N, minlength=len(classes_C)).double()
    squares_C = x_NF.new_zeros(len(classes_C)).index_add_(0, member_N, x_NF.square().sum(1))
    # The sum over ordered pairs of |x - y|^2 is 2 n sum |x|^2 - 2 |sum x|^2.
    total = (2 * counts_C * squares_C - 2 * sums_CF.square().sum(1)).sum()
    pairs = (counts_C * (counts_C - 1)).sum()
    if not pairs:
        raise InputError("alignment is about pairs of one class, and no class has two images")
    return float(total / pairs)


@torch.no_grad()
def purity(features_QF: Tensor, bank_NF: Tensor, labels_Q: Tensor, labels_N: Tensor, k: int) -> Tensor:
    """(Q,) share of the k nearest images of the bank that have the query's label."""
    found = neighbours(features_QF, bank_NF, k)
    return (labels_N[found.rows] == labels_Q.unsqueeze(1)).double().mean(1)


def uniformity_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Alignment and uniformity of the queries."""
    aligned = class_alignment(features.query_QF, features.query_labels_Q)
    spread = uniformity(features.query_QF)
    words = "L2-normalised features of the queries"
    return [
        features.measured(
            "uniformity",
            None,
            aligned,
            f"alignment: mean squared distance of all pairs of one class, {words}; lower is better",
            measure="alignment",
            unit="number",
        ),
        features.measured(
            "uniformity",
            None,
            spread,
            f"uniformity: log mean exp(-2 |x - y|^2) over all pairs, {words}; lower is better",
            measure="uniformity",
            unit="number",
        ),
    ]


def rank_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Effective rank of the queries' features."""
    check_features("query", features.query_QF)
    value = health.effective_rank(health.gram(features.query_QF))
    most = min(len(features.query_QF) - 1, features.query_QF.shape[1])
    words = f"exp of the entropy of the singular values of the centred L2-normalised features of the queries, of {most}"
    return [features.measured("rank", None, value, words, measure="effective rank", unit="number")]


def purity_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Share of same-class images among the nearest of the bank."""
    scores = []
    for k in settings.k or (10,):
        each_Q = purity(features.query_QF, features.bank_NF, features.query_labels_Q, features.bank_labels_N, k)
        words = f"mean share of the {k} nearest images of the bank (exact cosine) that have the query's class"
        interval = intervals.of_mean(each_Q.cpu().numpy())
        scores.append(features.measured("purity", k, float(each_Q.mean()), words, measure="purity", interval=interval))
    return scores
