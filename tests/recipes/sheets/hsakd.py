"""HSAKD: arXiv 2107.13715, section 4 and official code; CIFAR-100, WRN-40-2 to WRN-16-2."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import Ours, Published

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar": (
        Published(images=50_000, side=32, classes=100, encoder="wrn16_2", features=128),
        {
            "batch": 64,
            "epochs": 240,
            "optimiser": "sgd, momentum 0.9, nesterov",
            "rate": [0.05, 0.05, 0.05, 0.05e-3],
            "rate at twice the batch": 0.1,
            "decay": [5e-4] * 4,
            "groups": {
                "student: matrices": "rate x1, decay 0.0005",
                "student: norms and biases": "rate x1, decay 0.0005",
            },
            "teacher": None,
            "temperatures": {"temperature": 3.0},
            "heads": {"student": "bn, 128>100"},  # the encoder's own norm; branches are those of the encoder
            "views": Ours(
                {"image": "32 px, centre 1, flip 0.5, normalised as ImageNet"},
                published="normalised by (0.5071, 0.4867, 0.4408) (0.2675, 0.2565, 0.2761)",
            ),
            "batch norm": "student: whole batch",
            "memory": {},
            "deployed": "student",
        },
    ),
}
