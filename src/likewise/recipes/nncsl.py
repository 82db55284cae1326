"""NNCSL: classes in tasks, one run each, with a buffer of labelled images of the tasks before (arXiv 2212.05102).

The buffer holds labelled images alone. After a task all of its labelled images enter where they fit; else every class
seen keeps an equal share, the first of its images (section 4; the published code cuts old classes in the same way).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray
from tyro.conf import Positional

from likewise.data import open_source, split_names, training_split
from likewise.data.fingerprints import digest, digest_array
from likewise.data.source import Part, Source
from likewise.data.splitting.few_labels import only
from likewise.data.splitting.subsets import share_of, tasks
from likewise.errors import InputError
from likewise.recipes.chain import Stage


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Tasks of classes, trained one after the other."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
    """Images with labels, of which a share may be used."""
    out: str
    """Directory of the runs, one a task: task-1, task-2, ..."""
    labels: str | None = None
    """Label column, or `folders`."""
    tasks: int = 5
    """Disjoint parts of the classes."""
    share: float = 0.05
    """Share of each class whose labels may be used."""
    buffer: int = 500
    """Labelled images of earlier tasks that are kept."""
    epochs: float | None = None
    """Passes over the images of each task; by default the preset's."""
    variant: str | None = None
    """Preset of nncsl."""
    encoder: str = "resnet18"
    """Any timm model by name."""
    distillation_weight: float = 0.2
    """Weight of the imitation of the previous network; 0 is CSL."""
    every_support: bool = False
    """Soft neighbours among all classes seen, as PAWS has it."""
    seed: int = 0
    """What tasks, labels and training follow from."""


def stages(recipe: Recipe, **more: Any) -> Iterator[Stage]:
    """A stage for each task; `more` are further arguments of `train`.

    Raises InputError for data without labels, and for numbers of tasks and shares that cannot be.
    """
    source = open_source(recipe.data, split=training_split(split_names(recipe.data)), labels=recipe.labels)
    if source.labels is None:
        raise InputError(f"{recipe.data} has no labels: name their column with --labels, or `folders`")
    if recipe.buffer < 0:
        raise InputError(f"buffer={recipe.buffer} must be at least 0")
    few = share_of(source.labels, recipe.share, recipe.seed)
    kept = np.zeros(0, np.int64)
    seen: list[int] = []
    before = ""
    for number, current in enumerate(tasks(source.labels, recipe.tasks, recipe.seed), start=1):
        name = f"task-{number}"
        mine = np.flatnonzero(np.isin(source.labels, current))
        labelled = np.union1d(np.intersect1d(few, mine), kept)
        asked: dict[str, Any] = {
            "method": "nncsl",
            "variant": recipe.variant,
            "encoder": recipe.encoder,
            "epochs": recipe.epochs,
            "seed": recipe.seed,
            "current": tuple(current),
            "total": int(source.labels.max()) + 1,
            "previous": before,
            "every_support": recipe.every_support,
            **more,
        }
        if before:
            asked |= {"start": before, "distillation_weight": recipe.distillation_weight}
        given = {key: value for key, value in asked.items() if value is not None and value != ""}
        yield Stage(name, data_of(source, np.union1d(mine, kept), labelled), given)
        before = str(Path(recipe.out) / name)
        seen += current
        kept = kept_in(kept, np.intersect1d(few, mine), source.labels, seen, recipe.buffer)


def data_of(source: Source, index: NDArray[np.int64], labelled: NDArray[np.int64]) -> Source:
    """The images `index`, with the labels of those in `labelled` alone."""
    found = Part.of(source, index)
    assert found.labels is not None
    found.labels = only(found.labels, np.flatnonzero(np.isin(index, labelled)))
    found.fingerprint = digest(found.fingerprint, digest_array(found.labels))
    found.splits, found.split = (), None  # what it holds is chosen already
    return found


def kept_in(
    kept: NDArray[np.int64], new: NDArray[np.int64], labels: NDArray[np.int64], seen: list[int], room: int
) -> NDArray[np.int64]:
    """The buffer after a task: everything where it fits; else the first floor(room / classes) of each class seen.

    What is left over by the rounding is filled from the end of the new images, as published.
    """
    every = np.concatenate([kept, new])
    if len(every) <= room:
        return np.sort(every)
    each = room // len(seen)
    chosen = [every[labels[every] == one][:each] for one in seen]
    rest = np.setdiff1d(new, np.concatenate(chosen))[::-1][: room - sum(map(len, chosen))]
    return np.sort(np.concatenate([*chosen, rest]))
