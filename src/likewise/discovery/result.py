"""The result of a discovery: the classes, estimates of their number, scores, and the list for the next step."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from likewise.discovery.counting import Counted, Estimate
from likewise.discovery.finding import Class, Classes
from likewise.discovery.known import Known
from likewise.discovery.scoring import PROTOCOL, DiscoveryScore
from likewise.selection.exchange import beside

COLUMNS = ("path", "label", "guess", "confidence", "kind")
GIVEN, OLD, NEW, NOT_SURE = "given", "old", "new", "not sure"


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """Classes found among labelled and unlabelled images."""

    known: Known
    """The images and the labels that were known."""
    places: Sequence[str | None]
    """(N,) file of each image, or None where it lies in something else."""
    found: Classes
    """Where each image belongs."""
    classes: list[Class]
    """Each class, the labelled ones first."""
    scores: list[DiscoveryScore]
    """How well they were found; empty where the truth is not known."""
    counted: Counted | None
    """How many classes there may be; None where that was given."""
    sure: float
    """Least confidence of an image that is sure."""
    data: str
    """Path or name of the data."""
    run: str | None
    """Run directory or weights file."""
    protocol: str
    """How the classes were found."""
    notes: list[str]
    """What a reader should know."""

    @property
    def unlabelled(self) -> int:
        """Images without a label."""
        return int((self.known.labels < 0).sum())

    @property
    def unsure(self) -> int:
        """Those of them that are not sure."""
        return sum(one.unsure for one in self.classes)

    @property
    def new(self) -> list[Class]:
        """The classes that no label names."""
        return [one for one in self.classes if one.is_new]

    def kind(self, position: int) -> str:
        """`given`, `old`, `new` or `not sure`."""
        if self.known.labels[position] >= 0:
            return GIVEN
        if self.found.confidence[position] < self.sure:
            return NOT_SURE
        return OLD if self.found.clusters[position] < len(self.found.old) else NEW

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        counted = self.counted
        return {
            "data": self.data,
            "run": self.run,
            "labels": self.known.how,
            "classes": len(self.classes),
            "old": len(self.classes) - len(self.new),
            "new": len(self.new),
            "count": None if counted is None else _counted(counted),
            "unlabelled": self.unlabelled,
            "not_sure": self.unsure,
            "sure_from": self.sure,
            "recovered": {"right": self.found.recovered[0], "of": self.found.recovered[1]},
            "scores": [one._asdict() for one in self.scores],
            "found": [self._class(one) for one in self.classes],
            "protocol": self.protocol if not self.scores else f"{self.protocol}; {PROTOCOL}",
            "notes": self.notes,
        }

    def _class(self, one: Class) -> dict[str, Any]:
        described = one._asdict()
        for name in ("typical", "doubtful"):
            described[name] = [self.name(int(position)) for position in getattr(one, name)]
        return described

    def name(self, position: int) -> str:
        """The file of an image, or else what the data calls it."""
        return self.places[position] or str(self.known.source.names[position])

    def to_csv(self, folder: Path) -> str:
        """The list that `label`, `train` and every verb that takes data reads: path, label, guess, confidence, kind.

        The label is that which was given, or the class found; empty where it is not sure. The guess says it there as
        well. Paths below `folder`, where the list will lie, are relative to it.
        """
        called = {one.cluster: one.name for one in self.classes}
        written = io.StringIO(newline="")
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(COLUMNS)
        for position in range(len(self.known.labels)):
            kind, guess = self.kind(position), called[int(self.found.clusters[position])]
            label = "" if kind == NOT_SURE else guess
            confidence = f"{self.found.confidence[position]:.2f}"
            place = self.places[position]
            path = self.name(position) if place is None else beside(Path(place), folder)
            writer.writerow([path, label, guess, confidence, kind])
        return written.getvalue()


def _counted(counted: Counted) -> dict[str, Any]:
    def estimate(one: Estimate | None) -> dict[str, Any] | None:
        if one is None:
            return None
        return {**one._asdict(), "tried": {str(number): round(value, 4) for number, value in one.tried.items()}}

    return {
        "published": estimate(counted.published),
        "stability": estimate(counted.stability),
        "size": estimate(counted.size),
        "protocol": counted.protocol,
    }


def shares(found: Discovery) -> tuple[int, int, int]:
    """Unlabelled images that are sure of an old class, sure of a new one, and not sure."""
    kinds = [found.kind(int(position)) for position in np.flatnonzero(found.known.labels < 0)]
    return kinds.count(OLD), kinds.count(NEW), kinds.count(NOT_SURE)
