"""Clustering accuracy without labels: k-means, then the best matching of clusters to classes.

Shapes: N images, F features, C classes, K clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation import intervals
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity.kmeans import kmeans
from likewise.similarity.nearest import check_features

RESTARTS = 5
"""Runs of k-means, of which the tightest counts."""


class ClusterAgreement(NamedTuple):
    """Agreement of clusters with classes."""

    accuracy: float
    """Share of images in the cluster of their class, each cluster standing for at most one class."""
    nmi: float
    """Normalised mutual information, arithmetic mean in the denominator."""
    ari: float
    """Adjusted Rand index; 0 for chance."""
    right: int
    """Images behind the accuracy."""


def cluster(features_NF: Tensor, clusters: int, *, seed: int = 0, restarts: int = RESTARTS) -> Tensor:
    """(N,) the cluster of each image: cosine k-means, the tightest of `restarts` runs."""
    check_features("clustered", features_NF)
    if not 1 <= clusters <= len(features_NF):
        raise InputError(f"clusters={clusters} of {len(features_NF)} images: allowed are 1 to that many")
    runs = (kmeans(features_NF, clusters, seed=1000 * seed + number) for number in range(restarts))
    return min(runs, key=lambda found: found.inertia).assignment


def agreement(clusters: NDArray[np.int64], classes: NDArray[np.int64]) -> ClusterAgreement:
    """Agreement of `clusters` (N,) with `classes` (N,); numbers need not match, nor be as many."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    table_KC = np.zeros((int(clusters.max()) + 1, int(classes.max()) + 1), np.int64)
    np.add.at(table_KC, (clusters, classes), 1)
    right = int(table_KC[linear_sum_assignment(table_KC, maximize=True)].sum())
    nmi = float(normalized_mutual_info_score(classes, clusters))
    return ClusterAgreement(right / len(classes), nmi, float(adjusted_rand_score(classes, clusters)), right)


def clustering_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Accuracy, NMI and ARI of a clustering of the queries."""
    classes = features.query_labels_Q.cpu().numpy()
    count = settings.clusters or len(np.unique(classes))
    with torch.no_grad():
        assigned = cluster(features.query_QF, count, seed=features.seed).cpu().numpy()
    found = agreement(assigned, classes)
    words = (
        f"cosine k-means of the queries into {count} clusters, tightest of {RESTARTS} runs (seed {features.seed}), "
        "no labels used"
    )
    matched = f"{words}; clusters matched to classes by the Hungarian method"
    interval = intervals.wilson(found.right, len(classes))
    return [
        features.measured("clustering", None, found.accuracy, matched, interval=interval),
        features.measured("clustering", None, found.nmi, f"{words}; NMI, arithmetic mean", measure="NMI"),
        features.measured("clustering", None, found.ari, f"{words}; adjusted Rand index", measure="ARI"),
    ]
