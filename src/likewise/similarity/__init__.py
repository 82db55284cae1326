"""Losses and reads on the similarities of an image to a memory of other images, which the methods share."""

from likewise.similarity.batch import contrast_in_batch, nt_xent, own_columns
from likewise.similarity.constrained import Few, among, average, average_of_all, outside, ranks
from likewise.similarity.losses import Distillation, contrast, cross_entropy, distill, pull
from likewise.similarity.read import Exclude, Neighbours, Read, neighbours, purity, read, similarities, unit
from likewise.similarity.temperature import Temperature

__all__ = [
    "Distillation",
    "Exclude",
    "Few",
    "Neighbours",
    "Read",
    "Temperature",
    "among",
    "average",
    "average_of_all",
    "contrast",
    "contrast_in_batch",
    "cross_entropy",
    "distill",
    "neighbours",
    "nt_xent",
    "outside",
    "own_columns",
    "pull",
    "purity",
    "ranks",
    "read",
    "similarities",
    "unit",
]
