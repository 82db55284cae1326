"""MoCHi: arXiv 2010.01028, section 4: MoCo v2's recipe. The batch of ImageNet-100 is not certain (128 or 256)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.usual import moco

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R50, moco()),
    "imagenet100": (replace(IMAGENET_R50, images=126_689, classes=100), moco(memory={"queue": 16_384})),
}
