"""Scores of a run, with those that may be compared side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from likewise.report.text import number

ROLES = ("untrained", "student", "teacher")


@dataclass
class Comparison:
    """One probe under one protocol on one split: a number for each encoder that was scored so."""

    name: str
    """Probe: knn, linear, ..."""
    k: int | None
    """Neighbours that vote."""
    protocol: str
    """How it was measured."""
    split: str
    """From which pictures to which."""
    n: int | None
    """Pictures scored."""
    data: str
    """Name of the data."""
    values: dict[str, float] = field(default_factory=dict)
    """Accuracy from 0 to 1 by role."""

    @property
    def title(self) -> str:
        """`kNN, k = 20` or `linear`."""
        name = {"knn": "kNN", "linear": "Linear"}.get(self.name, self.name)
        return name if self.k is None else f"{name}, k = {self.k}"

    @property
    def before(self) -> float | None:
        """The untrained encoder."""
        return self.values.get("untrained")

    @property
    def after(self) -> float | None:
        """The trained encoder: the student, or the teacher where only that was scored."""
        return self.values.get("student", self.values.get("teacher"))


def comparisons(scores: Iterable[Mapping[str, Any]]) -> list[Comparison]:
    """Scores grouped by what makes them comparable, in the order they were written; those without a value left out."""
    found: dict[tuple[Any, ...], Comparison] = {}
    for score in scores:
        value = number(score.get("value"))
        if value is None:
            continue
        name, k, data = str(score.get("name", "")), score.get("k"), str(score.get("data", ""))
        protocol, split = str(score.get("protocol", "")), str(score.get("split", ""))
        # Numbers inside a protocol may be what the probe chose for itself, such as its penalty.
        key = name, k, data, split, re.sub(r"[\d.e+-]+", "", protocol)
        row = found.setdefault(key, Comparison(name, k, protocol, split, score.get("n"), data))
        role = str(score.get("which", "student"))
        if role != "untrained":
            row.protocol = protocol
        row.values[role] = value
    return list(found.values())


def headline(rows: Iterable[Comparison]) -> Comparison | None:
    """The kNN by majority with k = 20 (or what small data left of it), of the data scored last."""
    votes = [row for row in rows if row.name == "knn" and "majority" in row.protocol and row.after is not None]
    latest = [row for row in votes if row.data == votes[-1].data]
    return max(reversed(latest), key=lambda row: row.k or 0, default=None)


def linear(rows: Iterable[Comparison]) -> Comparison | None:
    """The linear probe scored last."""
    found = [row for row in rows if row.name == "linear" and row.after is not None]
    return found[-1] if found else None
