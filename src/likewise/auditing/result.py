"""The result of an audit: curves, agreement of observers, tests, shape bias, and notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.auditing import benchmark
from likewise.auditing.benchmark import Figures, Likeness
from likewise.auditing.consistency import ShapeBias, answer_entropy, confusion, shape_bias
from likewise.auditing.experiments import EXPERIMENTS
from likewise.auditing.reference import bias_by_category, reference
from likewise.auditing.trials import Trials
from likewise.evaluation import significance
from likewise.evaluation.intervals import wilson

UNDISTORTED = "undistorted"
"""What the images as they are stand under, beside the experiments."""
CERTAIN = 0.05
"""Differences with a smaller p, raised for the number of tests, are told as such."""


class LevelPoint(NamedTuple):
    """An observer at one level."""

    level: str
    accuracy: float
    low: float
    """Ends of the 95 % interval (Wilson)."""
    high: float
    n: int
    """Trials."""
    entropy: float
    """Of the answers in bits; the logarithm of the number of categories where all are answered equally often."""


class ObserverDifference(NamedTuple):
    """Whether the audited encoder is better or worse than another one."""

    experiment: str
    """Or `UNDISTORTED`."""
    other: str
    test: significance.Test
    """First less other, over the same images, distorted levels pooled."""
    p: float
    """Raised for the number of tests (Holm)."""

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `no clear difference`."""
        if self.p >= CERTAIN:
            return "no clear difference"
        return "better" if self.test.difference > 0 else "worse"


class Example(NamedTuple):
    """A stimulus that the audited encoder got wrong, and the image that it was made of."""

    experiment: str
    level: str
    image_SS3: NDArray[np.uint8]
    shown_SS3: NDArray[np.uint8]
    truth: str
    taken: str
    """What it was taken for."""


@dataclass(frozen=True)
class Audit:
    """The result."""

    observers: tuple[str, ...]
    """Encoders; the first is the one that is audited."""
    categories: tuple[str, ...]
    """What is decided among."""
    trials: tuple[Trials, ...]
    """All answers, of each observer in each experiment."""
    plain: Mapping[str, NDArray[np.bool_]]
    """Whether each undistorted image is answered right, by observer; empty where only others' stimuli were shown."""
    data: str
    """What the images are of."""
    protocol: str
    """How answers and stimuli were made."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    people: tuple[Trials, ...] = ()
    """Trials of people, where they were given."""
    examples: tuple[Example, ...] = ()
    """Mistakes of the audited encoder."""
    seconds: float = 0.0
    """How long it took, features of the training images included."""
    _curves: dict[str, dict[str, list[LevelPoint]]] = field(default_factory=dict, repr=False)

    @property
    def experiments(self) -> tuple[str, ...]:
        """Those that were shown."""
        return tuple(benchmark.by_experiment(self.trials))

    def of(self, experiment: str, observer: str) -> Trials:
        """The trials of one observer in one experiment."""
        return next(one for one in self.trials if (one.experiment, one.observer) == (experiment, observer))

    def curves(self) -> dict[str, dict[str, list[LevelPoint]]]:
        """By experiment and observer."""
        if not self._curves:
            for name in self.experiments:
                self._curves[name] = {who: points(self.of(name, who), len(self.categories)) for who in self.observers}
        return self._curves

    def accuracy(self, experiment: str, observer: str) -> float:
        """Over all distorted levels."""
        return float(distorted(self.of(experiment, observer)).right.mean())

    def plain_accuracy(self, observer: str) -> float:
        """On the images as they are; NaN where none were shown."""
        return float(self.plain[observer].mean()) if observer in self.plain else math.nan

    def likeness(self, experiment: str, first: str, second: str) -> Likeness:
        """Of two observers over the distorted levels."""
        return benchmark.likeness(self.of(experiment, first), self.of(experiment, second), left_out(experiment))

    def kappa(self) -> NDArray[np.float64]:
        """(O, O) error consistency of the observers, the mean over experiments; 1 on the diagonal."""
        found = np.eye(len(self.observers))
        for row, first in enumerate(self.observers):
            for column, second in enumerate(self.observers[:row]):
                values = [self.likeness(name, first, second).error for name in self.experiments]
                found[row, column] = found[column, row] = float(np.mean(values))
        return found

    def contrasts(self) -> list[ObserverDifference]:
        """The audited encoder against each other one: paired tests, p raised for how many there are (Holm 1979)."""
        first, tests = self.observers[0], []
        for other in self.observers[1:]:
            if self.plain:
                test = significance.mcnemar(self.plain[other], self.plain[first])
                tests.append((UNDISTORTED, other, test))
            tests += [(name, other, _paired(self.of(name, other), self.of(name, first))) for name in self.experiments]
        raised = significance.holm([test.p for _, _, test in tests])
        return [ObserverDifference(*result, p) for result, p in zip(tests, raised, strict=True)]

    def against_people(self) -> dict[str, dict[str, Figures]]:
        """By observer and experiment, where people have seen the same stimuli."""
        found = {who: benchmark.against_people(self._own(who), self.people) for who in self.observers}
        return {who: figures for who, figures in found.items() if figures}

    def ranks(self) -> dict[str, float]:
        """Mean rank of each observer against people, 1 the best; empty where people have not seen the stimuli."""
        return benchmark.ranks({who: benchmark.mean_of(found) for who, found in self.against_people().items()})

    def shape_bias(self) -> dict[str, tuple[ShapeBias, dict[str, float]]]:
        """By observer: of all cue conflicts, and the bias by category of the shape; empty without cue conflicts.

        Those whose texture is none of the categories are left out.
        """
        if "cue-conflict" not in self.experiments:
            return {}
        found = {}
        for who in self.observers:
            own = self.of("cue-conflict", who)
            texture_N = benchmark.texture_of(own.image_N, self.categories)
            known = texture_N >= 0  # of other textures only the answer by shape would ever count
            whole = shape_bias(own.answer_N[known], own.truth_N[known], texture_N[known])
            found[who] = whole, bias_by_category([own], self.categories)
        return found

    def confusion(self, experiment: str, observer: str) -> NDArray[np.float64]:
        """(K + 1, K) per cent of each true category's distorted trials, by answer; the last row is no answer."""
        own = distorted(self.of(experiment, observer))
        return confusion(own.answer_N, own.truth_N, len(self.categories))

    def _own(self, observer: str) -> list[Trials]:
        return [one for one in self.trials if one.observer == observer]

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        kappa = self.kappa()
        result = reference()
        return {
            "observers": list(self.observers),
            "categories": list(self.categories),
            "data": self.data,
            "protocol": self.protocol,
            "seconds": round(self.seconds, 2),
            "undistorted": {who: self.plain_accuracy(who) for who in self.plain},
            "experiments": {
                name: {
                    "accuracy": {who: self.accuracy(name, who) for who in self.observers},
                    "curves": {who: [point._asdict() for point in line] for who, line in lines.items()},
                    "confusion": {who: np.round(self.confusion(name, who), 3).tolist() for who in self.observers},
                    "people": dict(result.curves[name]),
                }
                for name, lines in self.curves().items()
            },
            "pairs": [
                {"experiment": name, "first": a, "second": b, **self.likeness(name, a, b)._asdict()}
                for name in self.experiments
                for row, a in enumerate(self.observers)
                for b in self.observers[row + 1 :]
            ],
            "kappa": kappa.tolist(),
            "tests": [
                {
                    "experiment": one.experiment,
                    "other": one.other,
                    "verdict": one.verdict,
                    **one.test._asdict(),
                    "p_holm": one.p,
                }
                for one in self.contrasts()
            ],
            "shape_bias": {
                who: {**_plain(bias), "by_category": {name: _known(value) for name, value in each.items()}}
                for who, (bias, each) in self.shape_bias().items()
            },
            "people": {
                who: {name: figures._asdict() for name, figures in found.items()}
                for who, found in self.against_people().items()
            },
            "ranks": self.ranks(),
            "notes": list(self.notes),
        }

    def to_text(self, *, brief: bool = False) -> str:
        """For a terminal; `brief`: the result alone."""
        from likewise.auditing.text import as_text

        return as_text(self, brief=brief)


def points(trials: Trials, categories: int) -> list[LevelPoint]:
    """Accuracy with its interval, and entropy of the answers, at each level that was shown."""
    found = []
    for level in EXPERIMENTS[trials.experiment].conditions:
        at = trials.condition_N == level
        if at.any():
            n, right = int(at.sum()), int(trials.right[at].sum())
            span = wilson(right, n)
            found.append(
                LevelPoint(level, right / n, span.low, span.high, n, answer_entropy(trials.answer_N[at], categories))
            )
    return found


def left_out(experiment: str) -> tuple[str, ...]:
    """Levels that are not distorted."""
    level = EXPERIMENTS[experiment].undistorted
    return () if level is None else (level,)


def distorted(trials: Trials) -> Trials:
    """The trials at distorted levels."""
    return trials.without(left_out(trials.experiment))


def _paired(other: Trials, first: Trials) -> significance.Test:
    """`first` less `other` over the same images: McNemar's test, or where images are shown at all levels a paired t."""
    one, two = distorted(other), distorted(first)
    images, row = np.unique(one.image_N, return_inverse=True)
    if len(images) == len(one):
        return significance.mcnemar(one.right, two.right)
    levels, column = np.unique(one.condition_N, return_inverse=True)
    both = np.zeros((2, len(levels), len(images)), dtype=bool)
    for place, trials in enumerate((one, two)):
        both[place, column, row] = trials.right
    return significance.over_images(both[0], both[1])


def _plain(bias: ShapeBias) -> dict[str, float | None]:
    return {name: _known(value) for name, value in bias._asdict().items()}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def mistaken(
    stimuli: NDArray[np.uint8],
    originals: NDArray[np.uint8],
    trials: Trials,
    plain_right_N: NDArray[np.bool_],
    categories: Sequence[str],
    most: int = 6,
) -> list[Example]:
    """Stimuli that were answered wrong while the image itself was answered right, from the weakest level on.

    All arguments have a row for each trial.
    """
    order = {level: place for place, level in enumerate(EXPERIMENTS[trials.experiment].conditions)}
    wrong = np.flatnonzero(plain_right_N & ~trials.right & ~np.isin(trials.condition_N, left_out(trials.experiment)))
    wrong = wrong[np.argsort([order[level] for level in trials.condition_N[wrong]], kind="stable")]
    chosen = wrong[np.unique(np.linspace(0, len(wrong) - 1, min(most, len(wrong))).round().astype(int))]
    return [
        Example(
            trials.experiment,
            str(trials.condition_N[row]),
            originals[row].copy(),
            stimuli[row].copy(),
            categories[int(trials.truth_N[row])],
            categories[int(trials.answer_N[row])],
        )
        for row in chosen.tolist()
    ]
