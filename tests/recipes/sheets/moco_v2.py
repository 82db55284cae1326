"""MoCo v2: arXiv 2003.04297 and 1911.05722, official code and its CIFAR-10 notebook."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import CIFAR10_R18, IMAGENET_R50, Published

COLOURS = "flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2"
STRONG = f"224 px, crop 0.2-1 bilinear, {COLOURS}, blur 0.1-2 at 0.5, normalised as ImageNet"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
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
            "heads": {"student after the encoder": "2048>2048, relu, 2048>128"},
            "views": {"first": STRONG, "second": STRONG},
            "batch norm": "student: 8 groups; teacher: 8 groups, permuted",  # ShuffleBN over 8 devices
            "memory": {"queue": 65_536},
            "deployed": "student",
        },
    ),
    "cifar": (
        CIFAR10_R18,
        {
            "batch": 512,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.06, 0.06, 0.03, 0.06 * (1 + cos(pi * 199 / 200)) / 2],
            "rate at twice the batch": 0.12,
            "decay": [5e-4] * 4,
            "groups": {
                "student: matrices": "rate x1, decay 0.0005",
                "student: norms and biases": "rate x1, decay 0.0005",
            },
            "teacher": "before_step: 0.99, 0.99, 0.99, 0.99",
            "temperatures": {"temperature": 0.1},
            "heads": {"student after the encoder": "512>128"},
            "views": dict.fromkeys(
                ("first", "second"), f"32 px, crop 0.08-1 bilinear, {COLOURS}, normalised as CIFAR-10"
            ),
            "batch norm": "student: 8 groups; teacher: 8 groups, permuted",
            "memory": {"queue": 4096},
            "deployed": "student",
        },
    ),
}
