"""What many published recipes have in common, for the sheets: schedules, groups of parameters, views."""

from __future__ import annotations

from math import cos, pi

from tests.recipes.reader import Published
from tests.recipes.sheets.isd import STRONG

PAIR = "224 px, crop 0.08-1 bicubic, flip 0.5, jitter 0.4 0.4 0.2 0.1 at 0.8, grey 0.2"
BYOL_VIEWS = {
    "first": f"{PAIR}, blur 0.1-2 at 1, normalised as ImageNet",
    "second": f"{PAIR}, blur 0.1-2 at 0.1, solarise 0.2, normalised as ImageNet",
}
"""The unequal pair of BYOL, which many took over."""
MOCO_VIEWS = {"first": STRONG, "second": STRONG}
SHUFFLED = "student: 8 groups; teacher: 8 groups, permuted"
"""ShuffleBN over 8 devices."""
WHOLE = "student: whole batch; teacher: whole batch"
"""Statistics synchronised over all devices."""


def cosine_epochs(rate: float, epochs: int) -> list[float]:
    """A cosine in stairs of an epoch to 0, without warm-up: at the start, in the middle and in the last epoch."""
    return [rate, rate, rate / 2, rate * (1 + cos(pi * (epochs - 1) / epochs)) / 2]


def warm_cosine(
    rate: float, on: Published, batch: int, epochs: int, warm: int, *, start: float = 0.0, final: float = 0.0
) -> list[float]:
    """A line from `start` over `warm` epochs, then a cosine to `final`, at each step of an epoch of whole batches."""
    each = on.images // batch
    first, total = warm * each, epochs * each

    def at(step: int) -> float:
        return final + (rate - final) * (1 + cos(pi * (step - first) / (total - first))) / 2

    return [start if warm else rate, rate, at(total // 2), at(total - 1)]


def cosine_steps(start: float, end: float, on: Published, batch: int, epochs: int, warm: int) -> list[float]:
    """A cosine over the whole budget, at each step: at its start, after `warm` epochs, half-way and at the end."""
    each = on.images // batch
    total = epochs * each
    return [end + (start - end) * (1 + cos(pi * step / total)) / 2 for step in (0, warm * each, total // 2, total - 1)]


def groups(*parts: str, decay: float, vectors: str | None = None, scaled: str = "") -> dict[str, str]:
    """All parts alike: matrices with `decay`, and norms and biases with the same or as `vectors` says."""
    matrices = f"rate x1, decay {decay:g}{scaled}"
    found = {f"{part}: matrices": matrices for part in parts}
    return found | {f"{part}: norms and biases": vectors or matrices for part in parts}


def lars(*parts: str, decay: float) -> dict[str, str]:
    """All parts scaled by LARS, norms and biases neither scaled nor decayed."""
    return groups(*parts, decay=decay, vectors="rate x1, decay 0", scaled=", scaled by lars")


def crops(large: tuple[str, ...], small: str, count: int) -> dict[str, str]:
    """Roles of multi-crop."""
    return {f"large_{n}": view for n, view in enumerate(large)} | {f"small_{n}": small for n in range(count)}


def moco(**changes: object) -> dict[str, object]:
    """MoCo v2 on ImageNet with ResNet-50: 200 epochs of SGD, cosine, head with one hidden layer, ShuffleBN."""
    rows: dict[str, object] = {
        "batch": 256,
        "epochs": 200,
        "optimiser": "sgd, momentum 0.9",
        "rate": cosine_epochs(0.03, 200),
        "rate at twice the batch": 0.06,
        "decay": [1e-4] * 4,
        "groups": groups("student", decay=1e-4),
        "teacher": "before_step: 0.999, 0.999, 0.999, 0.999",
        "temperatures": {"temperature": 0.2},
        "heads": {"student after the encoder": "2048>2048, relu, 2048>128"},
        "views": MOCO_VIEWS,
        "batch norm": SHUFFLED,
        "memory": {"queue": 65_536},
        "deployed": "student",
    }
    return rows | changes
