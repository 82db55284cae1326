"""InterCLR on MoCo: arXiv 2008.11702, section 4, and the official configuration."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.usual import moco, warm_cosine

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        moco(
            rate=warm_cosine(0.03, IMAGENET_R50, 256, 200, 0),
            memory={"queue": 65_536, "bank": IMAGENET_R50.images},
        ),
    ),
}
