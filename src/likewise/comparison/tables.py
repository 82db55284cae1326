"""Tables of scores: a column for each protocol, a row for each group of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

import numpy as np

from likewise.comparison.entries import Entry, Kind, Scored, distinct, same_images
from likewise.comparison.groups import Group
from likewise.evaluation.gain import BASELINES
from likewise.evaluation.scores import CLASS_MEAN
from likewise.evaluation.significance import Test, holm, over_classes, over_images, over_seeds
from likewise.report.words import numbered

_USUAL = ("knn", 20)


@dataclass(frozen=True)
class ScoreColumn:
    """Scores that were got in the same way, and may be compared."""

    kind: Kind
    which: str
    title: str
    """Short, and different for every column."""


@dataclass(frozen=True)
class Cell:
    """The scores of a group in a column."""

    scores: tuple[Scored, ...]

    @property
    def mean(self) -> float:
        """Over the runs of the group."""
        return fmean(score.value for score in self.scores)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the runs; None for a single run, of which nothing is known."""
        return stdev(score.value for score in self.scores) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class GroupDifference:
    """The best group of a column against another."""

    column: int
    best: int
    other: int
    images: Test | None
    """Over the same images, where it is known what each was taken for."""
    seeds: Test | None
    """Over runs, where both have several."""


def columns_of(entries: Sequence[Entry]) -> list[ScoreColumn]:
    """All ways in which the entries were scored, those that most were scored in first; titles tell them apart."""
    found = distinct(
        (score.kind, score.which) for entry in entries for score in entry.scores if score.which not in BASELINES
    )
    have = {key: sum(_has(entry, *key) for entry in entries) for key in found}
    found.sort(key=lambda key: (-have[key], (key[0].name, key[0].k) != _USUAL))
    roles = {which for _, which in found}
    titles = [_title(kind) + (f" ({which})" if len(roles) > 1 else "") for kind, which in found]
    return [ScoreColumn(kind, which, title) for (kind, which), title in zip(found, numbered(titles), strict=True)]


def unified(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, where scores without a fingerprint of their images join the one that agrees in all else."""
    kinds = distinct(score.kind for entry in entries for score in entry.scores)

    def joined(score: Scored) -> Scored:
        if score.kind.images:
            return score
        agreeing = [kind for kind in kinds if kind.images and kind._replace(images="") == score.kind]
        return replace(score, kind=agreeing[0]) if len(agreeing) == 1 else score

    return [replace(entry, scores=tuple(joined(score) for score in entry.scores)) for entry in entries]


def baselines(entries: Sequence[Entry]) -> list[Entry]:
    """The encoders of the entries without their training, as entries of their own."""
    found = []
    for entry in entries:
        for role in BASELINES:
            scores = tuple(score for score in entry.scores if score.which == role)
            if scores:
                encoder = {
                    name: value
                    for name, value in entry.settings.items()
                    if name.startswith("encoder") or name == "data.fingerprint"
                }
                settings = {"method": role, **encoder}
                found.append(Entry(f"{entry.name}, {role}", settings, entry.seed, scores))
    return found


def cell(group: Group, column: ScoreColumn) -> Cell | None:
    """The cell of the group in the column; None where none of it was scored so."""
    found = [score for entry in group.entries if (score := _score(entry, column)) is not None]
    return Cell(tuple(found)) if found else None


def contrasts(groups: Sequence[Group], columns: Sequence[ScoreColumn]) -> list[GroupDifference]:
    """For every column of accuracies the best group against each other, with tests; p raised for how many there are."""
    found: list[GroupDifference] = []
    for number, column in enumerate(columns):
        cells = {place: one for place, group in enumerate(groups) if (one := cell(group, column)) is not None}
        if len(cells) < 2 or next(iter(cells.values())).scores[0].unit != "share":
            continue
        best = max(cells, key=lambda place: cells[place].mean)
        mine = [_contrast(groups, column, number, best, other, cells) for other in cells if other != best]
        found += _raised(mine)
    return found


def _contrast(
    groups: Sequence[Group], column: ScoreColumn, number: int, best: int, other: int, cells: dict[int, Cell]
) -> GroupDifference:
    first, second = cells[other].scores, cells[best].scores
    images = _over_images(first, second) if same_images([*first, *second]) else None
    seeds = [[entry.seed for entry in groups[place].entries if _score(entry, column)] for place in (other, best)]
    order = [np.argsort(np.array([-1 if seed is None else seed for seed in part]), kind="stable") for part in seeds]
    values = [[part[int(i)].value for i in rank] for part, rank in zip((first, second), order, strict=True)]
    paired = sorted(map(str, seeds[0])) == sorted(map(str, seeds[1])) and len(set(seeds[0])) == len(seeds[0])
    return GroupDifference(number, best, other, images, over_seeds(*values, paired=paired))


def _over_images(first: Sequence[Scored], second: Sequence[Scored]) -> Test | None:
    """The test of what the column measures; None of a mean over classes of several runs."""
    one, other = (np.stack([score.right_Q for score in part if score.right_Q is not None]) for part in (first, second))
    if first[0].kind.measure != CLASS_MEAN:
        return over_images(one, other)
    truth_Q = first[0].truth_Q
    return over_classes(one[0], other[0], truth_Q) if truth_Q is not None and len(one) == len(other) == 1 else None


def _raised(mine: list[GroupDifference]) -> list[GroupDifference]:
    """The same with p raised (Holm) for all pairs of groups: the best one is known only by looking at all of them."""
    for name in ("images", "seeds"):
        tests = {place: test for place, one in enumerate(mine) if (test := getattr(one, name)) is not None}
        pairs = len(tests) * (len(tests) + 1) // 2
        raised = holm([test.p for test in tests.values()], of=pairs)
        for (place, test), p in zip(tests.items(), raised, strict=True):
            mine[place] = replace(mine[place], **{name: test._replace(p=p)})
    return mine


def notes(columns: Sequence[ScoreColumn], groups: Sequence[Group]) -> list[str]:
    """Why some columns look alike and are not one, and which runs were not scored."""
    found = [
        f"{column.title} and {other.title} are not comparable: {_difference(column, other)}"
        for place, column in enumerate(columns)
        for other in columns[place + 1 :]
        if _title(column.kind) == _title(other.kind) and column.which == other.which
    ]
    unscored = [entry.name for group in groups for entry in group.entries if not entry.scores]
    if unscored:
        found.append(f"not scored yet, so without scores here: {', '.join(unscored)}")
    return found


def _difference(first: ScoreColumn, second: ScoreColumn) -> str:
    """In what two protocols differ, in their own words."""
    if first.kind.data != second.kind.data:
        return f"on {first.kind.data}, and on {second.kind.data}"
    if first.kind.protocol != second.kind.protocol:
        one, two = (column.kind.protocol.replace("; ", ", ").split(", ") for column in (first, second))
        only = ", ".join(part for part in one if part not in two), ", ".join(part for part in two if part not in one)
        return f"'{only[0]}', and '{only[1]}'"
    if first.kind.n != second.kind.n or first.kind.split != second.kind.split:
        return f"{first.kind.n:,} {first.kind.split} images, and {second.kind.n:,} {second.kind.split} images"
    return "of other images"


def _title(kind: Kind) -> str:
    words = [kind.name, kind.variant, "" if kind.k is None else f"k={kind.k}"]
    words.append("" if kind.measure == "accuracy" else kind.measure)
    return " ".join(word for word in words if word)


def _score(entry: Entry, column: ScoreColumn) -> Scored | None:
    # Of a run its own score, wherever that of the encoder before training stands; of a baseline the only one it has.
    is_baseline = all(score.which in BASELINES for score in entry.scores)
    for score in entry.scores:
        fits = score.kind == column.kind and (is_baseline or score.which == column.which)
        if fits and math.isfinite(score.value):
            return score
    return None


def _has(entry: Entry, kind: Kind, which: str) -> bool:
    return any(score.kind == kind and score.which == which for score in entry.scores)
