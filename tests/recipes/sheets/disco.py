"""DisCo: arXiv 2104.09124, section 4 and official code; MoCo v2 teacher and ResNet-18 student, 8 devices."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R18, Published

COLOURS = "flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2"
STRONG = f"224 px, crop 0.2-1 bilinear, {COLOURS}, blur 0.1-2 at 0.5, normalised as ImageNet"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R18,
        {
            "batch": 256,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.03, 0.03, 0.015, 0.03 * (1 + cos(pi * 199 / 200)) / 2],
            "rate at twice the batch": 0.06,
            "decay": [1e-4] * 4,
            "groups": {
                "student: matrices": "rate x1, decay 0.0001",
                "student: norms and biases": "rate x1, decay 0.0001",
            },
            "teacher": "before_step: 0.999, 0.999, 0.999, 0.999",
            "temperatures": {"temperature": 0.2},
            "heads": {"student after the encoder": "512>2048, relu, 2048>128"},
            "views": {"first": STRONG, "second": STRONG},
            "batch norm": "student: 8 groups; teacher: 8 groups, permuted",
            "memory": {"queue": 65_536},
            "deployed": "student",
        },
    ),
}
