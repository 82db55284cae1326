"""USL-T: arXiv 2110.03006, section 4 and appendix, and official code."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import CIFAR10_R18, Ours, Published

CHANGED = "32 px, centre 1, flip 0.5, 4 of 14 operations, cut-out 0.5, normalised as ImageNet"
KINDS = ("matrices", "norms and biases")


def rows(clusters: int) -> dict[str, Any]:
    """The recipe for so many labels."""
    return {
        "batch": 1024,
        "epochs": 200,
        "optimiser": Ours("adamw, momentum 0.9", published="Adam, with the decay in the gradient"),
        "rate": [1e-4] * 4,
        "rate at twice the batch": 2e-4,
        "decay": [1e-4] * 4,
        "groups": {f"{part}: {kind}": "rate x1, decay 0.0001" for part in ("encoder", "heads") for kind in KINDS},
        "teacher": None,
        "temperatures": {},
        "heads": {"heads": ", ".join([f"512>{clusters}"] * 3)},
        "views": {
            "plain": "32 px, centre 1, flip 0, normalised as ImageNet",
            "strong": CHANGED,
            "neighbour": CHANGED,
        },
        "batch norm": "student: whole batch",
        "memory": {},
        "deployed": "student",
    }


SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "cifar10": (CIFAR10_R18, rows(40)),
    "cifar100": (CIFAR10_R18, rows(400)),
}
