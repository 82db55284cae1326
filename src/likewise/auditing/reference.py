"""Human decisions in the 17 experiments, and the monitor of the false colours: a small table in the package.

Made of the published trials by `python -m likewise.auditing.reference FOLDER`. The trials themselves are not part of
the package; `read_human` takes them from a folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.auditing.benchmark import Figures, by_experiment, curve, of_people, pooled_shape_bias, texture_of
from likewise.auditing.categories import SIXTEEN
from likewise.auditing.consistency import shape_bias
from likewise.auditing.trials import Trials, read_human
from likewise.files import write_aside

FILE = Path(__file__).with_name("reference.json")
CONSTANTS = "distortion_constants.npz"
"""File beside the trials with the monitor's table and the mean amplitude spectrum at 224 px."""
CREDIT = (
    "Made of the data of Geirhos et al. 2018 (arXiv 1808.08750), 2019 (arXiv 1811.12231) and 2021 (arXiv 2106.07411), "
    "CC BY 4.0: accuracies and consistencies of the human observers, and the measured monitor table."
)
_DIGITS = 6


class Reference(NamedTuple):
    """People as the benchmark's figures."""

    benchmark: Mapping[str, Figures]
    """By experiment."""
    curves: Mapping[str, Mapping[str, float]]
    """Accuracy by experiment and level, pooled over observers."""
    shape_bias: float
    """Of all observers, pooled."""
    shape_bias_by_category: Mapping[str, float]
    """By category of the shape."""
    monitor_256: NDArray[np.float64]
    """Light of the monitor for each 8-bit value."""


@lru_cache(maxsize=1)
def reference() -> Reference:
    """The table of the package."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    return Reference(
        {name: Figures(*values) for name, values in stored["benchmark"].items()},
        stored["curves"],
        stored["shape_bias"],
        stored["shape_bias_by_category"],
        np.asarray(stored["monitor"], dtype=np.float64),
    )


def made_of(trials: Sequence[Trials]) -> dict[str, Any]:
    """The table but its monitor, as plain values."""
    groups = by_experiment(trials)
    conflicts = groups["cue-conflict"]
    return {
        "benchmark": {name: [round(value, _DIGITS) for value in values] for name, values in of_people(trials).items()},
        "curves": {
            name: {level: round(value, _DIGITS) for level, value in curve(group).items()}
            for name, group in groups.items()
        },
        "shape_bias": round(pooled_shape_bias(conflicts), _DIGITS),
        "shape_bias_by_category": {
            name: round(value, _DIGITS) for name, value in bias_by_category(conflicts, tuple(SIXTEEN)).items()
        },
    }


def bias_by_category(trials: Sequence[Trials], categories: Sequence[str]) -> dict[str, float]:
    """Shape bias of the cue conflicts of each shape; NaN where shape and texture were never answered.

    Those whose texture is none of the categories are left out.
    """
    answers, shapes = (np.concatenate([getattr(one, part) for one in trials]) for part in ("answer_N", "truth_N"))
    textures = np.concatenate([texture_of(one.image_N, categories) for one in trials])
    return {
        name: shape_bias(answers[of], shapes[of], textures[of]).bias
        for number, name in enumerate(categories)
        if (of := (shapes == number) & (textures >= 0)).any()
    }


def main() -> None:
    """Write the table anew from a folder with the trials and the constants."""
    folder = Path(sys.argv[1])
    with np.load(folder / CONSTANTS) as constants:
        monitor = constants["monitor_gamma"].tolist()
    table = {"credit": CREDIT, **made_of(read_human(folder)), "monitor": monitor}
    with write_aside(FILE) as file:
        file.write((json.dumps(table, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    main()
