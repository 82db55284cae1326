"""PAWS: arXiv 2104.13963, section 4, and the official code; WideResNet-28-2 (128 features) on CIFAR-10."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.recipes.reader import CIFAR10_R18, IMAGENET_R50, Ours, Published
from tests.recipes.usual import crops, lars, warm_cosine

CIFAR10_WRN = replace(CIFAR10_R18, encoder="wrn28_2", features=128)
LOOK = "jitter 0.4 0.4 0.4 0.1 at 0.8, solarise 0.2 from 0-1, 1 of equalise at 0.2, normalised as CIFAR-10"
LARGE, SMALL = (f"{what} bilinear, flip 0.5, {LOOK}" for what in ("32 px, crop 0.75-1", "18 px, crop 0.3-0.75"))
WIDE_LOOK = "jitter 0.8 0.8 0.8 0.2 at 0.8, grey 0.2, blur 0.1-2 at 0.5, normalised as ImageNet"
WIDE, NARROW = (f"{what} bilinear, flip 0.5, {WIDE_LOOK}" for what in ("224 px, crop 0.14-1", "96 px, crop 0.05-0.14"))

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar": (
        CIFAR10_WRN,
        {
            "batch": 256,
            "epochs": 600,
            "optimiser": "lars, momentum 0.9, paws form, trust 0.001",
            "rate": warm_cosine(3.2, CIFAR10_WRN, 256, 600, 10, start=0.8, final=0.032),
            "rate at twice the batch": 6.4,
            "decay": [1e-6] * 4,
            "groups": lars("encoder", "projector", decay=1e-6),
            "teacher": None,
            "temperatures": {"temperature": 0.1},
            "heads": {"projector": "128>128, bn, relu, 128>128, bn, relu, 128>128"},
            "views": {"support_0": LARGE, "support_1": LARGE} | crops((LARGE, LARGE), SMALL, 6),
            "batch norm": "student: whole batch",
            "memory": Ours({"recent": 2048}, published={}),
            "deployed": "student",
        },
    ),
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 4096,
            "epochs": 100,
            "optimiser": "lars, momentum 0.9, paws form, trust 0.001",
            "rate": warm_cosine(6.4, IMAGENET_R50, 4096, 100, 10, start=0.3, final=0.064),
            "rate at twice the batch": 12.8,
            "decay": [1e-6] * 4,
            "groups": lars("encoder", "projector", "predictor", decay=1e-6),
            "teacher": None,
            "temperatures": {"temperature": 0.1},
            "heads": {
                "projector": "2048>2048, bn, relu, 2048>2048, bn, relu, 2048>2048",
                "predictor": "bn, 2048>512, bn, relu, 512>2048",
            },
            "views": {"support_0": WIDE} | crops((WIDE, WIDE), NARROW, 6),
            "batch norm": "student: whole batch",
            "memory": Ours({"recent": 8192}, published={}),
            "deployed": "student",
        },
    ),
}
