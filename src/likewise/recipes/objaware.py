"""Object-aware contrast in two stages: a plain method, then another from the start with its masks (arXiv 2108.00049).

The first stage is asked by ContraCAM where objects are; of it, the second takes nothing but these masks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from likewise.encoders import has_width
from likewise.localisation.sources import ROUNDS
from likewise.recipes.chain import Stage

EXPAND = {"crop": 2, "mixup": 1}
"""Times as fine as trained that the last map is kept, as published; encoders that are no ResNets keep theirs."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Two stages: first and second."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
    """Images. Labels that they have are not learned from."""
    out: str
    """Directory of both runs: first and second."""
    labels: str | None = None
    """Label column, or `folders`, for the score while training."""
    base: Literal["moco_v2", "byol"] = "moco_v2"
    """Method of the first stage, whose views the second changes."""
    augment: Literal["crop", "mixup"] = "mixup"
    """Crops within an object's box, or objects on other backgrounds."""
    rounds: int = ROUNDS
    """Rounds of ContraCAM. Published are 1 for mixup and 10 for crop, whose boxes then hold small images whole."""
    epochs: float | None = None
    """Passes over the data in each stage; by default the presets'."""
    encoder: str = "resnet18"
    """Any timm model by name that pools its map: ResNets, ConvNeXts, Swins."""
    width: int | None = None
    """Channels of the first stage of a ResNet."""
    image_size: int | None = None
    """Side of the encoder's input in pixels."""
    seed: int = 0
    """What both stages follow from."""


def stages(recipe: Recipe, **more: Any) -> Iterator[Stage]:
    """Both stages; `more` are further arguments of `train`."""
    expand = EXPAND[recipe.augment] if has_width(recipe.encoder) else 1
    masks = f"contracam:{Path(recipe.out) / 'first'}:{recipe.rounds}:{expand}"
    second = {"method": "objaware", "base": recipe.base, "augment": recipe.augment, "masks": masks}
    for name, own in (("first", {"method": recipe.base}), ("second", second)):
        asked = {
            "labels": recipe.labels,
            "epochs": recipe.epochs,
            "encoder": recipe.encoder,
            "width": recipe.width,
            "image_size": recipe.image_size,
            "seed": recipe.seed,
            **own,
            **more,
        }
        yield Stage(name, recipe.data, {key: value for key, value in asked.items() if value is not None})
