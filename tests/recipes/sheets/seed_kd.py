"""SEED: arXiv 2101.04731, section 4, and the official code; a ResNet-18, and teachers whose heads give 128 numbers."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R18, Published
from tests.recipes.sheets.isd import STRONG
from tests.recipes.usual import crops, groups

COLOURS = "bilinear, flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, blur 0.1-2 at 0.5, normalised as ImageNet"


def rates(epochs: int) -> list[float]:
    """Five epochs from the base rate, which is the peak at 256 images; the cosine runs from the first epoch on."""
    return [0.03, *(0.03 * (1 + cos(pi * at / epochs)) / 2 for at in (5, epochs // 2, epochs - 1))]


ROWS: dict[str, Any] = {
    "batch": 256,
    "epochs": 200,
    "optimiser": "sgd, momentum 0.9",
    "rate": rates(200),
    "rate at twice the batch": 0.06,
    "decay": [1e-4] * 4,
    "groups": groups("student", decay=1e-4),
    "teacher": None,
    "temperatures": {"temperature_student": 0.2, "temperature_teacher": 0.01},
    "heads": {"student after the encoder": "512>512, relu, 512>128"},
    "views": {"large_0": STRONG},
    "batch norm": "student: whole batch",  # nothing is said of devices
    "memory": {"queue": 65_536},
    "deployed": "student",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R18, ROWS),
    "swav": (
        IMAGENET_R18,
        ROWS
        | {
            "epochs": 800,
            "rate": rates(800),
            "views": crops((f"224 px, crop 0.14-1 {COLOURS}",), f"96 px, crop 0.05-0.14 {COLOURS}", 6),
            "memory": {"queue": 65_536, "small_queue": 65_536},
        },
    ),
}
