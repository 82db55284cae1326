"""SetSim: arXiv 2107.08712, section 4, and the official script; DenseCL (arXiv 2011.09157) in the same frame."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R50, Published
from tests.recipes.usual import cosine_epochs, moco

BOTH_HEADS = {"student": "2048>2048, relu, 2048>128, 2048>2048, relu, 2048>128"}
"""For the pooled features, and of 1x1 convolutions for the cells."""
QUEUES = {"queue": 65_536, "dense_queue": 65_536}
ROWS = moco(
    batch=512,
    rate=cosine_epochs(0.06 * 2, 200),
    heads=BOTH_HEADS,
    memory=QUEUES,
) | {"rate at twice the batch": 0.06 * 4}

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "release": (IMAGENET_R50, ROWS),
    "paper": (IMAGENET_R50, ROWS),
    "densecl": (IMAGENET_R50, moco(heads=BOTH_HEADS, memory=QUEUES)),
}
