"""MIRA: arXiv 2211.02284, section 4 and appendix, and the official code: 400 epochs with small crops."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.sheets.dino import COLOURS, ENDS, SMALL_END
from tests.recipes.usual import WHOLE, crops, lars, warm_cosine

HIDDEN = "2048>2048 without bias, bn, relu"
FIRST, SECOND = (f"224 px, crop 0.14-1 {COLOURS}, {end}" for end in ENDS)

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 4096,
            "epochs": 400,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.001",
            "rate": warm_cosine(0.3 * 16, IMAGENET_R50, 4096, 400, 10, start=0.3),
            "rate at twice the batch": 0.3 * 32,
            "decay": [1e-6] * 4,
            "groups": lars("student", decay=1e-6) | {"prototypes: matrices": "rate x1, decay 1e-06, scaled by lars"},
            "teacher": "before_step: 0.99, 0.99, 0.995, 1",
            "temperatures": {"temperature_student": 0.1, "temperature_teacher": 0.225},
            "heads": {
                "student": f"{HIDDEN}, {HIDDEN}, 2048>256",
                "prototypes": "256>3000 weight-normalised of fixed length",
            },
            "views": crops((FIRST, SECOND), f"96 px, crop 0.05-0.14 {COLOURS}, {SMALL_END}", 6),
            "batch norm": WHOLE,
            "memory": {},
            "deployed": "student",
        },
    ),
}
