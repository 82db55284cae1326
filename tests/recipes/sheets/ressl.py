"""ReSSL: arXiv 2107.09282, section 4, and the official code for ImageNet."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import CIFAR10_R18, IMAGENET_R50, Published
from tests.recipes.sheets.isd import STRONG, WEAK
from tests.recipes.usual import WHOLE, groups, warm_cosine

BATCHES = 1_281_167 // 256
WARM, STEPS = 5 * BATCHES, 200 * BATCHES


def rate(step: int) -> float:
    """At each step, 5 epochs of warm-up before the cosine."""
    return 0.05 * (1 + cos(pi * (step - WARM) / (STEPS - WARM))) / 2


SMALL = "32 px, crop 0.2-1 bilinear, flip 0.5"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar": (  # warm-up and views are not stated for small sets, and taken from the other recipe
        CIFAR10_R18,
        {
            "batch": 256,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": warm_cosine(0.06, CIFAR10_R18, 256, 200, 5),
            "rate at twice the batch": 0.12,
            "decay": [5e-4] * 4,
            "groups": groups("student", decay=5e-4),
            "teacher": "before_step: 0.99, 0.99, 0.99, 0.99",
            "temperatures": {"temperature_student": 0.1, "temperature_teacher": 0.04},
            "heads": {"student after the encoder": "512>2048, relu, 2048>128"},
            "views": {
                "teacher": f"{SMALL}, normalised as CIFAR-10",
                "student": f"{SMALL}, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, blur 0.1-2 at 0.5, "
                "normalised as CIFAR-10",
            },
            "batch norm": WHOLE,
            "memory": {"queue": 4096},
            "deployed": "student",
        },
    ),
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 256,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.0, 0.05, rate(STEPS // 2), rate(STEPS - 1)],
            "rate at twice the batch": 0.1,
            "decay": [1e-4] * 4,
            "groups": {
                "student: matrices": "rate x1, decay 0.0001",
                "student: norms and biases": "rate x1, decay 0",
            },
            "teacher": "before_step: 0.999, 0.999, 0.999, 0.999",
            "temperatures": {"temperature_student": 0.1, "temperature_teacher": 0.04},
            "heads": {"student after the encoder": "2048>4096, relu, 4096>512"},
            "views": {"teacher": WEAK, "student": STRONG},
            "batch norm": "student: 8 groups; teacher: 8 groups, permuted",  # shuffled BN over 8 devices
            "memory": {"queue": 131_072},
            "deployed": "student",
        },
    ),
}
