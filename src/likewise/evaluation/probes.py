"""Scores from features: what each probe measures, and its protocol in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.evaluation import knn, linear
from likewise.evaluation.scores import Score

MAJORITY = (1, 20)
"""k of the plain majority, the protocol of ISD and MSF."""
WEIGHTED, TEMPERATURE = 200, 0.1
"""k and temperature of the weighted vote, the protocol of most other papers."""


@dataclass(frozen=True)
class Features:
    """What a probe is given."""

    bank_NF: Tensor
    """Features with known labels."""
    bank_labels_N: Tensor
    """(N,) int64."""
    query_QF: Tensor
    """Features to be classified."""
    query_labels_Q: Tensor
    """(Q,) int64, the right answers."""
    split: str
    """As in `Score.split`."""
    which: str
    """As in `Score.which`."""
    protocol: str
    """How the features were made and which pictures they are of."""
    seed: int
    """What random choices follow from."""

    def score(self, name: str, k: int | None, predicted_Q: Tensor, protocol: str) -> Score:
        """The share of right predictions, with its protocol."""
        value = knn.accuracy(predicted_Q, self.query_labels_Q)
        return Score(
            name=name,
            k=k,
            value=value,
            protocol=f"{protocol}; {self.protocol}",
            split=self.split,
            n=len(self.query_labels_Q),
            which=self.which,
        )


def knn_scores(features: Features) -> list[Score]:
    """Majority for k = 1 and 20, and the weighted vote for k = 200; k is cut where the bank is smaller."""
    count = len(features.bank_NF)
    found = knn.neighbours(features.query_QF, features.bank_NF, min(max(*MAJORITY, WEIGHTED), count))
    scores = []
    for k in MAJORITY:
        predicted_Q = knn.majority(found, features.bank_labels_N, min(k, count))
        ties = ", ties to the nearest" if k > 1 else ""
        words = f"kNN, exact cosine, majority of k={k}{_cut(k, count)}{ties}"
        scores.append(features.score("knn", k, predicted_Q, words))
    predicted_Q = knn.weighted(found, features.bank_labels_N, min(WEIGHTED, count), TEMPERATURE)
    words = f"kNN, exact cosine, k={WEIGHTED}{_cut(WEIGHTED, count)} votes weighted by exp(similarity / {TEMPERATURE})"
    return [*scores, features.score("knn", WEIGHTED, predicted_Q, words)]


def linear_scores(features: Features) -> list[Score]:
    """The linear probe."""
    probe = linear.fit(features.bank_NF, features.bank_labels_N, seed=features.seed)
    words = f"linear probe, {linear.settings_text(probe, features.seed)}"
    return [features.score("linear", None, probe.predict(features.query_QF), words)]


PROBES: Mapping[str, Callable[[Features], list[Score]]] = {"knn": knn_scores, "linear": linear_scores}
"""What an encoder can be scored by."""


def _cut(k: int, count: int) -> str:
    return f" (cut to the {count} pictures of the bank)" if k > count else ""


def on(device: torch.device, features: Features) -> Features:
    """The same with all tensors on `device`."""
    moved = {
        name: getattr(features, name).to(device) for name in ("bank_NF", "bank_labels_N", "query_QF", "query_labels_Q")
    }
    return Features(**moved, split=features.split, which=features.which, protocol=features.protocol, seed=features.seed)
