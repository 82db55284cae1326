"""Scores from features: what each probe measures, and its protocol in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.evaluation import classwise, knn, linear
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
    class_names: Sequence[str] | None = None
    """Name of each class, where the data has them."""
    trained_C: NDArray[np.int64] | None = None
    """Pictures of each class that the encoder was trained on, where that was a skewed draw; else the bank's count."""
    groups: Mapping[str, Sequence[int]] | None = None
    """Classes by the group that the draw put them into; else many-, medium- and few-shot classes."""
    per_class: bool | None = None
    """Whether to give figures by class; None: where classes are of very different frequency."""

    @property
    def frequency(self) -> NDArray[np.int64]:
        """(C,) pictures of each class to learn from."""
        if self.trained_C is not None:
            return self.trained_C
        return np.bincount(self.bank_labels_N.cpu().numpy())

    def score(self, name: str, k: int | None, predicted_Q: Tensor, protocol: str, *, variant: str = "") -> Score:
        """The share of right predictions, with interval, protocol and, where classes are skewed, figures by class."""
        predicted, truth = predicted_Q.cpu().numpy(), self.query_labels_Q.cpu().numpy()
        right = int((predicted == truth).sum())
        low, high, how = classwise.wilson(right, len(truth))
        frequency = self.frequency
        by_class, groups = None, None
        if classwise.is_skewed(frequency) if self.per_class is None else self.per_class:
            by_class, counts = classwise.by_class(predicted, truth, frequency, self.class_names)
            groups = classwise.by_group(*counts, self.groups or classwise.usual_groups(frequency))
        return replace(
            self.measured(name, k, right / len(truth), protocol, variant=variant),
            low=low,
            high=high,
            interval=how,
            per_class=by_class,
            groups=groups,
            predicted=predicted,
        )

    def measured(
        self,
        name: str,
        k: int | None,
        value: float,
        protocol: str,
        *,
        measure: str = "accuracy",
        variant: str = "",
        unit: Literal["share", "number"] = "share",
    ) -> Score:
        """A number that is not a share of right predictions, with its protocol."""
        return Score(
            name=name,
            k=k,
            value=value,
            protocol=f"{protocol}; {self.protocol}",
            split=self.split,
            n=len(self.query_labels_Q),
            which=self.which,
            measure=measure,
            variant=variant,
            unit=unit,
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
    return replace(features, **moved)
