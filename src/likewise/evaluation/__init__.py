"""Evaluation of encoders: features computed once, many probes, and the protocol of every score.

`likewise.evaluate` puts the parts of this package together.
"""

from __future__ import annotations

from likewise.evaluation.features import cached_features, extract
from likewise.evaluation.online import leave_one_out
from likewise.evaluation.probes import linear
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Evaluation, Score
from likewise.similarity import knn

__all__ = [
    "Evaluation",
    "Features",
    "ProbeSettings",
    "Score",
    "cached_features",
    "extract",
    "knn",
    "leave_one_out",
    "linear",
]
