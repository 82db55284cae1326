"""USL-T: neighbours by the features of a run, then a clustering that goes on from it (arXiv 2110.03006).

What it leaves is a table of neighbours and one run, whose surest images `likewise.selection.usl_t.picks` gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tyro.conf import Positional

from likewise.data import open_source, split_names, training_split
from likewise.encoders import load_encoder
from likewise.encoders.files.chosen import choose
from likewise.errors import InputError
from likewise.files import write_aside
from likewise.recipes.chain import Stage
from likewise.selection.usl_t import NEIGHBOURS, neighbour_table

TABLE = "neighbours.npy"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run of USL-T from another run."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
    """Images to choose from. Labels that they have are not looked at."""
    start: str
    """Run whose encoder neighbours are found by, and clustering begins with."""
    out: str
    """Directory of the table and of the run, usl_t."""
    labels: int = 40
    """m: images that will be labelled, and clusters."""
    neighbours: int = NEIGHBOURS
    """Neighbours of an image, beside itself."""
    epochs: float | None = None
    """Passes over the images; by default the preset's."""
    variant: str | None = None
    """Preset of usl_t."""
    seed: int = 0
    """What training follows from."""


def stages(recipe: Recipe, **more: Any) -> Iterator[Stage]:
    """The one stage, once the table is there; `more` are further arguments of `train`.

    Raises InputError where the start holds no encoder, for images that cannot be read, and for numbers below 1.
    """
    for name, least in (("labels", 2), ("neighbours", 1)):
        if getattr(recipe, name) < least:
            raise InputError(f"{name}={getattr(recipe, name)} must be at least {least}")
    table = Path(recipe.out) / TABLE
    if not table.is_file():
        encoder = load_encoder(choose(Path(recipe.start), None).path)
        source = open_source(recipe.data, split=training_split(split_names(recipe.data)), labels="none")
        found = neighbour_table(encoder.embed(source), recipe.neighbours)
        table.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(table) as file:
            np.save(file, found)
    asked = {
        "method": "usl_t",
        "variant": recipe.variant,
        "start": recipe.start,
        "clusters": recipe.labels,
        "neighbours": str(table),
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        **more,
    }
    yield Stage("usl_t", recipe.data, {key: value for key, value in asked.items() if value is not None})
