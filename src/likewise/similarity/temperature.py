"""A temperature that adapts to keep the sharpness of a distribution, whatever the similarities under it do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.distributed import gather

RATE = 0.2
"""Share of the missing entropy, in nats, that the logarithm of the temperature moves by at each step."""
FARTHEST = 2.0
"""Nats that are corrected at a time, so that a single odd batch cannot throw the temperature away."""
LEAST, MOST = 1e-4, 0.2
"""Limits; below the first, float32 logits lose their digits."""


class Temperature(nn.Module):
    """A temperature that follows an entropy: log T <- log T + RATE (wanted - entropy), once a step.

    Embeddings of a young network are nearly alike, so that at a fixed temperature every target is nearly uniform and
    there is nothing to learn from it; later the same temperature may be too sharp. Fixing the number of rows that a
    target is spread over (exp of the entropy, the perplexity of t-SNE, van der Maaten and Hinton 2008) instead of the
    temperature takes care of both. The value lies in a buffer and is saved in checkpoints.
    """

    value: Tensor

    def __init__(self, start: float, entropy: float) -> None:
        """Begin at `start`; `entropy` is what to keep to in nats, 0 keeps the temperature as it is."""
        super().__init__()
        self.start, self.entropy = start, entropy
        self.register_buffer("value", torch.tensor(float(start)), persistent=entropy > 0)

    def now(self) -> float | Tensor:
        """The temperature of this step; a fixed one is the number itself, exact in any precision."""
        return self.value if self.entropy > 0 else self.start

    @torch.no_grad()
    def follow(self, entropy: Tensor) -> None:
        """Move towards the wanted entropy, given the mean entropy (a scalar) that the batch had."""
        if self.entropy > 0:
            missing = (self.entropy - gather(entropy.reshape(1)).mean()).clamp(-FARTHEST, FARTHEST)
            self.value.mul_(torch.exp(RATE * missing)).clamp_(LEAST, MOST)
