"""MoDist: arXiv 2106.09703, section 4.1; there is no official code, and several of its numbers are not certain."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from tests.recipes.reader import Ours
from tests.recipes.sheets.cvrl import KINETICS

BATCHES = 240_000 // 512
STEPS = 200 * BATCHES
CROP = "224 px, crop 0.3-1 bilinear, flip 0.5"
LOOK = f"{CROP}, jitter 0.4 0.4 0.4 0.1 at 0.8, grey 0.2, blur 0.1-2 at 0.5, normalised as ImageNet"
MOTION = f"{CROP}, normalised as ImageNet"

SHEETS: dict[str, tuple[Any, dict[str, Any]]] = {
    "kinetics": (
        KINETICS,
        {
            "batch": 512,
            "epochs": 200,
            "optimiser": "sgd, momentum 0.9",
            "rate": [0.4, 0.4, 0.2, 0.4 * (1 + cos(pi * (STEPS - 1) / STEPS)) / 2],
            "rate at twice the batch": 0.8,
            "decay": [1e-4] * 4,
            "groups": {
                f"{part}: {kind}": "rate x1, decay 0.0001"
                for part in ("visual", "moving")
                for kind in ("matrices", "norms and biases")
            },
            "teacher": Ours("before_step: " + ", ".join(["0.994"] * 4), published="perhaps rising from 0.994 to 1"),
            "temperatures": {"temperature": 0.1},
            "heads": {
                "visual after the encoder": "2048>2048, relu, 2048>128",
                "moving after the encoder": "256>256, relu, 256>128",
            },
            "views": {"first": LOOK, "second": LOOK, "first_motion": MOTION, "second_motion": MOTION},
            "batch norm": "student: whole batch; teacher: whole batch",
            "memory": Ours({"visual_queue": 65_536, "moving_queue": 65_536}, published="every row counts"),
            "deployed": "student",
        },
    ),
}
