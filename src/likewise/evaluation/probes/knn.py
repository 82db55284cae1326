"""kNN: majority and weighted votes of the train features nearest to each query."""

from __future__ import annotations

from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity import knn
from likewise.similarity.nearest import neighbours

MAJORITY = (1, 20)
"""k of the plain majority, the protocol of ISD and MSF."""
WEIGHTED = 200
"""k of the weighted vote, the protocol of most other papers."""


def knn_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Majority for k = 1 and 20, and the weighted vote for k = 200, or both votes for each k that is asked for."""
    count = len(features.bank_NF)
    wanted = [(k, vote, vote) for k in settings.k for vote in ("majority", "weighted")]
    wanted = wanted or [*((k, "majority", "") for k in MAJORITY), (WEIGHTED, "weighted", "")]
    found = neighbours(features.query_QF, features.bank_NF, min(max(k for k, _, _ in wanted), count))
    scores = []
    for k, vote, variant in wanted:
        if vote == "majority":
            predicted_Q = knn.majority(found, features.bank_labels_N, min(k, count))
            words = f"majority of k={k}{_cut(k, count)}{', ties to the nearest' if k > 1 else ''}"
        else:
            predicted_Q = knn.weighted(found, features.bank_labels_N, min(k, count), settings.temperature)
            words = f"k={k}{_cut(k, count)} votes weighted by exp(similarity / {settings.temperature:g})"
        scores.append(features.score("knn", k, predicted_Q, f"kNN, exact cosine, {words}", variant=variant))
    return scores


def _cut(k: int, count: int) -> str:
    return f" (cut to the {count} images of the bank)" if k > count else ""
