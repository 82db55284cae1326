"""A head that adapts the embeddings of one few-shot task to each other; used only in training (UML's TSP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.errors import InputError


class TaskProjection(nn.Module):
    """Self-attention among all supports and queries of a task: (T, n, D) -> (T, n, D), without positions.

    scores q.k / sqrt(d_k), softmax, dropout, weighted values, heads side by side, one linear layer, dropout, residual,
    layer norm (UML, arXiv 2011.14663, section 3.5; the block of FEAT).
    """

    def __init__(self, dim: int, *, heads: int = 1, head_dim: int | None = None, dropout: float = 0.2) -> None:
        """`head_dim` d_k of each head, `dim` by default. Raises InputError for fewer than one head."""
        super().__init__()
        if heads < 1:
            raise InputError(f"heads={heads} of the task projection: allowed is 1 or more")
        self.heads, self.head_dim = heads, head_dim or dim
        wide = heads * self.head_dim
        self.queries, self.keys, self.values = (nn.Linear(dim, wide, bias=False) for _ in range(3))
        for layer in (self.queries, self.keys, self.values):
            nn.init.normal_(layer.weight, std=(2.0 / (dim + self.head_dim)) ** 0.5)
        self.out = nn.Linear(wide, dim)
        nn.init.xavier_normal_(self.out.weight)
        self.attention_dropout, self.dropout = nn.Dropout(0.1), nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x_TnD: Tensor) -> Tensor:
        """(T, n, D), each task for itself."""
        q, k, v = (self._split(layer(x_TnD)) for layer in (self.queries, self.keys, self.values))
        share = self.attention_dropout((q @ k.transpose(2, 3) / self.head_dim**0.5).softmax(3))
        together = (share @ v).transpose(1, 2).flatten(2)
        out: Tensor = self.norm(self.dropout(self.out(together)) + x_TnD)
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(T, n, heads * d) -> (T, heads, n, d)."""
        return torch.unflatten(x, 2, (self.heads, self.head_dim)).transpose(1, 2)
