"""Background augmentations: arXiv 2103.12719. There is no official code, and what it trained with is known in part.

Epochs are of its longest runs of MoCo v2 and BYOL, and between those of SwAV; all else is the base's published recipe.
"""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Ours, Published
from tests.recipes.sheets.byol import SHEETS as BYOL
from tests.recipes.sheets.isd import STRONG
from tests.recipes.sheets.swav import SHEETS as SWAV
from tests.recipes.usual import cosine_epochs, moco


def around(rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The rows of a base; its rates are ours, since those of the paper are not known."""
    return {**rows, "rate": Ours(rows["rate"], published="not known"), **changes}


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        around(
            moco(epochs=800, rate=cosine_epochs(0.03, 800)),
            views=dict.fromkeys(("first", "second", "negative"), STRONG),
            memory={"base.queue": 65_536},
        ),
    ),
    "imagenet_byol": (IMAGENET_R50, around(BYOL["imagenet"][1])),
    "imagenet_swav": (
        IMAGENET_R50,
        around(
            SWAV["imagenet_256"][1],
            memory={f"base.{part}": rows for part, rows in SWAV["imagenet_256"][1]["memory"].items()},
        ),
    ),
}
