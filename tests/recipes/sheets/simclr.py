"""SimCLR: arXiv 2002.05709, sections 2 and 4, appendix B.9, and the official code (TensorFlow)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.recipes.reader import CIFAR10_R18, IMAGENET_R50, Ours, Published
from tests.recipes.usual import lars, warm_cosine

CIFAR10_R50 = replace(CIFAR10_R18, encoder="resnet50", features=2048)
CROP = "crop 0.08-1 bicubic, flip 0.5"
UNNORMALISED = "values of 0 to 1, not normalised"
ROWS: dict[str, Any] = {
    "batch": 4096,
    "epochs": 100,
    "optimiser": "lars, momentum 0.9, simclr form, trust 0.001",
    "rate": warm_cosine(0.3 * 16, IMAGENET_R50, 4096, 100, 10),
    "rate at twice the batch": 0.3 * 32,
    "decay": [1e-6] * 4,
    "groups": lars("network", decay=1e-6),
    "teacher": None,
    "temperatures": {"temperature": 0.1},
    "heads": {"network after the encoder": "2048>2048 without bias, bn, relu, 2048>128 without bias, bn without shift"},
    "views": Ours(
        dict.fromkeys(
            ("first", "second"),
            f"224 px, {CROP}, jitter 0.8 0.8 0.8 0.2 at 0.8, grey 0.2, blur 0.1-2 at 0.5, normalised as ImageNet",
        ),
        published=UNNORMALISED,
    ),
    "batch norm": "student: whole batch",
    "memory": {},
    "deployed": "student",
}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (IMAGENET_R50, ROWS),
    "cifar": (
        CIFAR10_R50,
        ROWS
        | {
            "batch": 1024,
            "epochs": 1000,
            "rate": warm_cosine(1.0 * 4, CIFAR10_R50, 1024, 1000, 10),
            "rate at twice the batch": 1.0 * 8,
            "temperatures": {"temperature": 0.5},
            "views": Ours(
                dict.fromkeys(
                    ("first", "second"),
                    f"32 px, {CROP}, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, normalised as ImageNet",
                ),
                published=UNNORMALISED,
            ),
        },
    ),
}
