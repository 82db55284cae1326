"""Multimodal contrastive training: after arXiv 2104.12836, whose numbers are known in part."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import IMAGENET_R50, Ours, Published

COLOURS = "flip 0.5, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2"
STRONG = f"224 px, crop 0.2-1 bilinear, {COLOURS}, blur 0.1-2 at 0.5, normalised as ImageNet"
BLOCK = "768>2304, 768>768, 768>3072, gelu, 3072>768"
HEADS = (
    "2048>2048, relu, 2048>128",
    "2048>2048, relu, 2048>1024",
    "768>768, relu, 768>128",
    "768>768, relu, 768>1024",
)
SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "coco": (
        IMAGENET_R50,
        {
            "batch": 512,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.03, 0.03, 0.015, 0.03 * (1 + cos(pi * (1 - 1 / 500_400))) / 2],
            "rate at twice the batch": 0.06,
            "decay": [1e-4] * 4,
            "groups": {
                "networks: matrices": "rate x1, decay 0.0001",
                "networks: norms and biases": "rate x1, decay 0.0001",
            },
            "teacher": "before_step: 0.999, 0.999, 0.999, 0.999",
            "temperatures": {"temperature": 0.07},
            "heads": Ours(
                {"networks": ", ".join([*HEADS, *[BLOCK] * 6])},
                published={"networks": ", ".join([*HEADS, "and a trained BERT-base"])},
            ),
            "views": {"first": STRONG, "second": STRONG},
            "batch norm": "student: 8 groups; teacher: 8 groups, permuted",
            "memory": {
                "queues.image": 65_536,
                "queues.caption": 65_536,
                "queues.captions_of_images": 65_536,
                "queues.images_of_captions": 65_536,
            },
            "deployed": "student",
        },
    ),
}
