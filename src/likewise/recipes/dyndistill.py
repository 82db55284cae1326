"""Dynamic distillation: an encoder of labelled base images first, then the target's unlabelled ones (arXiv 2106.07807).

The student of the second stage begins with encoder and classifier of the first, the teacher as a copy of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from likewise.recipes.chain import Stage


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Two stages: base and target."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
    """Unlabelled images of the target domain. Labels that they have are not looked at."""
    base: str
    """Labelled images of another domain."""
    out: str
    """Directory of both runs: base and target."""
    base_labels: str | None = None
    """Label column of the base images, or `folders`."""
    subset: str | None = None
    """Train on a draw of the target images: share:0.2 as published, ..."""
    base_epochs: float | None = None
    """Passes over the base images in the first stage; by default the preset's."""
    epochs: float | None = None
    """Passes over the target images in the second stage; by default the preset's."""
    variant: Literal["small", "miniimagenet"] = "small"
    """Presets of dyndistill: this one, and with _base that of the first stage."""
    encoder: str = "resnet18"
    """Any timm model by name; `resnet10` is the published one."""
    width: int | None = None
    """Channels of the first stage of a ResNet."""
    image_size: int | None = None
    """Side of the encoder's input in pixels, for both."""
    momentum: float = 0.99
    """Share of its old weights that the teacher keeps at each step; 1 is a fixed teacher."""
    seed: int = 0
    """What draws and training follow from."""


def stages(recipe: Recipe, **more: Any) -> Iterator[Stage]:
    """Both stages; `more` are further arguments of `train`."""
    first = {
        "variant": f"{recipe.variant}_base",
        "labels": recipe.base_labels,
        "epochs": recipe.base_epochs,
        "encoder": recipe.encoder,
        "width": recipe.width,
        "image_size": recipe.image_size,
    }
    second = {
        "variant": recipe.variant,
        "start": str(Path(recipe.out) / "base"),
        "beside": recipe.base,
        "beside_labels": recipe.base_labels,
        "subset": recipe.subset,
        "epochs": recipe.epochs,
        "momentum": recipe.momentum,
    }
    for name, data, own in (("base", recipe.base, first), ("target", recipe.data, second)):
        asked = {"method": "dyndistill", "seed": recipe.seed, **own, **more}
        yield Stage(name, data, {key: value for key, value in asked.items() if value is not None})
