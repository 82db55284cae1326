"""BYOL: arXiv 2006.07733, appendix B and official code; the asymmetric form is train_byol of ISD's code."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Ours, Published
from tests.recipes.sheets.isd import GROUPS, STRONG

BATCHES = 1_281_167 // 4096
STEPS = 1000 * BATCHES
CROP = "224 px, crop 0.08-1 bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"


def share(step: int) -> float:
    """Of the cosine, which begins after 10 of 1000 epochs of warm-up and goes on at each step."""
    return (step - STEPS // 100) / (STEPS - STEPS // 100)


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 4096,
            "epochs": 1000,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.001",
            "rate": [0.0, *(3.2 * (1 + cos(pi * share(at))) / 2 for at in (STEPS // 100, STEPS // 2, STEPS - 1))],
            "rate at twice the batch": 6.4,
            "decay": [1.5e-6] * 4,
            "groups": {
                f"{part}: {kind}": text
                for kind, text in {
                    "matrices": "rate x1, decay 1.5e-06, scaled by lars",
                    "norms and biases": "rate x1, decay 0",
                }.items()
                for part in ("student", "predictor")
            },
            "teacher": "after_step: 0.996, 0.996, 0.998, 1",
            "temperatures": {},
            "heads": {
                "student after the encoder": "2048>4096, bn, relu, 4096>256 without bias",
                "predictor": "256>4096, bn, relu, 4096>256 without bias",
            },
            "views": {
                "first": f"{CROP}, blur 0.1-2 at 1, normalised as ImageNet",
                "second": f"{CROP}, blur 0.1-2 at 0.1, solarise 0.2, normalised as ImageNet",
            },
            "batch norm": "student: whole batch; teacher: whole batch",  # synchronised over all devices
            "memory": {},
            "deployed": "student",
        },
    ),
    "asymmetric": (
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
            "temperatures": {},
            "heads": {
                "student after the encoder": "2048>4096, bn, relu, 4096>512",
                "predictor": "512>4096, bn, relu, 4096>512",
            },
            "views": {"first": STRONG, "second": STRONG},
            "batch norm": Ours("student: whole batch; teacher: whole batch", published="of each device"),
            "memory": {},
            "deployed": "student",
        },
    ),
}
