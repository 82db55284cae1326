"""MSF: arXiv 2105.07269, section 4, and the official script."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.sheets.isd import GROUPS, PER_DEVICE, STRONG, WEAK

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 256,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.05, 0.05, 0.025, 0.05 * (1 + cos(pi * 199 / 200)) / 2],
            "rate at twice the batch": 0.1,
            "decay": [1e-4] * 4,
            "groups": GROUPS,
            "teacher": "before_step: 0.99, 0.99, 0.99, 0.99",
            "temperatures": {},
            "heads": {
                "student after the encoder": "2048>4096, bn, relu, 4096>512",
                "predictor": "512>4096, bn, relu, 4096>512",
            },
            "views": {"teacher": WEAK, "student": STRONG},
            "batch norm": PER_DEVICE,
            "memory": {"queue": 128_000},
            "deployed": "student",
        },
    ),
}
