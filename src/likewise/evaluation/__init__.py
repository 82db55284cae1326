"""How good an encoder is: features once, many probes, and with every score the protocol by which it was got.

result = evaluate("runs/photos-isd-resnet18", "photos/", labels="folders")
for score in result:
    print(score.name, score.k, score.value, score.protocol)
"""

from __future__ import annotations

from likewise.evaluation import linear
from likewise.evaluation.features import cached_features, extract
from likewise.evaluation.given import Features, ProbeSettings
from likewise.evaluation.scores import Evaluation, Score
from likewise.evaluation.scoring import evaluate
from likewise.evaluation.transfer import Transfer, transfer
from likewise.similarity import knn
from likewise.training.online import leave_one_out

__all__ = [
    "Evaluation",
    "Features",
    "ProbeSettings",
    "Score",
    "Transfer",
    "cached_features",
    "evaluate",
    "extract",
    "knn",
    "leave_one_out",
    "linear",
    "transfer",
]
