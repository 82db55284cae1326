"""UML: arXiv 2011.14663, section 4, and official code."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import Published

RESNET12 = Published(images=38_400, side=84, classes=64, encoder="resnet12", features=640)
CONVNET = Published(images=38_400, side=84, classes=64, encoder="convnet4", features=1600)
AMDIM = (
    "84 px, crop 0.08-1 bilinear, flip 0.5 shared, shift 4 px reflect at 0.8, jitter 0.4 0.4 0.4 0.2 at 0.8, "
    "grey 0.25, normalised as ImageNet"
)


def by_epoch(rate: float, epochs: int) -> list[float]:
    """A cosine to 0, set once an epoch: at the first step, after no warm-up, in the middle, and in the last epoch."""
    return [rate, rate, rate / 2, rate * (1 + cos(pi * (epochs - 1) / epochs)) / 2]


ROWS: dict[str, Any] = {
    "batch": 32,
    "epochs": 200,
    "optimiser": "sgd, momentum 0.9, nesterov",
    "rate": by_epoch(0.03, 200),
    "rate at twice the batch": 0.06,
    "decay": [5e-4] * 4,
    "groups": {"encoder: matrices": "rate x1, decay 0.0005", "encoder: norms and biases": "rate x1, decay 0.0005"},
    "teacher": None,
    "temperatures": {"temperature": 1.0},
    "heads": {},  # no head: the one norm of the encoder's stand-in
    "views": {f"view_{number}": AMDIM for number in range(6)},
    "batch norm": "student: whole batch",
    "memory": {},
    "deployed": "student",
}
PROJECTION = {
    "groups": ROWS["groups"]
    | {"projection: matrices": "rate x10, decay 0.0005", "projection: norms and biases": "rate x10, decay 0.0005"},
    "heads": ROWS["heads"]
    | {"projection": f"{', '.join(['640>5120 without bias'] * 3)}, 5120>640"},  # queries, keys, values of 8 heads
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "resnet12": (RESNET12, ROWS),
    "resnet12_hms": (RESNET12, ROWS),
    "resnet12_tsp": (RESNET12, ROWS | PROJECTION),
    "convnet": (
        CONVNET,
        ROWS
        | {
            "batch": 64,
            "epochs": 100,
            "optimiser": "adamw, momentum 0.9",  # without decay it is Adam
            "rate": by_epoch(0.002, 100),
            "rate at twice the batch": 0.004,
            "decay": [0.0] * 4,
            "groups": {"encoder: matrices": "rate x1, decay 0", "encoder: norms and biases": "rate x1, decay 0"},
        },
    ),
}
