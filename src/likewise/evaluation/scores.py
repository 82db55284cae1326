"""What an evaluation says: scores, each with its protocol, and what a reader should know beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Score:
    """One number and how it was got."""

    name: str
    """`knn` or `linear`."""
    k: int | None
    """Neighbours asked for; None for `linear`."""
    value: float
    """Share of the pictures that were classified correctly, 0 to 1."""
    protocol: str
    """Everything that another person needs to get the same number."""
    split: str
    """The pictures that were classified: `test`, or `held out` where the data has no splits."""
    n: int
    """How many they are."""
    which: str
    """Whose weights: `student`, `teacher`, or `untrained` for the encoder as it was before training."""


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
    """What a reader should know: classes that the bank lacks, pictures left out, ..."""

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object: `scores`, `run`, `data`, `notes`."""
        return {
            "scores": [asdict(score) for score in self.scores],
            "run": self.run,
            "data": self.data,
            "notes": list(self.notes),
        }


def merged(before: list[dict[str, Any]], result: Evaluation) -> list[dict[str, Any]]:
    """The scores of a run with those of `result` added; a score of the same kind on the same data is replaced."""
    new = [{**asdict(score), "data": result.data} for score in result.scores]
    replaced = {_kind(score) for score in new}
    return [score for score in before if _kind(score) not in replaced] + new


def _kind(score: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(score.get(key) for key in ("name", "k", "which", "split", "data"))
