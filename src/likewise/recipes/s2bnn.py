"""S2-BNN: real weights with binary activations first, then the same network with 1-bit weights (arXiv 2102.08946).

The second run takes all weights of the first, its head among them, and learns the whole schedule again (section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from likewise.recipes.chain import Stage

STAGES = ("real", "binary")
REAL = "_real"
"""Behind the name of a binary encoder: the same with real weights."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Both steps of binarisation."""

    data: Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
    """Images. Labels that they have are not looked at."""
    out: str
    """Directory of the two runs, real and binary."""
    teacher: str = ""
    """Run of a method with a projection head, which both steps follow; none with regime=contrast."""
    regime: Literal["distil", "contrast", "both"] = "distil"
    """distil: follow the teacher, the best in the paper. contrast: MoCo v2, without a teacher. both."""
    encoder: Literal["reactnet_small", "reactnet_a"] = "reactnet_small"
    """reactnet_a is the published network, reactnet_small one for images up to 64 px."""
    variant: Literal["small", "imagenet"] = "small"
    """Preset of s2bnn, for both steps."""
    epochs: float | None = None
    """Passes over the data in each step; by default the preset's."""
    image_size: int | None = None
    """Side of the encoder's input in pixels."""
    batch_size: int | None = None
    """Images a step; by default the preset's."""
    seed: int = 0
    """What training follows from."""


def stages(recipe: Recipe, **more: Any) -> Iterator[Stage]:
    """Both steps; `more` are further arguments of `train`."""
    same = {
        "method": "s2bnn",
        "variant": recipe.variant,
        "teacher": recipe.teacher or None,
        "regime": recipe.regime,
        "epochs": recipe.epochs,
        "image_size": recipe.image_size,
        "batch_size": recipe.batch_size,
        "seed": recipe.seed,
        **more,
    }
    first = str(Path(recipe.out) / STAGES[0])
    for name, own in (
        (STAGES[0], {"encoder": recipe.encoder + REAL}),
        (STAGES[1], {"encoder": recipe.encoder, "first_step": first}),
    ):
        yield Stage(name, recipe.data, {key: value for key, value in {**same, **own}.items() if value is not None})
