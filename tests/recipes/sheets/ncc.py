"""ProPos (NCC): arXiv 2111.11821, section 4, and the official scripts. Warm-up and decay on ImageNet are assumed."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi
from typing import Any

from tests.recipes.reader import CIFAR10_R18, IMAGENET_R50, Published

BATCHES = 1_281_167 // 4096
WARM, STEPS = 10 * BATCHES, 200 * BATCHES
CROP = "224 px, crop 0.08-1 bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"


def rate(step: int) -> float:
    """The cosine is as long as the whole budget and is cut off at its end."""
    return 4.8 * (1 + cos(pi * (step - WARM) / STEPS)) / 2


CIFAR20_R18 = replace(CIFAR10_R18, classes=20)


def small(on: Published, batch: int, rate: float, teacher: str, name: str) -> dict[str, Any]:
    """CIFAR: 50 of 1000 epochs of warm-up, the predictor at ten times the rate, a cosine as long as all epochs."""
    each = on.images // batch
    first, total = 50 * each, 1000 * each
    view = f"32 px, crop 0.08-1 bilinear, flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, normalised as {name}"
    return {
        "batch": batch,
        "epochs": 1000,
        "optimiser": "sgd, momentum 0.9",
        "rate": [0.0, *(rate * (1 + cos(pi * (at - first) / total)) / 2 for at in (first, total // 2, total - 1))],
        "rate at twice the batch": 2 * rate,
        "decay": [5e-4] * 4,
        "groups": {
            f"{part}: {kind}": f"rate x{factor}, decay 0.0005"
            for part, factor in (("student", 1), ("predictor", 10))
            for kind in ("matrices", "norms and biases")
        },
        "teacher": teacher,
        "temperatures": {"temperature": 0.5},
        "heads": {
            "student after the encoder": "512>4096, bn, relu, 4096>256",
            "predictor": "256>4096, bn, relu, 4096>256",
        },
        "views": {"first": view, "second": view},
        "batch norm": "student: 4 groups; teacher: 4 groups, permuted",  # of 4 devices
        "memory": {},
        "deployed": "teacher",
    }


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar10": (
        CIFAR10_R18,
        small(CIFAR10_R18, 512, 0.1, "after_backward: 0.996, 0.996, 0.996, 0.996", "CIFAR-10"),
    ),
    "cifar20": (CIFAR20_R18, small(CIFAR20_R18, 256, 0.05, "before_step: 0.996, 0.996, 0.998, 1", "CIFAR-100")),
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 4096,
            "epochs": 200,
            "optimiser": "lars, momentum 0.9, byol form, trust 0.001",
            "rate": [0.0, 4.8, rate(STEPS // 2), rate(STEPS - 1)],
            "rate at twice the batch": 9.6,
            "decay": [1e-6] * 4,
            "groups": {
                f"{part}: {kind}": text
                for kind, text in {
                    "matrices": "rate x1, decay 1e-06, scaled by lars",
                    "norms and biases": "rate x1, decay 0",
                }.items()
                for part in ("student", "predictor")
            },
            "teacher": "after_backward: 0.99, 0.9901, 0.995, 1",
            "temperatures": {"temperature": 0.5},
            "heads": {
                "student after the encoder": "2048>4096, bn, relu, 4096>256",
                "predictor": "256>4096, bn, relu, 4096>256",
            },
            "views": {
                "first": f"{CROP}, blur 0.1-2 at 1, normalised as ImageNet",
                "second": f"{CROP}, blur 0.1-2 at 0.1, solarise 0.2, normalised as ImageNet",
            },
            "batch norm": "student: whole batch; teacher: whole batch",
            "memory": {"queue": 10_240},
            "deployed": "teacher",
        },
    ),
}
