"""One encoder on several data sets: each scored by itself, and the means that tables of transfer print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.errors import InputError
from likewise.evaluation.encoder_source import Run
from likewise.evaluation.scores import Evaluation, Score
from likewise.verbs.judging.evaluate import evaluate


@dataclass(frozen=True)
class Transfer:
    """Scores of one encoder on each data set."""

    evaluations: list[Evaluation]
    """One for each data set, in the order asked for."""

    def means(self) -> dict[str, float]:
        """For each encoder and probe the plain mean over the data sets; only probes that all of them have."""
        return self._mean(lambda score: score.value)

    def log_odds(self) -> dict[str, float]:
        """The same of ln(p / (1 - p)), p an accuracy: what tables of t-ReX print (arXiv 2206.15369, section 4).

        A step from 98 % to 99 % counts as one from 50 % to 67 % does. p stays half an image away from 0 and from 1.
        """
        return self._mean(_log_odds, lambda score: "accuracy" in score.measure and score.unit == "share")

    def _mean(
        self, value: Callable[[Score], float], wanted: Callable[[Score], bool] = lambda _: True
    ) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for evaluation in self.evaluations:
            for score in filter(wanted, evaluation):
                found.setdefault(_kind(score), []).append(value(score))
        return {
            kind: sum(values) / len(values) for kind, values in found.items() if len(values) == len(self.evaluations)
        }

    def to_json(self) -> dict[str, Any]:
        """One JSON object: `evaluations`, each as from one data set, `means` and `log_odds`."""
        evaluations = [evaluation.to_json() for evaluation in self.evaluations]
        return {"evaluations": evaluations, "means": self.means(), "log_odds": self.log_odds()}


def transfer(run: Run, data: Sequence[Any], **how: Any) -> Transfer:
    """Evaluate `run` on each of `data`; `how` are the keywords of `evaluate`, the same for all.

    Accuracies are means over classes for those data sets where the field does so (`class_mean` decides for all).
    Raises InputError for no data, and as `evaluate` does.
    """
    if not data:
        raise InputError("no data sets were named to transfer to")
    return Transfer([evaluate(run, one, **how) for one in data])


def _log_odds(score: Score) -> float:
    nearest = 0.5 / max(1, score.n)
    share = min(max(score.value, nearest), 1 - nearest)
    return math.log(share / (1 - share))


def _kind(score: Score) -> str:
    """Encoder and probe; accuracy and mean per-class accuracy count as the same, as in published tables."""
    words = [score.which, score.name, score.variant, "" if score.k is None else f"k={score.k}"]
    words.append("" if "accuracy" in score.measure else score.measure)
    return " ".join(word for word in words if word)
