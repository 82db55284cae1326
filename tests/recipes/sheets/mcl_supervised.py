"""MCL with labels: arXiv 2104.12565, section 4, and the official code for CIFAR-100; the ResNet here is a ResNet-18."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.recipes.reader import CIFAR10_R18, Published
from tests.recipes.usual import cosine_epochs, groups

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar": (
        replace(CIFAR10_R18, classes=100),
        {
            "batch": 128,
            "epochs": 300,
            "optimiser": "sgd, momentum 0.9, nesterov",
            "rate": cosine_epochs(0.1, 300),
            "rate at twice the batch": 0.2,
            "decay": [5e-4] * 4,
            "groups": groups("students", "heads", "classifiers", decay=5e-4),
            "teacher": None,
            "temperatures": {"temperature": 0.1, "kl_temperature": 3.0},
            "heads": {
                "students": "",
                "heads": "512>128, relu, 128>128, 512>128, relu, 128>128",
                "classifiers": "512>100, 512>100",
            },
            "views": {"view": "32 px, centre 1, flip 0.5, shift 4 px zero at 1, normalised as CIFAR-100"},  # 4 px of 32
            "batch norm": "student: whole batch",
            "memory": {},
            "deployed": "student",
        },
    ),
}
