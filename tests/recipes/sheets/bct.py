"""BCT: arXiv 2003.11942, section 4, and the first author's code for ImageNet."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published

ROWS: dict[str, Any] = {
    "batch": 256,
    "epochs": 90,
    "optimiser": "sgd, momentum 0.9",
    "rate": [0.1, 0.1, 0.01, 0.001],
    "rate at twice the batch": 0.2,
    "decay": [1e-4] * 4,
    "groups": {
        "student: matrices": "rate x1, decay 0.0001",
        "student: norms and biases": "rate x1, decay 0.0001",
        "classifier: matrices": "rate x1, decay 0.0001",
        "classifier: norms and biases": "rate x1, decay 0.0001",
    },
    "teacher": None,
    "temperatures": {},
    "heads": {"classifier": "2048>1000"},
    "views": {"view": "224 px, crop 0.08-1 bilinear, flip 0.5, normalised as ImageNet"},
    "batch norm": "student: whole batch",
    "memory": {},
    "deployed": "student",
}
COSINE = {
    "groups": {part: told for part, told in ROWS["groups"].items() if part != "classifier: norms and biases"},
    "heads": {"classifier": "2048>1000 weight-normalised of fixed length"},
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R50, ROWS),
    "imagenet_cosine": (IMAGENET_R50, ROWS | COSINE),
}
