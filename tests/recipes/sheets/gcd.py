"""GCD: arXiv 2201.02609, section 4, and the official code; ViT-B/16 of DINO, its last block trained, here CIFAR-100."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import Ours, Published

VIT = Published(images=50_000, side=224, classes=100, encoder="vit_base_patch16_224", features=768)
HEAD = "768>2048, gelu, 2048>2048, gelu, 2048>256, unit, 256>65536 weight-normalised of fixed length"
CROP = Ours(
    dict.fromkeys(("first", "second"), "224 px, crop 0.765625-0.765625 bicubic, flip 0.5, normalised as ImageNet"),
    published="resized to 256 px at the short side, 224 px of it anywhere, flip 0.5, normalised as ImageNet",
)


def rate(epoch: int, epochs: int) -> float:
    """Once an epoch along a cosine from 0.1 to a thousandth of it."""
    return 1e-4 + (0.1 - 1e-4) * (1 + cos(pi * epoch / epochs)) / 2


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "vit": (
        VIT,
        {
            "batch": 128,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.1, 0.1, rate(100, 200), rate(199, 200)],
            "rate at twice the batch": 0.2,
            "decay": [5e-5] * 4,
            "groups": {
                "network: matrices": "rate x1, decay 5e-05",
                "network: norms and biases": "rate x1, decay 5e-05",
            },
            "teacher": None,
            "temperatures": {"temperature": 0.07, "temperature_unsupervised": 1.0},
            "heads": {"network after the encoder": HEAD},
            "views": CROP,
            "batch norm": "student: whole batch",
            "memory": {},
            "deployed": "student",
        },
    ),
}
