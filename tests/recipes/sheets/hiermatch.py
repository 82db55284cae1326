"""HIERMATCH: arXiv 2111.00164, section 4, and official code; FixMatch's form by table 4 of arXiv 2001.07685."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import Ours, Published

CIFAR100 = Published(
    images=40_000, side=32, classes=100, encoder="wrn28_8_leaky", features=512, widths={"coarse_label": 20}
)
LIGHT = "32 px, centre 1, flip 0.5, shift 4 px reflect at 1"
ALL_ALIKE = {"network: matrices": "rate x1, decay 0", "network: norms and biases": "rate x1, decay 0"}
STEPS = round(2**20 * 448 / 40_000 * (40_000 // 448))
FIXMATCH_RATES = [0.03 * cos(7 * pi * at / 16) for at in (0, 0, 0.5, (STEPS - 1) / STEPS)]
HALF_COSINE = [0.03 * (1 + cos(pi * at)) / 2 for at in (0, 0, STEPS // 2 / STEPS, (STEPS - 1) / STEPS)]


def light(*roles: str) -> dict[str, str]:
    """The views of MixMatch."""
    return dict.fromkeys(roles, f"{LIGHT}, normalised as ImageNet")


MIXMATCH = {
    "batch": 64,
    "epochs": 500 * 1024 * 64 / 40_000,
    "optimiser": "adamw, momentum 0.9",  # without decay it is Adam
    "rate": [0.002] * 4,
    "rate at twice the batch": 0.004,
    "decay": [0.0] * 4,  # what shrinks the weights is .02 times the rate, apart from the optimiser
    "groups": ALL_ALIKE,
    "teacher": "after_step: 0.999, 0.999, 0.999, 0.999",
    "temperatures": {},
    "heads": {"network after the encoder": "256>100, 512>20"},
    "views": light("labelled", "first", "second"),
    "batch norm": "student: whole batch; teacher: whole batch",
    "memory": {},
    "deployed": "teacher",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar100": (CIFAR100, MIXMATCH),
    "cifar100_partial": (
        CIFAR100,
        MIXMATCH | {"views": light("labelled", "first", "second", "labelled_1", "first_1", "second_1")},
    ),
    "cifar100_fixmatch": (
        CIFAR100,
        MIXMATCH
        | {
            "batch": 448,
            "epochs": 2**20 * 448 / 40_000,
            "optimiser": "sgd, momentum 0.9, nesterov",
            "rate": Ours(HALF_COSINE, published=FIXMATCH_RATES),
            "rate at twice the batch": 0.06,
            "decay": [0.001] * 4,
            "groups": dict.fromkeys(ALL_ALIKE, "rate x1, decay 0.001"),
            "views": light("labelled", "first")
            | {"second": f"{LIGHT}, 2 of 14 operations, cut-out 0.5, normalised as ImageNet"},
        },
    ),
}
