"""PromptCAL: GCD's loss on two branches, then contrast with pseudo-positives from a graph (arXiv 2212.05590)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from likewise.errors import InputError
from likewise.recipes.chain import Stage

STAGES = ("stage-1", "stage-2")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Both stages of PromptCAL."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
    """Images, some of them labelled."""
    out: str
    """Directory of the two runs, stage-1 and stage-2."""
    labels: str | None = None
    """Label column, or `folders`."""
    subset: str | None = None
    """Draw that keeps some of the labels, such as gcd:0.5."""
    subset_seed: int = 0
    """What the draw follows from."""
    start: str | None = None
    """Run or weights file that the first stage begins with."""
    encoder: str = "resnet18"
    """Any timm model by name; vit_base_patch16_prompts is the published one."""
    pretrained: bool = False
    """Begin with timm's published weights."""
    published: bool = False
    """The published recipe, of 200 and 70 epochs, in place of the small one."""
    epochs_first: float | None = None
    """Passes over the data in the first stage; by default 20, or as published."""
    epochs_second: float | None = None
    """The same of the second stage; by default 10, or as published."""
    batch_size: int | None = None
    """Images a step; by default the preset's."""
    seed: int = 0
    """What training follows from."""


def stages(recipe: Recipe, **more: Any) -> Iterator[Stage]:
    """Both stages; `more` are further arguments of `train`. Raises InputError for a start and pretrained weights."""
    if recipe.start is not None and recipe.pretrained:
        raise InputError(f"pretrained and start={recipe.start} are two beginnings: give one of them")
    same = {
        "method": "promptcal",
        "labels": recipe.labels,
        "subset": recipe.subset,
        "subset_seed": recipe.subset_seed,
        "batch_size": recipe.batch_size,
        "seed": recipe.seed,
        **more,
    }
    encoder = {} if recipe.start else {"encoder": recipe.encoder, "pretrained": recipe.pretrained}
    if recipe.published:
        first: dict[str, Any] = {"variant": "vit-1", "epochs": recipe.epochs_first}
        second: dict[str, Any] = {"variant": "vit-2", "epochs": recipe.epochs_second}
    else:
        first = {"stage": 1, "epochs": recipe.epochs_first or 20.0}
        second = {"epochs": recipe.epochs_second or 10.0}
    yield Stage(STAGES[0], recipe.data, {**same, **encoder, **first, "start": recipe.start})
    begun = str(Path(recipe.out) / STAGES[0])
    yield Stage(STAGES[1], recipe.data, {**same, **second, "start": begun})
