"""The verdict on the arms of a trial: a recommendation with its reason, in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from likewise.evaluation.intervals import of_mean
from likewise.verbs.learning.trying.measures import EncoderScore

Verdict = Literal[
    "keep the pretrained encoder", "distil", "train without labels", "too few images to train", "no clear difference"
]
FEWEST = 64
"""With fewer images nothing is trained."""
FEW = 500
"""Where training brings nothing on fewer images than this, they are what is lacking."""
LEAST_RANK = 2.0
"""An encoder whose features lie on a line has stable neighbours and says nothing."""


@dataclass(frozen=True)
class Arm:
    """One encoder that was tried."""

    name: Literal["untrained", "pretrained", "distilled", "self-supervised"]
    """How it came about."""
    measured: EncoderScore
    """How good it is."""
    minutes: float
    """That it took to come about."""
    parameters: int
    """Its size."""
    about: str
    """What it is, for people."""

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        found = self.measured
        return {
            "name": self.name,
            "score": round(found.score, 4),
            "low": round(found.low, 4),
            "high": round(found.high, 4),
            "minutes": round(self.minutes, 2),
            "rank": round(found.rank, 1),
            "parameters": self.parameters,
            "labels": {words: round(share, 4) for words, share in found.labels.items()},
            "about": self.about,
        }


def conclude(arms: Sequence[Arm], images: int) -> tuple[Verdict, str]:
    """The verdict on arms measured on the same images, and its reason.

    A trained encoder is recommended where the 95 % interval of its paired difference from the best that costs nothing
    lies above 0, and a pretrained one where it lies below.
    """
    trained = [arm for arm in arms if arm.name in {"distilled", "self-supervised"}]
    free = [arm for arm in arms if arm not in trained]
    base = max(free, key=_score)
    if not trained:
        if base.name == "pretrained":
            return "keep the pretrained encoder", f"{images} images are too few to train on (least {FEWEST})"
        return "too few images to train", f"{images} images; {FEWEST} are the least, some thousands better"
    best = max(trained, key=_score)
    difference = of_mean(best.measured.values - base.measured.values)
    mean = float(np.mean(best.measured.values - base.measured.values))
    words = (
        f"{best.name} {best.measured.score:.1%} against {base.name} {base.measured.score:.1%}: {mean:+.1%} "
        f"(95 % interval {difference.low:+.1%} to {difference.high:+.1%}, {len(base.measured.values):,} images)"
    )
    if difference.low > 0 and best.measured.rank >= LEAST_RANK:
        return ("distil" if best.name == "distilled" else "train without labels"), words
    if base.name == "pretrained" and (difference.high < 0 or best.measured.rank < LEAST_RANK):
        return "keep the pretrained encoder", words + _smaller(arms, base)
    if base.name == "untrained" and images < FEW:
        return "too few images to train", words
    words += "; a longer trial may tell (--minutes)"
    if base.name == "pretrained":
        words += "; until then the pretrained encoder costs nothing" + _smaller(arms, base)
    return "no clear difference", words


def _score(arm: Arm) -> float:
    """What arms are ranked by: a collapsed encoder last."""
    return arm.measured.score if arm.measured.rank >= LEAST_RANK else -1.0


def _smaller(arms: Sequence[Arm], base: Arm) -> str:
    """What a distilled encoder keeps of a larger one, where there is one."""
    small = next((arm for arm in arms if arm.name == "distilled" and arm.parameters < base.parameters), None)
    if small is None or not base.measured.score:
        return ""
    share = small.parameters / base.parameters
    kept = small.measured.score / base.measured.score
    return f"; distilled has {share:.0%} of its parameters and {kept:.0%} of its score"
