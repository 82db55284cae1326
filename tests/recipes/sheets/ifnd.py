"""IFND: arXiv 2106.03719, section 4; MoCo v2 on ImageNet. The official code could not be read."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.usual import moco

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R50, moco(temperatures={"temperature": 0.2, "confidence_temperature": 0.2})),
}
