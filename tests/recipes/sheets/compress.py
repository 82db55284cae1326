"""CompRess: arXiv 2010.14713, section 4, and the official code; MoCo's ResNet-50 as teacher of a ResNet-18."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R18, Published
from tests.recipes.usual import WHOLE, groups

ROWS: dict[str, Any] = {
    "batch": 256,
    "epochs": 130,
    "optimiser": "sgd, momentum 0.9",
    "rate": [0.01, 0.01, 0.01, 0.01 * 0.2**2],  # times .2 after epochs 90 and 120
    "rate at twice the batch": 0.02,
    "decay": [1e-4] * 4,
    "groups": groups("student", decay=1e-4),
    "teacher": "after_step: 0.999, 0.999, 0.999, 0.999",  # the slow copy that writes the student's bank
    "temperatures": {"temperature": 0.04},
    "heads": {"student after the encoder": ""},
    "views": {"image": "224 px, crop 0.08-1 bilinear, flip 0.5, normalised as ImageNet"},
    "batch norm": WHOLE,  # nothing is said of devices
    "memory": {"teacher_bank": 128_000, "student_bank": 128_000},
    "deployed": "student",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R18, ROWS),
    "imagenet_1q": (
        IMAGENET_R18,
        ROWS
        | {
            "teacher": None,
            "heads": {"student after the encoder": "512>2048"},
            "batch norm": "student: whole batch",
            "memory": {"teacher_bank": 128_000},
        },
    ),
}
