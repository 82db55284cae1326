"""Centring: the running mean of a teacher's scores is subtracted, so that not one prototype takes everything.

G views of B images, K prototypes (DINO, arXiv 2104.14294, section 3.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.distributed import gather


class Centre(nn.Module):
    """The running mean of the teacher's scores, subtracted from them so that no prototype is chosen always."""

    mean: Tensor

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(1, prototypes))

    @torch.no_grad()
    def update(self, teacher_GBK: Tensor) -> None:
        """c <- m c + (1 - m) times the mean of the raw scores, over the teacher's views and the whole batch."""
        batch_1K = gather(teacher_GBK.mean((0, 1)).unsqueeze(0)).mean(0, keepdim=True)
        self.mean.lerp_(batch_1K.to(self.mean.dtype), 1.0 - self.momentum)


def centred(teacher_GBK: Tensor, centre_1K: Tensor, temperature: float) -> Tensor:
    """softmax((t - c) / temperature), (G, B, K): the centre keeps it from one prototype, a low temperature from all."""
    return ((teacher_GBK.detach() - centre_1K) / temperature).softmax(2)


@torch.no_grad()
def recentred(teacher_BC: Tensor, centre_1C: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Teacher logits less the centre, and the new centre, which follows the ALREADY centred logits.

    Dynamic Distillation's form (arXiv 2106.07807, published code); DINO's `Centre` follows the raw ones.
    """
    less_BC = teacher_BC - centre_1C
    return less_BC, momentum * centre_1C + (1.0 - momentum) * less_BC.mean(0, keepdim=True)
