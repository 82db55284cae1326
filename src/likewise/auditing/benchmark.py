"""The benchmark's figures by level: accuracy, and agreement of two observers (arXiv 2006.16736, 2106.07411)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from likewise.auditing.categories import SIXTEEN
from likewise.auditing.consistency import accuracy_difference, consistency, shape_bias
from likewise.auditing.experiments import EXPERIMENTS
from likewise.auditing.trials import Numbers, Texts, Trials
from likewise.errors import InputError


class Likeness(NamedTuple):
    """Agreement of two observers, averaged over levels; never on pooled levels, whose accuracies differ."""

    difference: float
    """SQUARED difference of accuracies."""
    observed: float
    """Share of images where both are right or both wrong."""
    error: float
    """Kappa of their errors: 0 is chance."""


class Figures(NamedTuple):
    """Figures of the benchmark for an observer or a group, in one experiment or as the mean of several."""

    accuracy: float
    """Share of right answers, pooled over observers and levels."""
    difference: float
    observed: float
    error: float
    """As in `Likeness`, averaged over pairs of observers."""


def likeness(first: Trials, second: Trials, excluded: Sequence[str] = ()) -> Likeness:
    """Of two observers over the levels that are not `excluded`.

    Raises InputError where they have not seen the same stimuli, and where no level is left.
    """
    one, other = _sorted(first.without(excluded)), _sorted(second.without(excluded))
    if not len(one):
        raise InputError(f"{first.experiment}: no trial is left once {', '.join(excluded)} are taken away")
    if not np.array_equal(_key(one), _key(other)):
        raise InputError(
            f"{first.experiment}: {first.observer} and {second.observer} have not seen the same stimuli, "
            f"{len(one):,} and {len(other):,} of them: consistency compares the same images at the same level"
        )
    rows = []
    for level in np.unique(one.condition_N):
        at = one.condition_N == level
        right, right_too = one.right[at], other.right[at]
        both = consistency(right, right_too)
        rows.append((accuracy_difference(float(right.mean()), float(right_too.mean())), both.observed, both.error))
    return Likeness(*(float(value) for value in np.mean(rows, axis=0)))


def of_people(trials: Iterable[Trials]) -> dict[str, Figures]:
    """By experiment: accuracy of all, and the mean likeness of all unordered pairs of observers."""
    found = {}
    for name, group in by_experiment(trials).items():
        excluded = EXPERIMENTS[name].excluded
        pairs = [likeness(a, b, excluded) for a, b in combinations(group, 2)]
        found[name] = Figures(_pooled(group, excluded), *_mean(pairs))
    return found


def against_people(model: Iterable[Trials], people: Iterable[Trials]) -> dict[str, Figures]:
    """By experiment: a model's accuracy, and its mean likeness with each of the people.

    Only stimuli that both have seen count. Experiments without any are left out.
    """
    human = by_experiment(people)
    found = {}
    for name, group in by_experiment(model).items():
        excluded = EXPERIMENTS[name].excluded
        seen = [_common(own, other) for own in group for other in human.get(name, [])]
        pairs = [likeness(own, other, excluded) for own, other in seen if len(own.without(excluded))]
        if pairs:
            found[name] = Figures(_pooled(group, excluded), *_mean(pairs))
    return found


def mean_of(figures: Mapping[str, Figures]) -> Figures:
    """The mean over experiments."""
    return Figures(*(float(value) for value in np.mean(list(figures.values()), axis=0)))


def ranks(models: Mapping[str, Figures]) -> dict[str, float]:
    """Mean rank of each model by accuracy difference (low), observed and error consistency (high); 1 is the best."""
    if not models:
        return {}
    names = list(models)
    table = np.asarray([[-models[name].difference, models[name].observed, models[name].error] for name in names])
    better = (table[None] > table[:, None]).sum(1) + 1
    return {name: float(row.mean()) for name, row in zip(names, better, strict=True)}


def curve(trials: Sequence[Trials]) -> dict[str, float]:
    """Accuracy at each level, pooled over observers of one experiment."""
    levels = EXPERIMENTS[trials[0].experiment].conditions
    right = np.concatenate([one.right for one in trials])
    condition = np.concatenate([one.condition_N for one in trials])
    return {level: float(right[condition == level].mean()) for level in levels if (condition == level).any()}


def texture_of(image_N: Texts, categories: Sequence[str] = tuple(SIXTEEN)) -> Numbers:
    """Category of the texture of each cue conflict by its name, `dog10-bicycle1.png`; -1 where it says none."""
    number = {name: place for place, name in enumerate(categories)}
    last = (name.rsplit("-", 1)[-1].partition(".")[0] for name in image_N.tolist())
    return np.asarray([number.get("".join(c for c in word if not c.isdigit()), -1) for word in last], dtype=np.int64)


def pooled_shape_bias(trials: Sequence[Trials]) -> float:
    """Share of shape answers among shape and texture answers, over all trials of all observers."""
    answers, shapes = (np.concatenate([getattr(one, part) for one in trials]) for part in ("answer_N", "truth_N"))
    textures = np.concatenate([texture_of(one.image_N) for one in trials])
    return shape_bias(answers, shapes, textures).bias


def by_experiment(trials: Iterable[Trials]) -> dict[str, list[Trials]]:
    """Trials of each experiment, in the order of the benchmark."""
    found: dict[str, list[Trials]] = {}
    for one in trials:
        found.setdefault(one.experiment, []).append(one)
    return {name: found[name] for name in EXPERIMENTS if name in found}


def _pooled(group: Sequence[Trials], excluded: Sequence[str]) -> float:
    return float(np.concatenate([one.without(excluded).right for one in group]).mean())


def _mean(pairs: Sequence[Likeness]) -> tuple[float, float, float]:
    if not pairs:
        return float("nan"), float("nan"), float("nan")
    first, second, third = np.mean(pairs, axis=0)
    return float(first), float(second), float(third)


def _key(trials: Trials) -> Texts:
    return np.char.add(np.char.add(trials.condition_N, "\n"), trials.image_N)


def _sorted(trials: Trials) -> Trials:
    order = np.argsort(_key(trials), kind="stable")
    parts = (trials.image_N, trials.condition_N, trials.truth_N, trials.answer_N)
    return Trials(trials.experiment, trials.observer, *(part[order] for part in parts))  # type: ignore[arg-type]


def _common(first: Trials, second: Trials) -> tuple[Trials, Trials]:
    """Of each the stimuli that the other has seen too."""
    return first.take(np.isin(_key(first), _key(second))), second.take(np.isin(_key(second), _key(first)))
