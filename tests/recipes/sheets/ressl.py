"""ReSSL: arXiv 2107.09282, section 4, and the official code for ImageNet."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.sheets.isd import STRONG, WEAK

BATCHES = 1_281_167 // 256
WARM, STEPS = 5 * BATCHES, 200 * BATCHES


def rate(step: int) -> float:
    """At each step, 5 epochs of warm-up before the cosine."""
    return 0.05 * (1 + cos(pi * (step - WARM) / (STEPS - WARM))) / 2


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
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
