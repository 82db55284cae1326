"""The data of a report: the content of a run directory, read once, and a few derived numbers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

from likewise.encoders.files.chosen import deployed
from likewise.evaluation.scores import label_of, rule_of
from likewise.runs import RunDirectory

PARTS = ("data", "views", "model")
"""What the time of a step is spent on."""


class Curve(NamedTuple):
    """One measured quantity over time."""

    x: list[float]
    """Minutes of training."""
    y: list[float]
    """Finite values."""


class Gain(NamedTuple):
    """A score before and after training, by the same protocol on the same images."""

    before: float | None
    after: float
    what: str
    """What was measured, in words."""
    change: str = ""
    """How much it changed, with an interval, and whether that is more than chance."""
    outcome: str = "unknown"
    """`better`, `worse`, `unclear` where the interval includes 0, or `unknown`."""


@dataclass(frozen=True)
class RunFacts:
    """Everything that the report says about a run. Every field may lack what an unfinished run does not know yet."""

    path: Path
    """The run directory."""
    run: dict[str, Any]
    """run.json."""
    metrics: list[dict[str, Any]]
    """metrics.jsonl."""
    broken: list[dict[str, Any]]
    """broken.json: images that were left out, with reasons."""

    @classmethod
    def read(cls, path: Path) -> RunFacts:
        """Read a run directory. Raises InputError where there is none, or run.json is damaged."""
        directory = RunDirectory.open(path)
        return cls(path, directory.read(), directory.metrics(), _list_in(path / "broken.json"))

    def part(self, name: str) -> dict[str, Any]:
        """An object of run.json, empty where there is none."""
        found = self.run.get(name)
        return found if isinstance(found, dict) else {}

    def curve(self, name: str) -> Curve:
        """A column of the metrics over minutes (steps, where lines lack the time); `knn` from before training on."""
        points = [
            (float(line.get("minutes", line.get("step", number))), float(value))
            for number, line in enumerate(self.metrics)
            if isinstance(value := line.get(name), int | float) and math.isfinite(value)
        ]
        before = self.part("online").get("before") if name == "knn" else None
        if isinstance(before, int | float):
            points.insert(0, (0.0, float(before)))
        return Curve([x for x, _ in points], [y for _, y in points])

    def last(self, name: str) -> Any:
        """The newest value of a column that is there, or None."""
        return next((line[name] for line in reversed(self.metrics) if line.get(name) is not None), None)

    def recent(self, name: str) -> float | None:
        """Mean of the last twentieth of a column, or None where there is no number."""
        values = self.curve(name).y
        tail = values[-max(1, len(values) // 20) :]
        return sum(tail) / len(tail) if tail else None

    @cached_property
    def minutes(self) -> float:
        """Time of training so far."""
        return float(self.run.get("minutes") or self.last("minutes") or 0.0)

    @cached_property
    def images_seen(self) -> int:
        """Images that passed through the encoder, each pass counted."""
        return int(self.last("images") or 0)

    @cached_property
    def images_per_second(self) -> float | None:
        """Over the whole run."""
        return self.images_seen / (60 * self.minutes) if self.minutes and self.images_seen else None

    @cached_property
    def queue(self) -> int | None:
        """K, what the teacher's entropy is compared with."""
        value = self.part("settings").get("queue_size")
        return int(value) if isinstance(value, int | float) and value > 1 else None

    @cached_property
    def time_shares(self) -> dict[str, float] | None:
        """Shares of the time that went to data, views, model and the rest; None where it was not measured."""
        spent = dict.fromkeys(PARTS, 0.0)
        total, before = 0.0, 0.0
        for line in self.metrics:
            now = float(line.get("minutes") or before)
            shares = [line.get(f"share_{part}") for part in PARTS]
            if all(isinstance(share, int | float) for share in shares):
                lasted = max(now - before, 1e-9)
                total += lasted
                for part, share in zip(PARTS, shares, strict=True):
                    spent[part] += lasted * float(share or 0.0)
            before = now
        if not total:
            return None
        shares_of = {part: value / total for part, value in spent.items()}
        return {**shares_of, "rest": max(0.0, 1.0 - sum(shares_of.values()))}

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        """Those of run.json that are whole."""
        needed = ("name", "k", "value", "protocol", "split", "n", "which")
        found = self.run.get("scores")
        scores = found if isinstance(found, list) else []
        return [score for score in scores if isinstance(score, dict) and all(key in score for key in needed)]

    @cached_property
    def gain(self) -> Gain | None:
        """The gain by training, by 20 nearest neighbours where that was measured; None where nothing was."""
        scores = [score for score in self.scores if score.get("measure", "accuracy") == "accuracy"]
        order: dict[tuple[Any, Any], int] = {("knn", 20): 0, ("knn", 1): 1, ("knn", 200): 2, ("linear", None): 3}
        trained = [score for score in scores if score.get("which") != "untrained"]
        used = deployed(self.path)
        trained.sort(key=lambda score: (score.get("which") != used, order.get((score.get("name"), score.get("k")), 9)))
        if trained:
            best = trained[0]
            same = ("name", "k", "split", "data")
            before = next(
                (
                    score["value"]
                    for score in scores
                    if score.get("which") == "untrained"
                    and all(score.get(key) == best.get(key) for key in same)
                    and rule_of(score["protocol"]) == rule_of(best["protocol"])
                ),
                None,
            )
            probe = "linear probe" if best["name"] == "linear" else f"{best['k']}-nearest-neighbour"
            what = f"{probe} accuracy on {best['n']:,} {best['split']} images"
            return Gain(before, best["value"], what, *self._changed(best))
        values = self.curve("knn").y
        if not values:
            return None
        before = values[0] if len(values) > 1 else None
        online = self.part("online")
        result = f"{interval_words(online, values[-1] - before)}" if before is not None and "low" in online else ""
        what = "nearest-neighbour accuracy while training, on a fixed sample"
        return Gain(before, values[-1], what, result, str(online.get("outcome", "unknown")))

    def _changed(self, score: dict[str, Any]) -> tuple[str, str]:
        """The change of a score over the untrained encoder in words, and its outcome."""
        found = self.change_of(score)
        if found is None:
            return "", "unknown"
        return interval_words(found, found["difference"]), str(found["outcome"])

    def change_of(self, score: dict[str, Any]) -> dict[str, Any] | None:
        """The gain of a score over that of the untrained encoder in run.json; None where there is none."""
        stored = self.run.get("changes")
        for change in stored if isinstance(stored, list) else []:
            same = all(change.get(key) == score.get(key) for key in ("which", "data", "split"))
            if same and change.get("against") == "untrained" and change.get("label") == label_of(score):
                return cast("dict[str, Any]", change)
        return None


OUTCOMES = {
    "better": "better than untrained",
    "worse": "worse than untrained",
    "unclear": "no clear gain: the interval includes 0",
    "unknown": "whether by more than chance is not known",
}
"""What the outcome of a comparison with the untrained encoder means."""


def interval_words(change: dict[str, Any], difference: float) -> str:
    """`+1.0 points (-6.1 to +8.1): no clear gain: the interval includes 0`."""
    low, high = change.get("low"), change.get("high")
    span = f" ({100 * low:+.1f} to {100 * high:+.1f})" if low is not None and high is not None else ""
    return f"{100 * difference:+.1f} points{span}, {OUTCOMES[str(change.get('outcome', 'unknown'))]}"


def _list_in(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON list; none where the file is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
