"""NNCLR: arXiv 2104.14548, section 4; CIFAR by the recipe of solo-learn. Neither says by what crops are resized."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import CIFAR10_R18, IMAGENET_R50, Published
from tests.recipes.usual import lars, warm_cosine

COLOURS = "crop 0.08-1 bilinear, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"
HEAD = "2048>2048, bn, relu, 2048>256, bn"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar": (
        CIFAR10_R18,
        {
            "batch": 256,
            "epochs": 1000,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.02",
            "rate": warm_cosine(0.4, CIFAR10_R18, 256, 1000, 10),
            "rate at twice the batch": 0.8,
            "decay": [1e-5] * 4,
            "groups": lars("network", "predictor", decay=1e-5),
            "teacher": None,
            "temperatures": {"temperature": 0.2},
            "heads": {
                "network after the encoder": f"512>2048, bn, relu, {HEAD}",
                "predictor": "256>4096, bn, relu, 4096>256",
            },
            "views": {
                "first": f"32 px, {COLOURS}, normalised as CIFAR-10",
                "second": f"32 px, {COLOURS}, solarise 0.2, normalised as CIFAR-10",
            },
            "batch norm": "student: whole batch",
            "memory": {"queue": 65_536},  # more than there are images
            "deployed": "student",
        },
    ),
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 4096,
            "epochs": 1000,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.001",
            "rate": warm_cosine(0.3 * 16, IMAGENET_R50, 4096, 1000, 10),
            "rate at twice the batch": 0.3 * 32,
            "decay": [1e-6] * 4,
            "groups": lars("network", "predictor", decay=1e-6),
            "teacher": None,
            "temperatures": {"temperature": 0.1},
            "heads": {
                "network after the encoder": f"2048>2048, bn, relu, {HEAD}",
                "predictor": "256>4096, bn, relu, 4096>256",
            },
            "views": {
                "first": f"224 px, {COLOURS}, blur 0.1-2 at 1, normalised as ImageNet",
                "second": f"224 px, {COLOURS}, blur 0.1-2 at 0.1, solarise 0.2, normalised as ImageNet",
            },
            "batch norm": "student: whole batch",
            "memory": {"queue": 98_304},
            "deployed": "student",
        },
    ),
}
