"""Classifiers for every level of a label tree on one feature vector cut into blocks (HIERMATCH, arXiv 2111.00164)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from likewise.errors import InputError


class TreeHead(nn.Module):
    """One linear classifier a level: (B, F) -> logits of each level, finest first.

    The F features are cut into equal blocks of F // H, coarsest first; the finest takes the remainder. A level reads
    its own block and those of all finer levels, the latter without gradient, so that coarse labels do not shape what
    fine classes are told apart by.
    """

    def __init__(self, features: int, classes: Sequence[int]) -> None:
        """`classes` of each level, finest first. Raises InputError for no level, or fewer features than levels."""
        super().__init__()
        if not classes or features < len(classes):
            raise InputError(f"{features} features cannot be cut into blocks for {len(classes)} levels of labels")
        self.width = features // len(classes)
        widths = [features - self.width * level for level in reversed(range(len(classes)))]
        self.levels = nn.ModuleList(nn.Linear(width, count) for width, count in zip(widths, classes, strict=True))

    def forward(self, x_BF: Tensor) -> list[Tensor]:
        """Logits (B, classes of the level) of each level, finest first."""
        found = []
        for number, level in enumerate(self.levels):
            start = self.width * (len(self.levels) - 1 - number)
            own, finer = x_BF[:, start : start + self.width], x_BF[:, start + self.width :].detach()
            found.append(level(torch.cat([own, finer], 1) if number else x_BF[:, start:]))
        return found
