"""Dynamic distillation: arXiv 2106.07807, section 4, and official code."""

from __future__ import annotations

from typing import Any

from likewise.methods.method import Beside
from tests.recipes.reader import Published

MINI = Published(
    images=38_400, side=224, classes=64, encoder="resnet10", features=512, beside=Beside(images=38_400, classes=64)
)
WEAK = "224 px, crop 0.2-1 bilinear, flip 0.5"
JITTER = "jitter 0.4 0.4 0.4 0.1 at 0.8"

TARGET: dict[str, Any] = {
    "batch": 32,
    "epochs": 60,
    "optimiser": "sgd, momentum 0.9",
    "rate": [0.01, 0.01, 0.01, 0.0001],
    "rate at twice the batch": 0.02,
    "decay": [1e-4] * 4,
    "groups": {"student: matrices": "rate x1, decay 0.0001", "student: norms and biases": "rate x1, decay 0.0001"},
    "teacher": "before_step: 0, 0, 0.99, 0.99",  # at the first step a copy of the student, whose average is itself
    "temperatures": {"temperature": 0.1},
    "heads": {"student after the encoder": "512>64"},
    "views": {
        "base": f"{WEAK}, normalised as ImageNet",
        "weak": f"{WEAK}, normalised as ImageNet",
        "strong": f"{WEAK}, {JITTER}, grey 0.2, blur 0.1-2 at 0.5, normalised as ImageNet",
    },
    "batch norm": "student: whole batch; teacher: whole batch",
    "memory": {},
    "deployed": "student",
}
BASE = TARGET | {
    "epochs": 200,
    "teacher": None,
    "views": {"base": f"{WEAK}, {JITTER}, normalised as ImageNet"},
    "batch norm": "student: whole batch",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "miniimagenet": (MINI, TARGET),
    "miniimagenet_base": (MINI, BASE),
}
