"""FNC: arXiv 2011.11765, section 4, and the official code (TensorFlow, built on SimCLR's), 100 epochs."""

from __future__ import annotations

from math import sqrt
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Ours, Published
from tests.recipes.usual import WHOLE, lars, warm_cosine

VIEW = "224 px, crop 0.08-1 bicubic, flip 0.5, jitter 0.8 0.8 0.8 0.2 at 0.8, grey 0.2, blur 0.1-2 at 0.5"
HIDDEN = "2048>2048 without bias, bn, relu"

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R50,
        {
            "batch": 4096,
            "epochs": 100,
            "optimiser": "lars, momentum 0.9, simclr form, trust 0.001",
            "rate": warm_cosine(0.1 * sqrt(4096), IMAGENET_R50, 4096, 100, 10),
            "rate at twice the batch": 0.1 * sqrt(8192),
            "decay": [1e-4] * 4,
            "groups": lars("student", decay=1e-4),
            "teacher": "after_step: 0.999, 0.999, 0.999, 0.999",
            "temperatures": {"temperature": 0.1},
            "heads": {"student after the encoder": f"{HIDDEN}, {HIDDEN}, 2048>128 without bias, bn without shift"},
            "views": Ours(
                {f"view{number}": f"{VIEW}, normalised as ImageNet" for number in range(1, 11)},
                published="two operations of RandAugment at magnitude 7 before grey; values of 0 to 1, not normalised",
            ),
            "batch norm": WHOLE,
            "memory": {"queue": 16 * 4096},
            "deployed": "student",
        },
    ),
}
