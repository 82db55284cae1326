"""S2-BNN: arXiv 2102.08946, section 4 and official code; distillation only, ReActNet-A, Adam."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published

MILD = (
    "224 px, crop 0.2-1 bilinear, flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.6, grey 0.2, blur 0.1-2 at 0.2, normalised as "
    "ImageNet"
)

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        replace(IMAGENET_R50, encoder="reactnet_a", features=1024),
        {
            "batch": 256,
            "epochs": 200,
            "optimiser": "adamw, momentum 0.9",  # without decay it is Adam
            "rate": [3e-4, 3e-4, 1.5e-4, 3e-4 * (1 + cos(pi * 199 / 200)) / 2],
            "rate at twice the batch": 6e-4,
            "decay": [0.0] * 4,
            "groups": {
                "student: matrices": "rate x1, decay 0",
                "student: norms and biases": "rate x1, decay 0",
            },
            "teacher": None,
            "temperatures": {"temperature": 0.2},
            "heads": {"student after the encoder": "1024>1024, relu, 1024>128"},
            "views": {"first": MILD},
            "batch norm": "student: whole batch",
            "memory": {},
            "deployed": "student",
        },
    ),
}
