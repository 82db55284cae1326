"""t-ReX and t-ReX*: arXiv 2206.15369, section 4, and the official code: classes by their means in a memory."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.usual import WHOLE, crops, groups, warm_cosine

COLOURS = "bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"
END = "normalised as ImageNet"
HIDDEN = "2048>2048, bn, gelu, "


def views(share: float) -> dict[str, str]:
    """One large crop of this share and more, eight small ones of it and less."""
    large = f"224 px, crop {share:g}-1 {COLOURS}, blur 0.1-2 at 0.2, solarise 0.2, {END}"
    return crops((large,), f"96 px, crop 0.05-{share:g} {COLOURS}, blur 0.1-2 at 0.5, {END}", 8)


ROWS: dict[str, Any] = {
    "batch": 256,
    "epochs": 100,
    "optimiser": "sgd, momentum 0.9",
    "rate": warm_cosine(0.1, IMAGENET_R50, 256, 100, 10, final=1e-6),
    "rate at twice the batch": 0.2,
    "decay": [1e-4] * 4,
    "groups": groups("student", decay=1e-4, vectors="rate x1, decay 0"),
    "teacher": "in the step: 0.999",
    "temperatures": {"temperature": 0.1},
    "heads": {"student": f"unit, {HIDDEN * 3}2048>256 without bias"},
    "views": views(0.25),
    "batch norm": WHOLE,
    "memory": {"memory": 8192},
    "deployed": "student",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R50, ROWS),
    "imagenet_star": (
        IMAGENET_R50,
        ROWS | {"heads": {"student": f"unit, {HIDDEN}2048>256 without bias"}, "views": views(0.4)},
    ),
}
