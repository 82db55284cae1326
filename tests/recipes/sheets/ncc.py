"""ProPos (NCC): arXiv 2111.11821, section 4, and the official scripts. Warm-up and decay on ImageNet are assumed."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published

BATCHES = 1_281_167 // 4096
WARM, STEPS = 10 * BATCHES, 200 * BATCHES
CROP = "224 px, crop 0.08-1 bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"


def rate(step: int) -> float:
    """The cosine is as long as the whole budget and is cut off at its end."""
    return 4.8 * (1 + cos(pi * (step - WARM) / STEPS)) / 2


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 4096,
            "epochs": 200,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.001",
            "rate": [0.0, 4.8, rate(STEPS // 2), rate(STEPS - 1)],
            "rate at twice the batch": 9.6,
            "decay": [1e-6] * 4,
            "groups": {
                f"{part}: {kind}": text
                for kind, text in {
                    "matrices": "rate x1, decay 1e-06, scaled by lars",
                    "norms and biases": "rate x1, decay 0",
                }.items()
                for part in ("student", "predictor")
            },
            "teacher": "after_backward: 0.99, 0.9901, 0.995, 1",
            "temperatures": {"temperature": 0.5},
            "heads": {
                "student after the encoder": "2048>4096, bn, relu, 4096>256",
                "predictor": "256>4096, bn, relu, 4096>256",
            },
            "views": {
                "first": f"{CROP}, blur 0.1-2 at 1, normalised as ImageNet",
                "second": f"{CROP}, blur 0.1-2 at 0.1, solarise 0.2, normalised as ImageNet",
            },
            "batch norm": "student: whole batch; teacher: whole batch",
            "memory": {"queue": 10_240},
            "deployed": "teacher",
        },
    ),
}
