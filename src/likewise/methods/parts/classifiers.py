"""Classifiers on embeddings: a linear layer, or cosines times a scale, with an angular margin where wanted.

Shapes: B images, D dimensions, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.encoders import heads
from likewise.similarity import unit
from likewise.similarity.labelled.by_label import with_margin


class CosineClassifier(nn.Module):
    """Scores s cos(x, w_c): (B, D) -> (B, C)."""

    def __init__(self, inputs: int, classes: int, scale: float) -> None:
        super().__init__()
        self.layer = heads.WeightNormalisedLinear(inputs, classes)
        self.scale = scale

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) of any length -> (B, C)."""
        scores_BC: Tensor = self.scale * self.layer(unit(x_BD))
        return scores_BC

    def with_margin(self, scores_BC: Tensor, labels_B: Tensor, margin: float) -> Tensor:
        """The scores with that of each image's own class at cos(angle + `margin`) (ArcFace, arXiv 1801.07698).

        Images whose label is -1 keep their scores.
        """
        if not margin:
            return scores_BC
        own_B1 = labels_B.clamp_min(0).unsqueeze(1)
        harder_B1 = (
            self.scale * with_margin(scores_BC.gather(1, own_B1).squeeze(1) / self.scale, margin, "arc")[:, None]
        )
        changed_BC = scores_BC.scatter(1, own_B1, harder_B1.to(scores_BC.dtype))
        return torch.where((labels_B >= 0).unsqueeze(1), changed_BC, scores_BC)
