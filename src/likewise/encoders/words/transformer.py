"""A small transformer over the words of a text.

Shapes: B texts, L words, W width, H heads.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.encoders.words.tokens import NOTHING

_HEAD = 32
"""Width of an attention head, where the width is a multiple of it."""


class Block(nn.Module):
    """Attention among the words of a text, and a perceptron on each; both behind a layer norm, both added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // _HEAD if width % _HEAD == 0 else 1
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x_BLW: Tensor, seen_B11L: Tensor) -> Tensor:
        """(B, L, W), each word looking at those that `seen_B11L` allows."""
        shape = (*x_BLW.shape[:2], 3, self.heads, -1)
        q_BHLW, k_BHLW, v_BHLW = self.inputs(self.before(x_BLW)).reshape(shape).permute(2, 0, 3, 1, 4)
        read_BHLW = F.scaled_dot_product_attention(q_BHLW, k_BHLW, v_BHLW, attn_mask=seen_B11L)
        x_BLW = x_BLW + self.output(read_BHLW.transpose(1, 2).flatten(2))
        return cast("Tensor", x_BLW + self.mlp(self.between(x_BLW)))


class TextTransformer(nn.Module):
    """(B, L) codes of words (`tokens.encode`) -> (B, W): the mean over the words of a text, 0 for an empty one."""

    def __init__(self, *, codes: int, length: int, width: int, layers: int) -> None:
        super().__init__()
        self.features = width
        self.words = nn.Embedding(codes, width)
        self.places = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.places, std=0.01)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, codes_BL: Tensor) -> Tensor:
        """(B, W) of (B, L) whole numbers; `NOTHING` may stand anywhere and is not read."""
        codes_BL = codes_BL.long()
        word_BL = codes_BL != NOTHING
        length = max(1, int(word_BL.any(0).nonzero().max()) + 1) if bool(word_BL.any()) else 1
        codes_BL, word_BL = codes_BL[:, :length], word_BL[:, :length]
        empty_B1 = ~word_BL.any(1, keepdim=True)
        seen_B11L = (word_BL | empty_B1)[:, None, None]  # a softmax over nothing is no number
        x_BLW = self.words(codes_BL) + self.places[:length]
        for block in self.blocks:
            x_BLW = block(x_BLW, seen_B11L)
        word_BL1 = word_BL.unsqueeze(2)
        return cast("Tensor", (self.norm(x_BLW) * word_BL1).sum(1) / word_BL1.sum(1).clamp_min(1))
