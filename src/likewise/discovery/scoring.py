"""Scores of discovered classes where the labels are known: the v2 accuracy of GCD, NMI and ARI.

All scores are of unlabelled images alone, as the protocol has it (arXiv 2201.02609, section 4). Shapes: N images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.discovery.accuracy import matched
from likewise.evaluation.intervals import wilson

Ids = NDArray[np.int64]


class DiscoveryScore(NamedTuple):
    """One score."""

    name: str
    """`All`, `Old`, `New`, `NMI`, `ARI`, `All that are sure`."""
    value: float
    """0 to 1; ARI may be below 0."""
    low: float | None
    """Lower end of the 95 % interval over images; None for NMI and ARI."""
    high: float | None
    """Upper end."""
    images: int
    """How many it is of."""


def score(truth_N: Ids, labels_N: Ids, clusters_N: Ids, sure_N: NDArray[np.bool_]) -> list[DiscoveryScore]:
    """Scores of the unlabelled images whose true class is known; empty where there are none.

    `truth_N` and `labels_N` hold -1 where nothing is known. Old classes are those of which an image is labelled.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    asked = np.flatnonzero((labels_N < 0) & (truth_N >= 0))
    if not len(asked):
        return []
    true, found, sure = truth_N[asked], clusters_N[asked], sure_N[asked]
    old = np.isin(true, np.unique(labels_N[labels_N >= 0]))
    right = matched(true, found)  # the one matching that all shares below are of
    parts = {"All": np.ones(len(true), bool), "Old": old, "New": ~old, "All that are sure": sure}
    scores = [_share(name, right[part]) for name, part in parts.items() if part.any()]
    scores.append(DiscoveryScore("NMI", float(normalized_mutual_info_score(true, found)), None, None, len(true)))
    scores.append(DiscoveryScore("ARI", float(adjusted_rand_score(true, found)), None, None, len(true)))
    return scores


def _share(name: str, right: NDArray[np.bool_]) -> DiscoveryScore:
    interval = wilson(int(right.sum()), len(right))
    return DiscoveryScore(name, float(right.mean()), interval.low, interval.high, len(right))


PROTOCOL = (
    "accuracy v2: one Hungarian matching of all clusters and all true classes, over the unlabelled images alone; Old "
    "are those of labelled classes; NMI with the arithmetic mean"
)
