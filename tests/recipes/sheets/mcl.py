"""MCL without labels: arXiv 2104.12565, section 4, and the official code: two ResNet-18 on MoCo v1's recipe."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R18, Published
from tests.recipes.usual import groups, moco

VIEW = "224 px, crop 0.2-1 bilinear, flip 0.5, jitter 0.4 0.4 0.4 0.4 at 1, grey 0.2, normalised as ImageNet"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R18,
        moco(
            rate=[0.03, 0.03, 0.03, 0.03 * 0.1**2],  # times .1 after epochs 120 and 160
            groups=groups("students", decay=1e-4),
            temperatures={"temperature": 0.07, "kl_temperature": 3.0},
            heads={"students": "512>128, 512>128"},
            views={"query": VIEW, "key": VIEW},
            memory={"queues.0": 65_536, "queues.1": 65_536},
        ),
    ),
}
