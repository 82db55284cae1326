"""The result of an evaluation: scores, each with its protocol, and notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from likewise.evaluation.gain import Change


CLASS_MEAN = "mean per-class accuracy"
"""The measure of a score that is the mean over classes of their accuracies."""


class ClassScore(NamedTuple):
    """The accuracy of one class."""

    name: str
    """As the data calls it, or its number."""
    value: float
    """Share of its images that were classified correctly."""
    n: int
    """Images of it that were classified."""
    frequency: int
    """Images of it to learn from: in the bank, or in the training data of the run where that was skewed."""


class GroupScore(NamedTuple):
    """The mean accuracy of a group of classes: the frequent ones, say."""

    value: float
    """Mean over the classes of the group of the share classified correctly."""
    classes: int
    """Classes in the group that were asked for."""
    n: int
    """Images of them."""


@dataclass(frozen=True)
class Score:
    """One number and how it was got."""

    name: str
    """The probe: `knn`, `linear`, `fewshot`, ..."""
    k: int | None
    """Neighbours or shots asked for; None where there is no such number."""
    value: float
    """Share of the images that were classified correctly, 0 to 1, unless `measure` says otherwise."""
    protocol: str
    """Everything that another person needs to get the same number."""
    split: str
    """The images that were classified: `test`, or `held out` where the data has no splits."""
    n: int
    """How many they are."""
    which: str
    """Whose weights: `student`, `teacher`, or `untrained` for the encoder as it was before training."""
    measure: str = "accuracy"
    """What the value is: `accuracy`, `mean per-class accuracy`, `NMI`, `mAP`, ..."""
    unit: Literal["share", "number"] = "share"
    """A share of something, told in per cent, or another number, such as a rank."""
    variant: str = ""
    """What tells apart several scores of one probe and k: `5-way logistic`, `1% of the labels`, ..."""
    low: float | None = None
    """Lower end of the 95 % interval; None where there is none."""
    high: float | None = None
    """Upper end."""
    interval: str = ""
    """How the interval was got."""
    per_class: tuple[ClassScore, ...] | None = None
    """By class, the most frequent first; where the frequencies are skewed, or asked for."""
    groups: Mapping[str, GroupScore] | None = None
    """The same by group: `many`, `medium` and `few`, or the groups of the draw (`large`, `rare`)."""
    predicted: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)
    """(n,) the class each image was given, in the order of the queries; not saved with the score."""

    def to_json(self) -> dict[str, Any]:
        """As plain values, without the predictions and without what is not known."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "predicted"}
        optional = {"variant", "low", "high", "interval", "per_class", "groups"}
        found = {
            key: value for key, value in found.items() if key not in optional or (value is not None and value != "")
        }
        if self.per_class is not None:
            found["per_class"] = [entry._asdict() for entry in self.per_class]
        if self.groups is not None:
            found["groups"] = {name: entry._asdict() for name, entry in self.groups.items()}
        return found

    def label(self) -> str:
        """The probe in a few words: `knn k=20`, `fewshot 5-way prototype k=1`, `clustering NMI`."""
        return label_of({"name": self.name, "variant": self.variant, "k": self.k, "measure": self.measure})

    def figure(self) -> str:
        """The value for people, with its interval: `81.20% (80.42 to 81.95)`."""
        if self.unit == "number":
            return f"{self.value:.4g}"
        span = "" if self.low is None or self.high is None else f" ({100 * self.low:.2f} to {100 * self.high:.2f})"
        return f"{self.value:.2%}{span}"


@dataclass(frozen=True)
class Evaluation:
    """All scores of one encoder on one data set. Iterating gives the scores."""

    scores: list[Score]
    """In the order in which they were asked for; those of the untrained encoder come last."""
    run: str | None
    """Run directory or weights file; None for an encoder in memory."""
    data: str
    """Path or name of the data."""
    notes: list[str]
    """What a reader should know: classes that the bank lacks, images left out, ..."""
    changes: list[Change] = field(default_factory=list)
    """Of each score over the untrained encoder, where that was scored too."""

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object: `scores`, `changes`, `run`, `data`, `notes`."""
        return {
            "scores": [score.to_json() for score in self.scores],
            "changes": [change.to_json() for change in self.changes],
            "run": self.run,
            "data": self.data,
            "notes": list(self.notes),
        }


def merged(before: list[dict[str, Any]], result: Evaluation) -> list[dict[str, Any]]:
    """The scores of a run with those of `result` added; a score of the same kind on the same data is replaced."""
    new = [{**score.to_json(), "data": result.data} for score in result.scores]
    replaced = {kind(score) for score in new}
    return [score for score in before if kind(score) not in replaced] + new


def label_of(score: Mapping[str, Any]) -> str:
    """The name of a score of run.json in a few words, as `Score.label`."""
    words = [str(score["name"]), str(score.get("variant", "")), "" if score["k"] is None else f"k={score['k']}"]
    measure = str(score.get("measure", "accuracy"))
    words.append("" if measure == "accuracy" else measure)
    return " ".join(word for word in words if word)


_CHOSEN = re.compile(r"(?<=weight decay )\S+ (?=of )|(?<=C = )\S+ (?=of )|(?<=epoch )\d+(?=, the best)")


def rule_of(protocol: str) -> str:
    """A protocol without what the probe chose by it: two encoders with other decays were judged by the same rule.

    So were those that older versions wrote down, which had another word for images.
    """
    return _CHOSEN.sub("", protocol).replace("picture", "image")


def kind(score: dict[str, Any]) -> tuple[Any, ...]:
    """The values that identify a score among those of its run."""
    result = {"measure": "accuracy", "variant": "", **score}  # runs of older versions do not say
    return tuple(result.get(key) for key in ("name", "k", "measure", "variant", "which", "split", "data"))
