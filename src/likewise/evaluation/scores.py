"""What an evaluation leaves: numbers that always carry their protocol."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Which = Literal["student", "teacher", "untrained"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number and everything needed to compare it with another."""

    name: Literal["knn", "linear"]
    """Probe."""
    k: int | None
    """Neighbours that vote; None for other probes."""
    value: float
    """Top-1 accuracy, 0 to 1."""
    protocol: str
    """How it was measured, in words. Scores with different protocols are not comparable."""
    split: str
    """From which pictures to which."""
    n: int
    """Pictures scored."""
    which: Which
    """Whose features."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All scores of one call."""

    run: str
    """What was evaluated."""
    data: str
    """On which pictures."""
    scores: list[Score]
    """In the order of the probes; the untrained baseline last."""
    notes: tuple[str, ...] = ()
    """What a reader of the scores should know."""

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return dataclasses.asdict(self)
