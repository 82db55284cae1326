"""XMoCo: arXiv 2206.04676, of which the abstract alone was at hand: MoCo v2's recipe; its own numbers are ours."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.usual import moco

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R50, moco(temperatures={"temperature": 0.2, "temperature_uniform": 0.2})),
}
