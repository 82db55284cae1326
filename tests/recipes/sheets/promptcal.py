"""PromptCAL: arXiv 2212.05590, section 4, and the official code; both stages for CIFAR-100."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import Published
from tests.recipes.sheets.gcd import CROP, HEAD, VIT, rate

SAME: dict[str, Any] = {
    "batch": 128,
    "optimiser": "sgd, momentum 0.9",
    "rate at twice the batch": 0.2,
    "decay": [5e-5] * 4,
    "groups": {"student: matrices": "rate x1, decay 5e-05", "student: norms and biases": "rate x1, decay 5e-05"},
    "temperatures": {"temperature": 0.07, "temperature_unsupervised": 1.0},
    "heads": {"student": f"{HEAD}, {HEAD}"},
    "views": CROP,
    "deployed": "student",
}
ORDER = (
    "batch", "epochs", "optimiser", "rate", "rate at twice the batch", "decay", "groups", "teacher", "temperatures",
    "heads", "views", "batch norm", "memory", "deployed",
)  # fmt: skip


def rows(**own: Any) -> dict[str, Any]:
    """All rows of a stage in the order of the reader."""
    every = {**SAME, **own}
    return {name: every[name] for name in ORDER}


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "vit-1": (
        VIT,
        rows(
            epochs=200,
            rate=[0.1, 0.1, rate(100, 200), rate(199, 200)],
            teacher=None,
            **{"batch norm": "student: whole batch"},
            memory={},
        ),
    ),
    "vit-2": (
        VIT,
        rows(
            epochs=70,
            rate=[0.1, 0.1, rate(35, 70), rate(69, 70)],
            teacher="after_step: 0.999, 0.999, 0.999, 0.999",
            **{"batch norm": "student: whole batch; teacher: whole batch"},
            memory={"queue": 4096, "prompt_queue": 4096},
        ),
    ),
}
