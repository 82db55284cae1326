"""ISD: arXiv 2012.09259, section 4, and the official scripts train_isd (r18) and train_isd_plus (plus)."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R18, IMAGENET_R50, Ours, Published

WEAK = "224 px, crop 0.2-1 bilinear, flip 0.5, normalised as ImageNet"
STRONG = (
    "224 px, crop 0.2-1 bilinear, flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, blur 0.1-2 at 0.5, "
    "normalised as ImageNet"
)
PER_DEVICE = Ours("student: whole batch; teacher: whole batch", published="of each device, teacher's images permuted")
GROUPS = {
    f"{part}: {kind}": "rate x1, decay 0.0001"
    for part in ("student", "predictor")
    for kind in ("matrices", "norms and biases")
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "r18": (
        IMAGENET_R18,
        {
            "batch": 256,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.01, 0.01, 0.01, 0.01 * 0.2**2],  # times .2 after epochs 140 and 180
            "rate at twice the batch": 0.02,
            "decay": [1e-4] * 4,
            "groups": GROUPS,
            "teacher": "before_step: 0.999, 0.999, 0.999, 0.999",
            "temperatures": {"temperature_student": 0.02, "temperature_teacher": 0.02},
            "heads": {
                "student after the encoder": "",
                "predictor": "512>512 without bias, bn, relu, 512>512",
            },
            "views": {"teacher": STRONG, "student": STRONG},
            "batch norm": PER_DEVICE,
            "memory": {"queue": 128_000},
            "deployed": "student",
        },
    ),
    "plus": (
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
            "temperatures": {"temperature_student": 0.1, "temperature_teacher": 0.01},
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
