"""The heart: how a picture relates to a memory of other pictures."""

from likewise.similarity.losses import Distillation, contrast, cross_entropy, distill, pull
from likewise.similarity.read import Exclude, Neighbours, Read, neighbours, purity, read, similarities, unit

__all__ = [
    "Distillation",
    "Exclude",
    "Neighbours",
    "Read",
    "contrast",
    "cross_entropy",
    "distill",
    "neighbours",
    "pull",
    "purity",
    "read",
    "similarities",
    "unit",
]
