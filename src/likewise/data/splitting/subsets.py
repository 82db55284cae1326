"""Subsets drawn from labelled data, of any source: skewed, few labels, some classes, tasks, wrong labels.

Each draw is a pure function of the labels, its settings and a seed. As text, which is what `--subset` takes, with the
draws from left to right and each made from what the one before left:

    longtail:100          classes of exponentially falling size, the largest 100 times the smallest (Cui et al. 2019)
    longtail:100/drawn    the same, which class is how large being drawn too
    isd:2                 2 drawn classes whole, of all others a thirteenth of the largest class (ISD, arXiv 2012.09259)
    isd:8/30              8 and 30 drawn classes, no others; isd:8/30/100 with 100 images of each of the 30
    list:D1.txt           the images that a file lists, one path a line
    perclass:10           10 images of each class
    share:0.01            a hundredth of each class, at least one image
    base:0.5  novel:0.5   half of the classes, and the other half (or a number of classes: base:60)
    task:2/5              the second of five disjoint parts of the classes
    noise:0.4             of each class two fifths of the labels replaced by another class's; noise:0.4/next by the next
    labels:perclass:4     all images, and the labels of 4 of each class; likewise labels:share:0.01, labels:list:D1.txt
    gcd:0.5               all images, and half of the labels of the first half of the classes; gcd:80/0.5: of 80

Joined with `+`: `longtail:100+noise:0.2`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.fingerprints import digest, digest_array
from likewise.data.source import Column, Part, Source
from likewise.data.splitting.few_labels import old_and_new, only
from likewise.data.splitting.listed import listed
from likewise.errors import InputError, unknown

Labels = NDArray[np.int64]
Index = NDArray[np.int64]

RARE = 13
"""ISD's rare classes have a thirteenth of the images of a large one: about 100 where a class has 1,300."""
TRUTH = "truth"
"""The column of the true labels, for scoring alone, where a draw took some away."""
_STREAM = 0x73756273  # keeps these draws apart from others made of the same seed


def long_tail(labels: Labels, factor: float, seed: int, *, drawn: bool = False) -> Index:
    """Positions, in rising order, such that the c-th of C classes keeps largest * factor^(-c / (C - 1)) images.

    Classes are ordered by their number, or at random where `drawn`; a class that has fewer keeps all it has, and none
    goes below one. Raises InputError for a factor below 1 and for fewer than two classes.
    """
    if not factor >= 1:
        raise InputError(f"longtail:{factor:g}: the largest class over the smallest is at least 1, usual is 100")
    classes, counts = _classes(labels, least=2)
    order = _generator(seed, "order").permutation(len(classes)) if drawn else np.arange(len(classes))
    share = factor ** (-order / (len(classes) - 1))
    wanted = np.maximum(1, np.floor(counts.max() * share + 1e-9)).astype(np.int64)
    return _taken(labels, dict(zip(classes.tolist(), wanted.tolist(), strict=True)), seed)


def large_and_rare(
    labels: Labels, large: int, rare: int | None, seed: int, *, each: int | None = None
) -> tuple[Index, dict[str, list[int]]]:
    """ISD's skewed draw: positions in rising order, and which classes are `large` and which `rare`.

    `large` drawn classes keep all their images; `rare` others (all others where None) keep `each`, by default a
    thirteenth of the largest class. Raises InputError where there are not that many classes.
    """
    classes, counts = _classes(labels, least=2)
    rest = len(classes) - large
    if large < 1 or rest < 1 or (rare is not None and not 1 <= rare <= rest):
        raise InputError(
            f"isd:{large}{'' if rare is None else f'/{rare}'} of {len(classes)} classes: too many, or none"
        )
    order = _generator(seed, "order").permutation(classes)
    big, small = order[:large].tolist(), order[large : large + (rest if rare is None else rare)].tolist()
    few = each if each is not None else max(1, round(int(counts.max()) / RARE))
    index = _taken(labels, {**dict.fromkeys(big, len(labels)), **dict.fromkeys(small, few)}, seed)
    return index, {"large": sorted(big), "rare": sorted(small)}


def per_class(labels: Labels, count: int, seed: int) -> Index:
    """Positions of `count` images of each class, or all of a smaller one, in rising order."""
    if count < 1:
        raise InputError(f"perclass:{count} must be at least 1 image of each class")
    classes, _ = _classes(labels)
    return _taken(labels, dict.fromkeys(classes.tolist(), count), seed)


def share_of(labels: Labels, share: float, seed: int) -> Index:
    """Positions of about `share` of each class, at least one image, in rising order."""
    if not 0 < share <= 1:
        raise InputError(f"share:{share:g} must be above 0 and at most 1, such as 0.01 for 1 %")
    classes, counts = _classes(labels)
    wanted = np.maximum(1, np.round(share * counts)).astype(np.int64)
    return _taken(labels, dict(zip(classes.tolist(), wanted.tolist(), strict=True)), seed)


def base_classes(labels: Labels, part: float, seed: int) -> tuple[list[int], list[int]]:
    """The drawn `part` (a share below 1, or a number) of the classes, and the others; both in order, neither empty."""
    classes, _ = _classes(labels, least=2)
    count = round(part * len(classes)) if part < 1 else int(part)
    if not 1 <= count < len(classes) or (part >= 1 and part != count):
        raise InputError(
            f"base or novel:{part:g} of {len(classes)} classes: allowed are 1 to {len(classes) - 1}, or a share"
        )
    order = _generator(seed, "order").permutation(classes)
    return sorted(order[:count].tolist()), sorted(order[count:].tolist())


def tasks(labels: Labels, count: int, seed: int) -> list[list[int]]:
    """The classes in `count` disjoint parts, drawn, of equal size where that divides. Raises InputError."""
    classes, _ = _classes(labels)
    if not 1 <= count <= len(classes):
        raise InputError(f"{count} tasks of {len(classes)} classes: allowed are 1 to {len(classes)}")
    order = _generator(seed, "order").permutation(classes)
    return [sorted(part.tolist()) for part in np.array_split(order, count)]


def corrupted(labels: Labels, share: float, seed: int, *, to_next: bool = False) -> Labels:
    """The labels with `share` of each class replaced: by any other class, or by the next one (pair flip).

    Labels of -1 stay. Raises InputError for a share outside 0 to 1 and for fewer than two classes.
    """
    if not 0 <= share <= 1:
        raise InputError(f"noise:{share:g} must be a share from 0 to 1")
    classes, _ = _classes(labels, least=2)
    found = labels.copy()
    generator = _generator(seed, "noise")
    for place, value in enumerate(classes):
        rows = generator.permutation(np.flatnonzero(labels == value))
        rows = rows[: round(share * len(rows))]
        step = np.ones(len(rows), np.int64) if to_next else generator.integers(1, len(classes), len(rows))
        found[rows] = classes[(place + step) % len(classes)]
    return found


# As text -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Some of many images, and how they were drawn."""

    index: Index
    """Their positions, in rising order."""
    labels: Labels
    """The labels that the draw left them, -1 where it took them away."""
    truth: Labels
    """Their labels in the data, for scoring alone where the draw left others or none."""
    text: str
    """The draw as it was asked for."""
    seed: int
    """What it follows from."""
    counts: tuple[int, ...]
    """Images of each class, by its true label."""
    classes: tuple[int, ...]
    """The classes that are left."""
    groups: dict[str, list[int]] | None
    """Classes by group where the draw names groups (`large`, `rare`; `old`, `new`)."""
    selects_classes: bool
    """Whether the draw leaves classes out."""

    @property
    def protocol(self) -> str:
        """The draw in words, for the protocol of a score."""
        known, hidden = int((self.labels >= 0).sum()), int(((self.labels < 0) & (self.truth >= 0)).sum())
        few = f", {known:,} of them with their labels" if hidden else ""
        count = f"{len(self.index):,} images of {len(self.classes)} classes"
        return f"the draw {self.text} (seed {self.seed}): {count}{few}"

    def record(self) -> dict[str, Any]:
        """The record of a draw in a run."""
        kept = {name: getattr(self, name) for name in ("text", "seed", "counts", "classes", "groups")}
        return {**kept, "images": len(self.index), "labelled": int((self.labels >= 0).sum())}


@dataclass(frozen=True)
class _State:
    """What the draws so far have left."""

    index: Index
    labels: Labels
    names: Sequence[str]
    """Of all images, also those that are no longer in the draw."""
    groups: dict[str, list[int]] | None = None

    def keep(self, inside: Index) -> _State:
        return replace(self, index=self.index[inside], labels=self.labels[inside])

    def of_classes(self, classes: Sequence[int]) -> _State:
        return self.keep(np.flatnonzero(np.isin(self.labels, classes)))


def draw(labels: Labels | None, names: Sequence[str], text: str, seed: int = 0) -> Drawn:
    """The draw described by `text` from images with these labels and names, a pure function of its arguments.

    Raises InputError for a draw that does not exist or cannot be made of this data, where labels are missing, and for
    a negative seed.
    """
    if seed < 0:
        raise InputError(f"the seed of a draw is 0 or more, not {seed}")
    true: Labels = np.full(len(names), -1, np.int64) if labels is None else labels
    state = _State(np.arange(len(names)), true, names)
    for part in text.split("+"):
        name, _, argument = part.strip().partition(":")
        if name not in _DRAWS:
            raise unknown("draw", name, _DRAWS)
        if name not in _WITHOUT_LABELS and not (state.labels >= 0).any():
            raise InputError(f"the draw {part!r} goes by labels, and the images have none: name them with labels")
        state = _DRAWS[name](state, argument, seed)
    kept = true[state.index]
    counts = np.bincount(kept[kept >= 0], minlength=int(true.max(initial=-1)) + 1)
    classes = tuple(int(value) for value in np.flatnonzero(counts))
    return Drawn(
        index=state.index,
        labels=state.labels,
        truth=kept,
        text=text,
        seed=seed,
        counts=tuple(int(count) for count in counts),
        classes=classes,
        groups=state.groups,
        selects_classes=len(classes) < len(np.unique(true[true >= 0])),
    )


def part_of(source: Source, text: str, seed: int = 0) -> tuple[Part, Drawn]:
    """The images of `source` that `text` asks for, of which no others are decoded. Raises InputError as `draw`."""
    drawn = draw(source.labels, source.names, text, seed)
    part = Part.of(source, drawn.index)
    if part.labels is not None and not np.array_equal(part.labels, drawn.labels):
        part.columns = {TRUTH: Column(drawn.truth, part.class_names), **part.columns}
        part.labels = drawn.labels
        part.fingerprint = digest(part.fingerprint, digest_array(drawn.labels))  # other labels are other data
    return part, drawn


def _long_tail(state: _State, argument: str, seed: int) -> _State:
    factor, order = _values("longtail", argument, most=2)
    if order not in {None, "drawn"}:
        raise unknown("order of a long tail", str(order), ["drawn"])
    return state.keep(long_tail(state.labels, _number("longtail", factor), seed, drawn=order == "drawn"))


def _isd(state: _State, argument: str, seed: int) -> _State:
    large, rare, each = (None if one is None else _whole("isd", one) for one in _values("isd", argument, most=3))
    index, groups = large_and_rare(state.labels, large or 0, rare, seed, each=each)
    return replace(state.keep(index), groups=groups)


def _share(state: _State, argument: str, seed: int) -> _State:
    """Of each class, or of all images where none has a label."""
    labels = state.labels if (state.labels >= 0).any() else np.zeros_like(state.labels)
    return state.keep(share_of(labels, _number("share", argument), seed))


def _base(state: _State, argument: str, seed: int) -> _State:
    return state.of_classes(base_classes(state.labels, _number("base", argument), seed)[0])


def _novel(state: _State, argument: str, seed: int) -> _State:
    return state.of_classes(base_classes(state.labels, _number("novel", argument), seed)[1])


def _task(state: _State, argument: str, seed: int) -> _State:
    number, of = _values("task", argument, most=2)
    parts = tasks(state.labels, _whole("task", of or ""), seed)
    if not 1 <= _whole("task", number) <= len(parts):
        raise InputError(f"task:{argument}: tasks are counted from 1 to {len(parts)}")
    return state.of_classes(parts[_whole("task", number) - 1])


def _noise(state: _State, argument: str, seed: int) -> _State:
    share, to = _values("noise", argument, most=2)
    if to not in {None, "next"}:
        raise unknown("kind of noise", str(to), ["next"])
    return replace(state, labels=corrupted(state.labels, _number("noise", share), seed, to_next=to == "next"))


def _list(state: _State, argument: str, seed: int) -> _State:
    return state.keep(listed([state.names[at] for at in state.index], Path(argument).expanduser()))


def _labels(state: _State, argument: str, seed: int) -> _State:
    name, _, rest = argument.partition(":")
    if name not in _LABELLED_BY:
        raise unknown("draw of labels", name, _LABELLED_BY)
    few = _DRAWS[name](state, rest, seed)
    return replace(state, labels=only(state.labels, np.flatnonzero(np.isin(state.index, few.index))))


def _gcd(state: _State, argument: str, seed: int) -> _State:
    part, share = _values("gcd", argument, most=2)
    old, new = old_and_new(state.labels, _number("gcd", part))
    of_old = only(state.labels, np.flatnonzero(np.isin(state.labels, old)))
    few = share_of(of_old, 0.5 if share is None else _number("gcd", share), seed)
    return replace(state, labels=only(state.labels, few), groups={"old": old, "new": new})


_DRAWS: dict[str, Callable[[_State, str, int], _State]] = {
    "longtail": _long_tail,
    "isd": _isd,
    "list": _list,
    "perclass": lambda state, text, seed: state.keep(per_class(state.labels, _whole("perclass", text), seed)),
    "share": _share,
    "base": _base,
    "novel": _novel,
    "task": _task,
    "noise": _noise,
    "labels": _labels,
    "gcd": _gcd,
}
_LABELLED_BY = ("perclass", "share", "list")
_WITHOUT_LABELS = ("list", "share")
"""Draws that need no labels."""


# Parts -------------------------------------------------------------------------------------------------------------


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([_STREAM, seed, *purpose.encode()])


def _classes(labels: Labels, *, least: int = 1) -> tuple[Labels, Labels]:
    """Classes that occur, and how often. Raises InputError where there are too few."""
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    if len(classes) < least:
        raise InputError(f"this draw needs at least {least} classes, and the data has {len(classes)}")
    return classes, counts


def _taken(labels: Labels, wanted: dict[int, int], seed: int) -> Index:
    """That many images of each class, in rising order; which ones depends on the class and the seed alone.

    So a larger draw of the same seed holds the smaller one.
    """
    chosen = [
        np.random.default_rng([_STREAM, seed, value]).permutation(np.flatnonzero(labels == value))[:count]
        for value, count in wanted.items()
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def _values(name: str, argument: str, *, most: int) -> list[Any]:
    """The parts of `a/b/c`, filled up with None."""
    parts = argument.split("/")
    if not argument or len(parts) > most:
        raise InputError(
            f"the draw {name}:{argument} takes 1 to {most} values after the colon, such as {_EXAMPLES[name]}"
        )
    return [*parts, *[None] * (most - len(parts))]


def _number(name: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"the draw {name} takes a number, not {text!r}: such as {_EXAMPLES[name]}")
    return found


def _whole(name: str, text: str) -> int:
    value = _number(name, text)
    if value != int(value):
        raise InputError(f"the draw {name} takes a whole number, not {text!r}: such as {_EXAMPLES[name]}")
    return int(value)


_EXAMPLES = {
    "longtail": "longtail:100",
    "isd": "isd:2",
    "perclass": "perclass:10",
    "share": "share:0.01",
    "base": "base:0.5",
    "novel": "novel:0.5",
    "task": "task:1/5",
    "noise": "noise:0.4",
    "gcd": "gcd:0.5",
}
