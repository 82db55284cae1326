"""ASCL: arXiv 2207.11163, section 4, and the official code; ImageNet by the recipe of MoCo v2."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import CIFAR10_R18, IMAGENET_R50, Published
from tests.recipes.sheets.isd import STRONG, WEAK

BATCHES = 50_000 // 256
WARM, STEPS = 5 * BATCHES, 200 * BATCHES
CROP = "32 px, crop 0.2-1 bilinear, flip 0.5"
SMALL = {
    "teacher": f"{CROP}, normalised as CIFAR-10",
    "student": f"{CROP}, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, blur 0.1-2 at 0.5, normalised as CIFAR-10",
}


def rate(step: int) -> float:
    """At each step, 5 epochs of warm-up before the cosine."""
    return 0.03 * (1 + cos(pi * (step - WARM) / (STEPS - WARM))) / 2


CIFAR: dict[str, Any] = {
    "batch": 256,
    "epochs": 200,
    "optimiser": "sgd, momentum 0.9",
    "rate": [0.0, 0.03, rate(STEPS // 2), rate(STEPS - 1)],
    "rate at twice the batch": 0.06,
    "decay": [5e-4] * 4,
    "groups": {f"student: {kind}": "rate x1, decay 0.0005" for kind in ("matrices", "norms and biases")},
    "teacher": "before_step: 0.99, 0.99, 0.99, 0.99",
    "temperatures": {"temperature_student": 0.1, "temperature_teacher": 0.05},
    "heads": {"student after the encoder": "512>2048, relu, 2048>128"},
    "views": SMALL,
    "batch norm": "student: 8 groups; teacher: 8 groups, permuted",
    "memory": {"queue": 4096},
    "deployed": "student",
}
BYOL = "rate x1, decay 0.0005"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar": (CIFAR10_R18, CIFAR),
    "cifar_byol": (
        CIFAR10_R18,
        CIFAR
        | {
            "groups": {
                f"{part}: {kind}": BYOL
                for part in ("student", "predictor")
                for kind in ("matrices", "norms and biases")
            },
            "heads": {
                "student after the encoder": "512>2048, relu, 2048>128",
                "predictor": "128>512, bn, relu, 512>128",
            },
            # the code splits the encoder's norms alone, so not the predictor's
            "batch norm": "student: whole batch or 8 groups; teacher: 8 groups, permuted",
            "memory": {},
        },
    ),
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 256,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.03, 0.03, 0.015, 0.03 * (1 + cos(pi * 199 / 200)) / 2],
            "rate at twice the batch": 0.06,
            "decay": [1e-4] * 4,
            "groups": {f"student: {kind}": "rate x1, decay 0.0001" for kind in ("matrices", "norms and biases")},
            "teacher": "before_step: 0.999, 0.999, 0.999, 0.999",
            "temperatures": {"temperature_student": 0.1, "temperature_teacher": 0.05},
            "heads": {"student after the encoder": "2048>2048, relu, 2048>128"},
            "views": {"teacher": WEAK, "student": STRONG},
            "batch norm": "student: 8 groups; teacher: 8 groups, permuted",  # MoCo's ShuffleBN over 8 devices
            "memory": {"queue": 65_536},
            "deployed": "student",
        },
    ),
}
