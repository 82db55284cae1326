"""One encoder on several data sets: each scored by itself, and the means that tables of transfer print."""

from __future__ import annotations

from collections.abc import Sequence
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
        found: dict[str, list[float]] = {}
        for evaluation in self.evaluations:
            for score in evaluation:
                found.setdefault(_kind(score), []).append(score.value)
        return {
            kind: sum(values) / len(values) for kind, values in found.items() if len(values) == len(self.evaluations)
        }

    def to_json(self) -> dict[str, Any]:
        """One JSON object: `evaluations`, each as from one data set, and `means`."""
        return {"evaluations": [evaluation.to_json() for evaluation in self.evaluations], "means": self.means()}


def transfer(run: Run, data: Sequence[Any], **how: Any) -> Transfer:
    """Evaluate `run` on each of `data`; `how` are the keywords of `evaluate`, the same for all.

    Accuracies are means over classes for those data sets where the field does so (`class_mean` decides for all).
    Raises InputError for no data, and as `evaluate` does.
    """
    if not data:
        raise InputError("no data sets were named to transfer to")
    return Transfer([evaluate(run, one, **how) for one in data])


def _kind(score: Score) -> str:
    """Encoder and probe; accuracy and mean per-class accuracy count as the same, as in published tables."""
    words = [score.which, score.name, score.variant, "" if score.k is None else f"k={score.k}"]
    words.append("" if "accuracy" in score.measure else score.measure)
    return " ".join(word for word in words if word)
