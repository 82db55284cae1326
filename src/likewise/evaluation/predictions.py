"""Predicted classes of each image, stored beside a run's scores so that runs can be compared image by image.

A file in RUN/answers holds the answers of one score in the smallest integers that fit, a few kilobytes for ten thousand
images, with the right answers and what identifies the images.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.fingerprints import digest
from likewise.evaluation.scores import Score, kind
from likewise.files import write_aside

FOLDER = "answers"


@dataclass(frozen=True)
class Answers:
    """Predictions of a probe for some images."""

    predicted_Q: NDArray[np.int64]
    """The class that each was given."""
    truth_Q: NDArray[np.int64]
    """The class that each has."""
    images: str
    """Fingerprint of the images, in their order."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """(Q,) whether each prediction is correct."""
        return np.equal(self.predicted_Q, self.truth_Q)


def keep(run: Path, scores: Iterable[Score], data: str, truth_Q: NDArray[np.int64], images: str) -> None:
    """Write the answers of those scores that have any; of the same kind on the same data, the newest stay."""
    for score in scores:
        if score.predicted is None or len(score.predicted) != len(truth_Q):
            continue
        path = _path(run, {**score.to_json(), "data": data})
        path.parent.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {
            "predicted": _small(score.predicted),
            "truth": _small(truth_Q),
            "pictures": np.array(images),
            "protocol": np.array(score.protocol),
        }
        with write_aside(path) as file:
            np.savez_compressed(file, **arrays)


def read(run: Path, score: Mapping[str, Any]) -> Answers | None:
    """The answers behind a score of run.json; None where they were not kept, or belong to another protocol."""
    try:
        # Opened here: of a file that is no archive, numpy would leave its own handle open.
        with _path(run, score).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["protocol"]) != score.get("protocol"):
                return None
            predicted, truth = kept["predicted"].astype(np.int64), kept["truth"].astype(np.int64)
            images = str(kept["pictures"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return Answers(predicted, truth, images) if predicted.shape == truth.shape else None


def _path(run: Path, score: Mapping[str, Any]) -> Path:
    return run / FOLDER / f"{digest(*(str(part) for part in kind(dict(score))))[:20]}.npz"


def _small(values: NDArray[np.int64]) -> NDArray[Any]:
    """The same in the smallest integers that fit."""
    most = int(values.max(initial=0))
    return values.astype(np.min_scalar_type(most if int(values.min(initial=0)) >= 0 else -most - 1))
