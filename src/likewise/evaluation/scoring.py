"""The options of an evaluation: the flags of `likewise evaluate` and the keywords of `likewise.evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Classes = Literal["all", "trained", "others"]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """By what an encoder is scored, and on which images."""

    probe: Sequence[str] = ("knn", "linear")
    """What to score by: knn, linear, logistic, linear-sgd, centroid, fewshot, labels, clustering, retrieval,
    uniformity, rank, purity, finetune, finetune-labels, own, segmentation, correspondence, backgrounds, localisation,
    zeroshot, captions."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    train_split: str | None = None
    """Split whose labels the probe learns from; by default `train`."""
    test_split: str | None = None
    """Split that is classified; by default `test`, or else the validation split, the first that has labels."""
    subset: str | None = None
    """Draw from the training split, such as longtail:100, share:0.01, perclass:10 or novel:0.5."""
    subset_seed: int = 0
    """What the draw follows from."""
    classes: Classes = "all"
    """For a run trained on some of the classes: which are evaluated."""
    cameras: str | None = None
    """Column with the camera of each image: retrieval leaves the query's class by its own camera out."""
    clips: int | None = None
    """Clips of each video whose features are averaged; 0: each frame is an image of its own. By default 4 for encoders
    that were trained on clips."""
    masks: str | None = None
    """Folder of masks for the probes segmentation, backgrounds and localisation; the latter two take the sources of
    `likewise localise`, too, such as given, mbd or given:TABLE:COLUMN."""
    seed: int = 0
    """What held-out images, episodes and draws of labels follow from."""
    quiet: bool = False
    """Print the result and nothing else."""
