"""Object-aware contrast: arXiv 2108.00049, section 4 and appendix, and the official code's settings of both stages.

Boxes and masks are no row: the notes of the presets say which the paper has.
"""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import Ours, Published
from tests.recipes.sheets.isd import STRONG
from tests.recipes.usual import WHOLE, groups

COCO = Published(images=118_287, side=224, classes=80, encoder="resnet50", features=2048)
IMAGENET9 = Published(images=45_405, side=224, classes=9, encoder="resnet18", features=512)
CROP = STRONG.replace("crop 0.2-1", "crop 0.08-1")


def rows(teacher: str, **own: Any) -> dict[str, Any]:
    """What both bases and both data sets have in common: 800 epochs, a cosine in stairs of an epoch down to .001."""
    return {
        "batch": 256,
        "epochs": 800,
        "optimiser": "sgd, momentum 0.9",
        "rate": [0.03, 0.03, (0.03 + 0.001) / 2, 0.001 + (0.03 - 0.001) * (1 + cos(pi * 799 / 800)) / 2],
        "rate at twice the batch": 0.06,
        "decay": [1e-4] * 4,
        "groups": groups(*own.get("parts", ["student"]), decay=1e-4),
        "teacher": teacher,
        "temperatures": own["temperatures"],
        "heads": own["heads"],
        "views": {"first": CROP, "second": CROP},
        "batch norm": WHOLE,
        "memory": own["memory"],
        "deployed": "student",
    }


def moco(features: int, queue: int, **more: int) -> dict[str, Any]:
    """On MoCo v2."""
    return rows(
        "before_step: 0.999, 0.999, 0.999, 0.999",
        temperatures={"temperature": 0.2},
        heads=Ours(
            {"student after the encoder": f"{features}>{features}, relu, {features}>128"},
            published=f"{features}>{features} without bias, bn, relu, {features}>128",
        ),
        memory=Ours({**more, "base.queue": queue}, published={**more, "base.queue": 65_536}),
    )


def byol(features: int, **more: int) -> dict[str, Any]:
    """On BYOL, whose momentum stays; when its target moves is not told, and is as in BYOL's own code."""
    return rows(
        "after_step: 0.996, 0.996, 0.996, 0.996",
        parts=["student", "predictor"],
        temperatures={},
        heads=Ours(
            {
                "student after the encoder": f"{features}>4096, bn, relu, 4096>256",
                "predictor": "256>4096, bn, relu, 4096>256",
            },
            published="hidden layers without bias",
        ),
        memory=more,
    )


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "coco": (COCO, moco(2048, 118_287 // 2)),
    "coco_byol": (COCO, byol(2048)),
    "imagenet9": (IMAGENET9, moco(512, 45_405 // 2, backgrounds=50)),
    "imagenet9_byol": (IMAGENET9, byol(512, backgrounds=50)),
}
