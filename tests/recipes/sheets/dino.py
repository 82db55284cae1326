"""DINO: arXiv 2104.14294, section 3 and appendix, and the official code: its best recipes of 800 epochs."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, IMAGENET_VIT_S, Published
from tests.recipes.usual import WHOLE, cosine_steps, crops, groups, warm_cosine

COLOURS = "bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"
ENDS = ("blur 0.1-2 at 1, normalised as ImageNet", "blur 0.1-2 at 0.1, solarise 0.2, normalised as ImageNet")
SMALL_END = "blur 0.1-2 at 0.5, normalised as ImageNet"


def views(large: str, small: str) -> dict[str, str]:
    """Two large views of these scales and eight small ones."""
    first, second = (f"224 px, crop {large} {COLOURS}, {end}" for end in ENDS)
    return crops((first, second), f"96 px, crop {small} {COLOURS}, {SMALL_END}", 8)


ROWS: dict[str, Any] = {
    "batch": 1024,
    "epochs": 800,
    "optimiser": "adamw, momentum 0.9",
    "rate": warm_cosine(5e-4 * 4, IMAGENET_VIT_S, 1024, 800, 10, final=1e-6),
    "rate at twice the batch": 5e-4 * 8,
    "decay": cosine_steps(0.04, 0.4, IMAGENET_VIT_S, 1024, 800, 10),
    "groups": {
        "student: matrices": "rate x1, decay 0.04",
        "prototypes: matrices": "rate x1, decay 0.04",
        "student: norms and biases": "rate x1, decay 0",
    },
    "teacher": "after_step: 0.996, 0.996, 0.998, 1",
    "temperatures": {
        "temperature_student": 0.1,
        "temperature_teacher": 0.07,
        "warmup_temperature": 0.04,
        "temperature_warmup": 30 / 800,
        "temperature_stairs": True,
    },
    "heads": {
        "student": "384>2048, gelu, 2048>2048, gelu, 2048>256",
        "prototypes": "256>65536 weight-normalised of fixed length",
    },
    "views": views("0.4-1", "0.05-0.4"),
    "batch norm": WHOLE,
    "memory": {},
    "deployed": "teacher",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_VIT_S, ROWS),
    "imagenet_resnet": (
        IMAGENET_R50,
        ROWS
        | {
            "optimiser": "sgd, momentum 0.9",
            "rate": warm_cosine(0.03 * 4, IMAGENET_R50, 1024, 800, 10, final=1e-6),
            "rate at twice the batch": 0.03 * 8,
            "decay": [1e-4] * 4,
            "groups": groups("student", decay=1e-4, vectors="rate x1, decay 0")
            | {"prototypes: matrices": "rate x1, decay 0.0001"},
            "heads": {
                "student": "2048>2048, gelu, 2048>2048, gelu, 2048>256",
                "prototypes": "256>65536 weight-normalised of fixed length",
            },
            "views": views("0.14-1", "0.05-0.14"),
        },
    ),
}
