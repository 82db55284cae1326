"""The runs of a comparison, read from their directories: settings, scores, budgets and curves."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.evaluation import predictions
from likewise.evaluation.scores import Evaluation, rule_of
from likewise.files import spelled
from likewise.report.facts import RunFacts

_OWN = ("batch_size", "accumulate", "precision", "device", "sync_batch_norm", "anchor")
_DERIVED = {"optimisation.epochs", "optimisation.batch_size", "encoder.mean", "encoder.std"}
"""What a preset proposes and the run replaces, and what follows from the data."""
_SIDE = re.compile(r"centre crop \([^)]*\) at \d+ px")


class LearningCurve(NamedTuple):
    """One quantity over training."""

    images: list[float]
    """Images seen, each pass counted."""
    minutes: list[float]
    value: list[float]


class Kind(NamedTuple):
    """The values that two scores must share to stand in one column."""

    data: str
    split: str
    n: int
    name: str
    k: int | None
    measure: str
    variant: str
    protocol: str
    """Without what the probe chose for itself, such as a weight decay."""
    images: str
    """Fingerprint of the images, empty where it was not kept."""


@dataclass(frozen=True)
class Scored:
    """One score of one entry."""

    kind: Kind
    which: str
    value: float
    unit: str = "share"
    low: float | None = None
    high: float | None = None
    protocol: str = ""
    right_Q: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)
    """Which images were classified correctly; None where that was not kept."""
    truth_Q: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)
    """The class of each, where that is known."""


@dataclass(frozen=True)
class Entry:
    """One run, or an encoder that is not of a run."""

    name: str
    """As it was named."""
    settings: Mapping[str, Any]
    """Everything that was settled, flat, but the seed."""
    seed: int | None = None
    scores: tuple[Scored, ...] = ()
    images: int | None = None
    """Images seen in training."""
    minutes: float | None = None
    status: str = ""
    curves: Mapping[str, LearningCurve] = field(default_factory=dict)
    """`loss` and `knn`, where they were measured."""


def of_run(path: Path) -> Entry:
    """A run as its directory tells it. Raises InputError where there is none."""
    facts = RunFacts.read(path)
    scores = tuple(_stored(path, score) for score in facts.scores)
    return Entry(
        name=str(path),
        settings=flat_settings(facts.run),
        seed=facts.run.get("seed"),
        scores=scores,
        images=facts.images_seen or None,
        minutes=facts.minutes or None,
        status=str(facts.run.get("status", "")),
        curves={name: curve for name in ("loss", "knn") if (curve := _curve(facts, name)) is not None},
    )


def of_encoder(name: str, result: Evaluation) -> Entry:
    """An encoder without a run, of which only its scores are known."""
    return Entry(name, {"encoder": name}, scores=scores_of(result))


def scores_of(result: Evaluation, truth_Q: NDArray[np.int64] | None = None, images: str = "") -> tuple[Scored, ...]:
    """The scores of an evaluation, with which images were right where `truth_Q` says what they are."""
    found = []
    for score in result.scores:
        right = None if score.predicted is None or truth_Q is None else score.predicted == truth_Q
        stored = {**score.to_json(), "data": result.data}
        found.append(_scored(stored, right, None if right is None else truth_Q, "" if right is None else images))
    return tuple(found)


def flat_settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in run.json under flat names; lists become tuples, so that values can be compared."""
    found = {name: run[name] for name in ("method", "variant") if name in run}
    data = run.get("data")
    if isinstance(data, dict):
        found |= {"data": data.get("name"), "data.fingerprint": data.get("fingerprint")}
        found["data.images"] = data.get("images")
    found |= {name: run[name] for name in _OWN if name in run}
    for part in ("settings", "optimisation", "encoder", "budget"):
        values = run.get(part)
        for name, value in (values if isinstance(values, dict) else {}).items():
            plain = part in {"settings", "budget"} or (part == "encoder" and name == "name")
            found["encoder" if name == "name" else name if plain else f"{part}.{name}"] = value
    return {name: _frozen(value) for name, value in found.items() if name not in _DERIVED}


def at_own_sides(entry: Entry, *, same_images: bool) -> Entry:
    """The entry with scores that do not say at which side images were seen: each encoder as it would be used.

    `same_images`: all entries were scored on the same ones just now, whatever they were decoded to.
    """

    def alike(score: Scored) -> Scored:
        kind = score.kind
        images = f"{kind.data} {kind.split} {kind.n}" if same_images and kind.images else ""
        protocol = _SIDE.sub("centre crop at the encoder's own side", kind.protocol)
        return replace(score, kind=kind._replace(protocol=protocol, images=images))

    return replace(entry, scores=tuple(map(alike, entry.scores)))


def _stored(path: Path, score: Mapping[str, Any]) -> Scored:
    kept = predictions.read(path, score)
    return _scored(score, None, None, "") if kept is None else _scored(score, kept.right, kept.truth_Q, kept.images)


def _scored(
    score: Mapping[str, Any], right_Q: NDArray[np.bool_] | None, truth_Q: NDArray[np.int64] | None, images: str
) -> Scored:
    protocol = str(score["protocol"])
    kind = Kind(
        data=spelled(str(score.get("data", ""))),
        split=str(score["split"]),
        n=int(score["n"]),
        name=str(score["name"]),
        k=score["k"],
        measure=str(score.get("measure", "accuracy")),
        variant=str(score.get("variant", "")),
        protocol=rule_of(protocol),
        images=images,
    )
    value, low, high = (None if score.get(key) is None else float(score[key]) for key in ("value", "low", "high"))
    return Scored(
        kind=kind,
        which=str(score["which"]),
        value=math.nan if value is None else value,
        unit=str(score.get("unit", "share")),
        low=low,
        high=high,
        protocol=protocol,
        right_Q=right_Q,
        truth_Q=truth_Q,
    )


def _curve(facts: RunFacts, name: str) -> LearningCurve | None:
    """A column of the metrics; the score while training begins with that from before."""
    points = [
        (float(line.get("images") or 0), float(line.get("minutes") or 0), float(value))
        for line in facts.metrics
        if isinstance(value := line.get(name), int | float) and math.isfinite(value)
    ]
    before = facts.part("online").get("before") if name == "knn" else None
    if isinstance(before, int | float):
        points.insert(0, (0.0, 0.0, float(before)))
    if len(points) < 2:
        return None
    images, minutes, values = (list(column) for column in zip(*points, strict=True))
    return LearningCurve(images, minutes, values)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def distinct(values: Iterable[Any]) -> list[Any]:
    """The different values in the order in which they come."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def same_images(first: Sequence[Scored]) -> bool:
    """Whether it is known that all of these scores are of the same images."""
    known = all(score.right_Q is not None and score.kind.images for score in first)
    return known and len({score.kind.images for score in first}) == 1
