"""CLIP with self-distillation and OTTER: arXiv 2104.08945 and 2112.09445, and the code of the second."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Ours, Published

BLOCK = "768>2304, 768>768, 768>3072, gelu, 3072>768"
SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cc3m": (
        IMAGENET_R50,
        {
            "batch": 512,
            "epochs": 10,
            "optimiser": "sgd, momentum 0.9",
            "rate": [3e-3, 3e-3, 1.5e-3, 3e-3 * (1 + cos(pi * 9 / 10)) / 2],
            "rate at twice the batch": 6e-3,
            "decay": [0.0] * 4,
            "groups": {
                "towers: matrices": "rate x1, decay 0",
                "towers: norms and biases": "rate x1, decay 0",
                "log_scale: norms and biases": "rate x1, decay 0",
                "log_scale_soft: norms and biases": "rate x1, decay 0",
            },
            "teacher": "before_step: 0.1818, 0.1818, 0.999, 0.999",  # min(.999, (1 + n) / (10 + n))
            "temperatures": {},
            "heads": Ours(
                {"towers": ", ".join(["2048>768 without bias", *[BLOCK] * 6, "768>768"])},
                published={"towers": "2048>768, and a trained DeCLUTR-sci-base (mean of its tokens)"},
            ),
            "views": {"image": "224 px, crop 0.76-0.77 bilinear, flip 0, normalised as ImageNet"},
            "batch norm": "student: whole batch; teacher: whole batch",
            "memory": {},
            "deployed": "student",
        },
    ),
}
