"""Barlow Twins: arXiv 2103.03230, section 2 and appendix A, and the official code; the paper decays by 1.5e-6."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.usual import BYOL_VIEWS, warm_cosine

WIDE = "8192>8192 without bias"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 2048,
            "epochs": 1000,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.001",
            "rate": warm_cosine(0.2 * 8, IMAGENET_R50, 2048, 1000, 10, final=0.2 * 8 / 1000),
            "rate at twice the batch": 0.2 * 16,
            "decay": [1e-6] * 4,
            "groups": {
                "network: matrices": "rate x1, decay 1e-06, scaled by lars",
                "network: norms and biases": f"rate x{0.0048 / 0.2:g}, decay 0",
            },
            "teacher": None,
            "temperatures": {},
            # the batch norm without affine that follows is part of the loss
            "heads": {"network after the encoder": f"2048>8192 without bias, bn, relu, {WIDE}, bn, relu, {WIDE}"},
            "views": BYOL_VIEWS,
            "batch norm": "student: whole batch",
            "memory": {},
            "deployed": "student",
        },
    ),
}
