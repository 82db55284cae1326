"""What a run directory says, read leniently: a report of half a run is better than none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from likewise import methods
from likewise.errors import InputError
from likewise.report import scoring
from likewise.report.text import number
from likewise.training.run import RunDirectory

Tone = str
"""`good`, `warn`, `bad` or `plain`: a class of the style sheet."""
TONES: Mapping[str, Tone] = {"healthy": "good", "at risk": "warn", "collapsed": "bad"}


@dataclass(frozen=True)
class Facts:
    """Everything a section may show."""

    path: Path
    """The run directory, as the caller named it."""
    run: dict[str, Any]
    """run.json."""
    metrics: Sequence[dict[str, Any]]
    """Lines of metrics.jsonl."""
    broken: Sequence[tuple[str, str]]
    """(name, reason) of each picture that could not be read."""
    pictures: dict[str, Any] | None
    """What `likewise.report.pictures.show` made, now or earlier."""

    def part(self, name: str) -> dict[str, Any]:
        """An object inside run.json; empty where it is missing."""
        found = self.run.get(name)
        return found if isinstance(found, dict) else {}

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        """Epochs and values of one measure, lines without a finite value left out."""
        found = [(number(line.get("epoch")), number(line.get(name))) for line in self.metrics]
        kept = [(epoch, value) for epoch, value in found if epoch is not None and value is not None]
        return [epoch for epoch, _ in kept], [value for _, value in kept]

    def typical(self, name: str) -> float | None:
        """Mean over the second half of the run, where it has found its pace; None without values."""
        values = self.curve(name)[1]
        later = values[len(values) // 2 :]
        return sum(later) / len(later) if later else None

    @cached_property
    def title(self) -> str:
        """Full name of the method; its short one where the method is not installed here."""
        name = str(self.run.get("method", "unknown method"))
        try:
            return methods.find(name).card.title
        except InputError:
            return name

    @cached_property
    def paper(self) -> str | None:
        """Where the method was published."""
        try:
            return methods.find(str(self.run.get("method", ""))).card.paper
        except InputError:
            return None

    @cached_property
    def health(self) -> str | None:
        """Last verdict, None before the first."""
        verdicts = [line["health"] for line in self.metrics if isinstance(line.get("health"), str)]
        return verdicts[-1] if verdicts else None

    @cached_property
    def minutes(self) -> float | None:
        """Training time."""
        noted = number(self.run.get("minutes"))
        return noted if noted is not None else number(self.metrics[-1].get("minutes")) if self.metrics else None

    @cached_property
    def comparisons(self) -> list[scoring.Comparison]:
        """Scores that may be compared side by side."""
        scores = self.run.get("scores")
        return scoring.comparisons(score for score in scores if isinstance(score, dict)) if scores else []

    @cached_property
    def encoder(self) -> str:
        """`resnet18, width 16`."""
        spec = self.part("encoder")
        name, width = str(spec.get("name", "encoder")), spec.get("width")
        return f"{name}, width {width}" if width not in {None, 64} else name


def gather(path: Path, shown: dict[str, Any] | None) -> Facts:
    """Read a run. Raises InputError where `path` holds none, or its run.json is damaged."""
    directory = RunDirectory.open(path)
    return Facts(path, directory.read(), directory.metrics(), _broken(path / "broken.json"), shown)


def _broken(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError:
        return []
    entries = found if isinstance(found, list) else []
    return [(str(entry.get("name", "")), str(entry.get("reason", ""))) for entry in entries if isinstance(entry, dict)]
