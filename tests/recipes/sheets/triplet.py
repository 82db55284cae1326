"""Truncated triplet: arXiv 2104.08760, section 4, and the official configuration, 200 epochs: 196 images on each of 8
devices, 4 times before a step."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Ours, Published
from tests.recipes.usual import BYOL_VIEWS, WHOLE, lars, warm_cosine

BATCH = 196 * 8 * 4

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": BATCH,
            "epochs": 200,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.001",
            "rate": warm_cosine(4.8, IMAGENET_R50, BATCH, 200, 10),
            "rate at twice the batch": 9.6,
            "decay": [1e-6] * 4,
            "groups": lars("student", "predictor", decay=1e-6),
            "teacher": "after_step: 0.99, 0.9901, 0.995, 1",
            "temperatures": {},
            "heads": {
                "student after the encoder": "2048>4096, bn, relu, 4096>256",
                "predictor": "256>4096, bn, relu, 4096>256",
            },
            "views": BYOL_VIEWS,  # at random sizes from 96 (teacher: 128) to 224 px
            "batch norm": Ours(WHOLE, published="of each of the 4 parts of a step, over all devices"),
            "memory": {},
            "deployed": "student",
        },
    ),
}
