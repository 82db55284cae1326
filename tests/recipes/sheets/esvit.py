"""EsViT: arXiv 2106.09785, section 4, and the official code: Swin-T with windows of 7, 300 epochs."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_SWIN_T, Published
from tests.recipes.sheets.dino import views
from tests.recipes.usual import WHOLE, cosine_steps, warm_cosine

HEAD = "768>2048, gelu, 2048>2048, gelu, 2048>256"
PROTOTYPES = "256>65536 weight-normalised"

ROWS: dict[str, Any] = {
    "batch": 512,
    "epochs": 300,
    "optimiser": "adamw, momentum 0.9",
    "rate": warm_cosine(5e-4 * 2, IMAGENET_SWIN_T, 512, 300, 10, final=1e-6),
    "rate at twice the batch": 5e-4 * 4,
    "decay": cosine_steps(0.04, 0.4, IMAGENET_SWIN_T, 512, 300, 10),
    "groups": {
        "student: matrices": "rate x1, decay 0.04",
        "student: norms and biases": "rate x1, decay 0",
    },
    "teacher": "after_step: 0.996, 0.996, 0.998, 1",
    "temperatures": {
        "temperature_student": 0.1,
        "temperature_teacher": 0.07,
        "warmup_temperature": 0.04,
        "temperature_warmup": 30 / 300,
        "temperature_stairs": True,
    },
    "heads": {"student": f"{HEAD}, {HEAD}, {PROTOTYPES}, {PROTOTYPES}"},
    "views": views("0.4-1", "0.05-0.4"),
    "batch norm": WHOLE,
    "memory": {},
    "deployed": "teacher",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_SWIN_T, ROWS),
    "imagenet_late": (IMAGENET_SWIN_T, ROWS),
}
