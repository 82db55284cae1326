"""Gain by training: each score beside that of the untrained encoder, with a test of the difference.

Both encoders are asked about the same images, so it is the images that only one of them gets right which say
something (`likewise.evaluation.significance`): the interval is of the difference, and narrower than two intervals
beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from likewise.evaluation.predictions import Answers
from likewise.evaluation.scores import CLASS_MEAN, kind, label_of, rule_of
from likewise.evaluation.significance import LEVEL, Test, holm, mcnemar, over_classes

BASELINES = ("untrained", "random")
"""Roles of encoders that were not trained here."""


@dataclass(frozen=True)
class Change:
    """One score less that of the encoder before training."""

    label: str
    """The probe in a few words."""
    which: str
    """Whose score it is: `student` or `teacher`."""
    against: str
    """What it is compared with: `untrained` or `random`."""
    data: str
    split: str
    before: float
    after: float
    low: float | None
    """Lower end of the 95 % interval of the difference; None where the answers to single images are not known."""
    high: float | None
    how: str
    """How the interval was got."""
    p: float | None = None
    """Probability of a difference as large by chance, raised for how many of the data were tested (Holm 1979)."""

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before

    @property
    def outcome(self) -> str:
        """`better`, `worse`, `unclear` where chance may do as much, or `unknown` where there is no interval.

        Chance may where the interval includes 0, and where so many scores were tested that one of them may exclude it.
        """
        if self.low is None or self.high is None:
            return "unknown"
        if self.includes_zero or (self.p is not None and self.p > 1 - LEVEL):
            return "unclear"
        return "better" if self.low > 0 else "worse"

    @property
    def includes_zero(self) -> bool:
        """Whether the interval does."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high

    def figure(self) -> str:
        """`+1.0 points (-6.1 to +8.1)`."""
        points = f"{100 * self.difference:+.1f} points"
        if self.low is None or self.high is None:
            return points
        return f"{points} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the difference and the outcome."""
        return {**asdict(self), "difference": self.difference, "outcome": self.outcome}


def changes(
    scores: Iterable[Mapping[str, Any]], answers_of: Callable[[Mapping[str, Any]], Answers | None]
) -> list[Change]:
    """The change of every share that was also measured of the untrained encoder, by the same rule.

    `scores` as in run.json, where the untrained encoder may have been scored at another time and from other labels.
    """
    known = {kind(dict(score)): score for score in scores if score.get("unit", "share") == "share"}
    found = []
    for key, score in known.items():
        for against in BASELINES:
            before = known.get(tuple(against if part == score["which"] else part for part in key))
            if score["which"] not in BASELINES and before is not None and _alike(score, before):
                found.append(_change(score, before, answers_of(score), answers_of(before)))
    return _raised(found)


def _alike(score: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return rule_of(str(score["protocol"])) == rule_of(str(before["protocol"]))


def _raised(found: Sequence[Change]) -> list[Change]:
    """The same with the probabilities of each data set raised for how many there are."""
    raised: dict[int, float] = {}
    for data in dict.fromkeys(change.data for change in found):
        tests = {at: one.p for at, one in enumerate(found) if one.data == data and one.p is not None}
        raised |= dict(zip(tests, holm(list(tests.values())), strict=True))
    return [replace(change, p=raised.get(at)) for at, change in enumerate(found)]


def _change(score: Mapping[str, Any], before: Mapping[str, Any], now: Answers | None, then: Answers | None) -> Change:
    test = None if now is None or then is None else tested(score.get("measure", "accuracy"), now, then)
    return Change(
        label=label_of(score),
        which=str(score["which"]),
        against=str(before["which"]),
        data=str(score.get("data", "")),
        split=str(score["split"]),
        before=float(before["value"]),
        after=float(score["value"]),
        low=None if test is None else test.low,
        high=None if test is None else test.high,
        how="" if test is None else test.how,
        p=None if test is None else test.p,
    )


def tested(measure: str, now: Answers, then: Answers) -> Test | None:
    """The difference of two accuracies over the same images; None where they are of others, or another measure."""
    if now.images != then.images or len(now.truth_Q) != len(then.truth_Q):
        return None
    if measure == "accuracy":
        return mcnemar(then.right, now.right)
    return over_classes(then.right, now.right, now.truth_Q) if measure == CLASS_MEAN else None


def verdict(found: Sequence[Change]) -> str:
    """All changes in one plain sentence; empty where there are none."""
    if not found:
        return ""
    named = {
        outcome: list(dict.fromkeys(change.label for change in found if change.outcome == outcome))
        for outcome in ("worse", "better", "unclear", "unknown")
    }
    against = " and ".join(dict.fromkeys(change.against for change in found))
    if len(found) == len(named["unknown"]):
        return f"whether it differs from {against} by more than chance is not known of these scores"
    unclear = [change for change in found if change.outcome == "unclear"]
    includes = f"no clear gain: the interval{'s include' if len(named['unclear']) > 1 else ' includes'} 0"
    if not all(change.includes_zero for change in unclear):
        includes = f"no clear gain: among {len(found)} scores chance does as much"
    if not named["worse"] and not named["better"]:
        return includes
    parts = [f"{word} than {against} on {', '.join(named[word])}" for word in ("worse", "better") if named[word]]
    if named["unclear"]:
        parts.append(f"{', '.join(named['unclear'])}: {includes}")
    return "; ".join(parts)
