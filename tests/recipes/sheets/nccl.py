"""NCCL: the loss and the numbers of a re-implementation for faces; the paper's code was not published.

How many images and people it was trained on is not said: round numbers stand for them, and a length of the old vectors
that it was run with.
"""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import Ours, Published

FACES = Published(images=1_000_000, side=112, classes=10_000, encoder="resnet50", features=2048, old=128)
STEPS = 35 * (1_000_000 // 1024)

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "faces": (
        FACES,
        {
            "batch": 1024,
            "epochs": 35,
            "optimiser": "sgd, momentum 0.9, gradients no longer than 5",
            "rate": [0.1, 0.1, 0.1 * (1 - (STEPS // 2) / STEPS), 0.1 / STEPS],
            "rate at twice the batch": 0.2,
            "decay": [5e-4] * 4,
            "groups": {
                "student: matrices": "rate x1, decay 0.0005",
                "student: norms and biases": "rate x1, decay 0.0005",
                "classifier: matrices": "rate x1, decay 0.0005",
            },
            "teacher": None,
            "temperatures": {"temperature": 1.0, "temperature_scores": 1.0},
            "heads": {"classifier": "128>10000 weight-normalised of fixed length"},
            "views": Ours(
                {"view": "112 px, crop 0.2-1 bilinear, flip 0.5, normalised as ImageNet"}, published="not stated"
            ),
            "batch norm": "student: whole batch",
            "memory": {"queue": 8192},
            "deployed": "student",
        },
    ),
}
