"""CVRL: arXiv 2008.03800, section 4 and appendix, and the official configuration (tensorflow/models, video_ssl)."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import Ours, Published

KINETICS = Published(images=240_000, side=224, classes=400, encoder="r3d50", features=2048)
BATCHES = 240_000 // 1024
STEPS = 200 * BATCHES
WARM = round(STEPS * 5 / 200)
CROP = "224 px, crop 0.3-1 bilinear, flip 0.5, jitter 0.8 0.8 0.8 0.2 at 0.8, grey 0.2"


def rate(step: int) -> float:
    """Of the cosine after five epochs of warm-up."""
    return 0.32 * (1 + cos(pi * (step - WARM) / (STEPS - WARM))) / 2


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "kinetics": (
        KINETICS,
        {
            "batch": 1024,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.0, *(rate(at) for at in (WARM, STEPS // 2, STEPS - 1))],
            "rate at twice the batch": 0.64,
            "decay": [1e-6] * 4,
            "groups": {
                "network: matrices": "rate x1, decay 1e-06",
                "network: norms and biases": "rate x1, decay 0",
            },
            "teacher": None,
            "temperatures": {"temperature": 0.1},
            "heads": {
                "network after the encoder": "2048>2048, bn, relu, 2048>2048, bn, relu, 2048>2048, bn, relu, 2048>128"
            },
            "views": Ours(
                {
                    "first": f"{CROP}, blur 0.1-2 at 1, normalised as ImageNet",
                    "second": f"{CROP}, blur 0.1-2 at 0.1, solarise 0.2, normalised as ImageNet",
                },
                published="contrast around the mean of the whole clip",
            ),
            "batch norm": "student: whole batch",
            "memory": {},
            "deployed": "student",
        },
    ),
}
