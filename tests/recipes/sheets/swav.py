"""SwAV: arXiv 2006.09882, section 3 and appendix A, and the official scripts (800 epochs; batch 256, 200 epochs)."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Ours, Published
from tests.recipes.usual import crops, groups, warm_cosine

COLOURS = "bilinear, flip 0.5, jitter 0.8 0.8 0.8 0.2 at 0.8, grey 0.2, blur 0.1-2 at 0.5, normalised as ImageNet"
LARGE = f"224 px, crop 0.14-1 {COLOURS}"
SCALED = ", scaled by lars"
ROWS: dict[str, Any] = {
    "batch": 4096,
    "epochs": 800,
    "optimiser": "lars, momentum 0.9, swav form, trust 0.001",
    "rate": warm_cosine(4.8, IMAGENET_R50, 4096, 800, 10, start=0.3, final=0.0048),
    "rate at twice the batch": 9.6,
    "decay": [1e-6] * 4,
    "groups": groups("network", decay=1e-6, scaled=SCALED) | {"prototypes: matrices": f"rate x1, decay 1e-06{SCALED}"},
    "teacher": None,
    "temperatures": {"temperature": 0.1},
    "heads": {"network": "2048>2048, bn, relu, 2048>128", "prototypes": "128>3000 unit rows before each step"},
    "views": Ours(
        crops((LARGE, LARGE), f"96 px, crop 0.05-0.14 {COLOURS}", 6),
        published="normalised by (0.485, 0.456, 0.406) (0.228, 0.224, 0.225)",
    ),
    "batch norm": "student: whole batch",
    "memory": {},
    "deployed": "student",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R50, ROWS),
    "imagenet_256": (
        IMAGENET_R50,
        ROWS
        | {
            "batch": 256,
            "epochs": 200,
            "rate": warm_cosine(0.6, IMAGENET_R50, 256, 200, 0, final=0.0006),
            "rate at twice the batch": 1.2,
            "memory": {"queues.0": 3840, "queues.1": 3840},
        },
    ),
}
