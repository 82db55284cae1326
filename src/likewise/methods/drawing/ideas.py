"""The figure of a method: the first whose loss its module uses."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch

from likewise.methods import find
from likewise.methods.drawing import circle, svg, tables
from likewise.methods.drawing.circle import KEY, QUERY, ROWS, Bars, at
from likewise.methods.method import Method
from likewise.similarity import contrast, distill, neighbours, pull, similarities
from likewise.similarity.labelled.support import consistency, soft_neighbours

NEAREST = 3
"""Neighbours of mean shift in its figure."""
NAMES = tuple(str(number) for number in range(1, len(ROWS) + 1))


class Idea(NamedTuple):
    """A figure and what it shows."""

    name: str
    """Of the file."""
    uses: frozenset[str]
    """Functions and classes, of which a method that has the idea uses one."""
    caption: str
    draw: Callable[[], str]


def _relations() -> str:
    """ISD: the teacher's similarities to a memory are what the student's have to be."""
    rows_K2, key_12 = at(*ROWS), at(KEY)
    target = similarities(key_12, rows_K2, 0.1).softmax(1)[0]
    said = similarities(at(QUERY), rows_K2, 0.2).softmax(1)[0]
    bars = [
        Bars("teacher: similarity to rows", target.tolist(), svg.TEACHER),
        Bars("student: similarity", said.tolist(), svg.STUDENT),
    ]
    return circle.drawn(
        "Similarity distillation on the unit circle",
        lambda query: distill(query, key_12, rows_K2, 0.2, 0.1).loss,
        bars,
        names=NAMES,
    )


def _contrast() -> str:
    """MoCo: one positive, all rows of the memory are negatives."""
    rows_K2, key_12 = at(*ROWS), at(KEY)
    said = similarities(at(QUERY), torch.cat([key_12, rows_K2]), 0.2).softmax(1)[0]
    bars = [
        Bars("target: the other view alone", [1.0, *(0.0 for _ in ROWS)], svg.TEACHER),
        Bars("student: similarities", said.tolist(), svg.STUDENT),
    ]
    return circle.drawn(
        "Contrast with a memory on the unit circle",
        lambda query: contrast(query, key_12, rows_K2, 0.2),
        bars,
        names=("k", *NAMES),
    )


def _shift() -> str:
    """MSF: towards the rows nearest to the key."""
    rows_K2, key_12 = at(*ROWS), at(KEY)
    near = neighbours(key_12, rows_K2, NEAREST).rows[0]
    mean_12 = rows_K2[near].mean(0, keepdim=True)
    shares = torch.zeros(len(ROWS)).index_fill(0, near, 1 / NEAREST)
    bars = [Bars(f"target: the {NEAREST} rows nearest to k", shares.tolist(), svg.TEACHER)]
    return circle.drawn("Mean shift on the unit circle", lambda query: pull(query, mean_12), bars, names=NAMES)


def _agree() -> str:
    """BYOL: towards the key, and nothing else."""
    key_12 = at(KEY)
    bars = [Bars("target: the other view", [1.0], svg.TEACHER)]
    return circle.drawn(
        "Agreement of two views on the unit circle", lambda query: pull(query, key_12), bars, names=("k",), rows=()
    )


def _support() -> str:
    """PAWS: classes of the nearest labelled images, for both views the same."""
    classes = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    support_S2, labels_SC = at(*ROWS), torch.eye(3, dtype=torch.float64)[classes]
    target_1C = soft_neighbours(at(KEY), support_S2, labels_SC, 0.25)
    said_1C = soft_neighbours(at(QUERY), support_S2, labels_SC, 0.25)
    bars = [
        Bars("classes of k by labelled images", target_1C[0].tolist(), svg.TEACHER),
        Bars("classes of q", said_1C[0].tolist(), svg.STUDENT),
    ]
    return circle.drawn(
        "Soft neighbours among labelled images on the unit circle",
        lambda query: consistency(soft_neighbours(query, support_S2, labels_SC, 0.25), target_1C),
        bars,
        names=("blue", "red", "green"),
        colours=[svg.CLASSES[number] for number in classes.tolist()],
    )


def _classes() -> str:
    """Classes as directions: the cross-entropy of a classifier by cosine."""
    prototypes_C2 = at(40.0, 160.0, 280.0)
    said = similarities(at(QUERY), prototypes_C2, 0.3).softmax(1)[0]
    bars = [
        Bars("target: the class that is known", [1.0, 0.0, 0.0], svg.TEACHER),
        Bars("student: similarities", said.tolist(), svg.STUDENT),
    ]
    return circle.drawn(
        "Classes as directions on the unit circle",
        lambda query: torch.nn.functional.cross_entropy(
            similarities(torch.nn.functional.normalize(query), prototypes_C2, 0.3), torch.tensor([0])
        ),
        bars,
        names=("blue", "red", "green"),
        rows=(40.0, 160.0, 280.0),
        colours=svg.CLASSES,
        key=False,
    )


IDEAS = (
    Idea(
        "relations",
        frozenset({"distill", "mutual_contrast"}),
        "The rows 1 to 8 are other images in the memory. The teacher's similarities to them are the target of the "
        "student's, so q goes to where it sees the same neighbours as k.",
        _relations,
    ),
    Idea(
        "cells",
        frozenset({"set_contrast", "kernel_cross_entropy", "kernel_alignment"}),
        "Not whole images are compared but their places: which belong together follows from where they lie, move, or "
        "from what they are like.",
        tables.cells,
    ),
    Idea(
        "pairs",
        frozenset({"pair_contrast", "contrast_matches", "contrast_by_level"}),
        "An image and what is said of it have to find each other among those of the batch.",
        tables.pairs,
    ),
    Idea(
        "support",
        frozenset({"soft_neighbours"}),
        "Labelled images vote on what an image is, by their similarity; the vote on one view is the target of the "
        "other.",
        _support,
    ),
    Idea(
        "prototypes",
        frozenset({"across_views", "recentred", "confident", "prototypes", "guessed"}),
        "Each image is given to a prototype or class by one view or network, and the other has to say the same. What "
        "is done against one prototype having them all differs: here the assignment is balanced.",
        tables.assignments,
    ),
    Idea(
        "correlations",
        frozenset({"cross_correlation"}),
        "Dimensions instead of images are compared.",
        tables.correlations,
    ),
    Idea(
        "shift",
        frozenset({"mean_shift", "Neighbours"}),
        "The rows 1 to 8 are other images in the memory. Those nearest to the teacher's k are the target, and q goes "
        "to their mean; no row is pushed away.",
        _shift,
    ),
    Idea(
        "classes",
        frozenset({"class_means", "class_prototypes", "CosineClassifier", "imitation", "prototype_loss"}),
        "Classes are directions, and an image goes to that of its own, away from the others.",
        _classes,
    ),
    Idea(
        "contrast",
        frozenset({
            "contrast", "nt_xent", "contrast_in_batch", "adaptive_contrast", "contrast_without", "affinity_contrast",
            "truncated_triplet", "read", "moco_parts", "own_columns",
        }),
        "The rows 1 to 8 are other images, of a memory or of the batch. q is pulled to k, the other view of its image, "
        "and pushed away from all of them, most from those it is near to.",
        _contrast,
    ),
    Idea(
        "agreement",
        frozenset({"pull"}),
        "q is pulled to k, the other view of its image as a slower or a fixed network sees it, and to nothing else.",
        _agree,
    ),
)  # fmt: skip
"""The more special ones first: a method that distils may also use a plain contrast beside it."""


def idea_of(method: type[Method]) -> Idea | None:
    """The idea of a method, by what the modules of its class and of its bases use; of a method around another, its."""
    own = {owner.__module__ for owner in method.__mro__} - {Method.__module__}
    around = {field.name: field.default for field in dataclasses.fields(method.Settings)}.get("base")
    if isinstance(around, str):
        return idea_of(find(around))
    return _used_in(own) or _used_in({name for module in own for name in _parts_of(module)})


def _used_in(modules: Iterable[str]) -> Idea | None:
    used = {name for module in modules for name in vars(sys.modules[module])}
    return next((idea for idea in IDEAS if idea.uses & used), None)


def _parts_of(module: str) -> set[str]:
    """Modules of methods that a module has functions and classes from."""
    found = {getattr(value, "__module__", None) for value in vars(sys.modules[module]).values()}
    return {name for name in found if isinstance(name, str) and name.startswith("likewise.methods.")} - {
        Method.__module__
    }


def drawings() -> Mapping[str, str]:
    """File name -> SVG of every idea."""
    return {f"{idea.name}.svg": idea.draw() for idea in IDEAS}
