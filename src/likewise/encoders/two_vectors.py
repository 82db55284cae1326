"""An encoder with two vectors per image: its pooled features, and a second one.

Shapes: B images, F pooled features, C channels of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.encoders.encoder import Encoder
from likewise.encoders.own.prompted_vit import PromptedViT

SUPERVISED = 2
"""Prompts whose mean is the second vector."""


class TwoVectors(nn.Module):
    """(B, 3, H, W) -> (B, F) and (B, C), as PromptCAL looks at images (arXiv 2212.05590, section 3.2).

    Of a ViT with prompts the second vector is the mean of the first two prompts after the last block. Of any other
    encoder it is its map pooled by attention to a learned vector (ours): sum_p softmax_p(a.m_p / sqrt(C)) m_p.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.query = None if isinstance(encoder.backbone, PromptedViT) else _drawn(encoder.map_features)
        self.second = encoder.map_features
        """C, the length of the second vector."""

    def forward(self, x_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Both vectors of one pass."""
        backbone = self.encoder.backbone
        if isinstance(backbone, PromptedViT):
            tokens_BNC, prompts_BPC = backbone.with_prompts(x_B3HW)
            return backbone.forward_head(tokens_BNC, pre_logits=True), prompts_BPC[:, :SUPERVISED].mean(1)
        assert self.query is not None
        pooled_BF, map_BCHW = self.encoder.with_map(x_B3HW)
        places_BCN = map_BCHW.flatten(2)
        alike_BN = torch.einsum("bcn,c->bn", places_BCN, self.query) / places_BCN.shape[1] ** 0.5
        return pooled_BF, torch.einsum("bcn,bn->bc", places_BCN, alike_BN.softmax(1).to(places_BCN.dtype))


def _drawn(length: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(length), std=0.02))
