"""NNCSL: arXiv 2212.05102, section 4, and the official code: one task of CIFAR-10 and of CIFAR-100, ResNet-18."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.recipes.reader import CIFAR10_R18, Ours, Published
from tests.recipes.sheets.paws import LARGE, SMALL
from tests.recipes.usual import crops, lars, warm_cosine

CIFAR100_R18 = replace(CIFAR10_R18, classes=100)


def rows(on: Published, rate: float) -> dict[str, Any]:
    """From .08 to the rate to .032; the classifier's .12 follows the same shape."""
    share = 0.12 / rate
    classifier = {
        "classifier: matrices": f"rate x{share:g}, decay 0, scaled by lars",
        "classifier: norms and biases": f"rate x{share:g}, decay 0",
    }
    return {
        "batch": 256,
        "epochs": 250,
        "optimiser": "lars, momentum 0.9, paws form, trust 0.001",
        "rate": warm_cosine(rate, on, 256, 250, 10, start=0.08, final=0.032),
        "rate at twice the batch": 2 * rate,
        "decay": [1e-5] * 4,
        "groups": Ours(
            lars("encoder", "projector", decay=1e-5) | classifier, published="the classifier's bias is scaled, too"
        ),
        "teacher": None,
        "temperatures": {"temperature": 0.1},
        "heads": {
            "projector": "512>512, bn, relu, 512>512, bn, relu, 512>128",
            "classifier": f"512>{on.classes}",
        },
        "views": {"support_0": LARGE, "support_1": LARGE} | crops((LARGE, LARGE), SMALL, 2),
        "batch norm": "student: whole batch",
        "memory": {},
        "deployed": "student",
    }


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar10": (CIFAR10_R18, rows(CIFAR10_R18, 0.4)),
    "cifar100": (CIFAR100_R18, rows(CIFAR100_R18, 1.2)),
}
