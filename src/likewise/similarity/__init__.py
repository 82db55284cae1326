"""The heart: how a picture relates to a memory of other pictures."""

from likewise.similarity.batch import contrast_in_batch, nt_xent, own_columns
from likewise.similarity.losses import Distillation, contrast, cross_entropy, distill, pull
from likewise.similarity.read import Exclude, Neighbours, Read, neighbours, purity, read, similarities, unit

__all__ = [
    "Distillation",
    "Exclude",
    "Neighbours",
    "Read",
    "contrast",
    "contrast_in_batch",
    "cross_entropy",
    "distill",
    "neighbours",
    "nt_xent",
    "own_columns",
    "pull",
    "purity",
    "read",
    "similarities",
    "unit",
]
