"""How good is it: features extracted once, and probes on them."""

from __future__ import annotations

from likewise.evaluation.evaluate import evaluate
from likewise.evaluation.features import cached_features, evaluation_view, extract
from likewise.evaluation.linear import Linear, fit_linear
from likewise.evaluation.scores import Evaluation, Score

__all__ = [
    "Evaluation",
    "Linear",
    "Score",
    "cached_features",
    "evaluate",
    "evaluation_view",
    "extract",
    "fit_linear",
]
