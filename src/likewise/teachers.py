"""Who teaches: a moving average of the student, a frozen network, or a table of features computed earlier.

A teacher never receives gradient. It is a module, so that what it knows is saved in checkpoints.
"""

from __future__ import annotations

import copy
from typing import Literal, cast

import torch
from torch import Tensor, nn

from likewise.errors import InputError


class Momentum(nn.Module):
    """A copy of the student that follows it slowly: theta_t <- m theta_t + (1 - m) theta_s.

    Parameters are averaged; buffers (running statistics) are the teacher's `own`, or `copied` from the student at each
    update. The mode is explicit: a teacher in `train` mode normalises by the statistics of its own batch whatever mode
    the student is in, one in `eval` mode by its running statistics.
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        buffers: Literal["own", "copied"] = "own",
        mode: Literal["train", "eval"] = "train",
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.buffers_from = buffers
        self.mode = mode
        self.train()

    def train(self, mode: bool = True) -> Momentum:
        """Put the copy in the teacher's own mode; `mode` is that of the surrounding method and is not followed."""
        self.training = mode
        self.network.train(self.mode == "train")
        return self

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Move every parameter a share 1 - `momentum` of the way to the student's."""
        if not 0.0 <= momentum <= 1.0:
            raise InputError(f"teacher momentum {momentum} is not between 0 (a copy) and 1 (frozen)")
        own: list[Tensor] = list(self.network.parameters())
        other: list[Tensor] = list(student.parameters())
        torch._foreach_lerp_(own, other, 1.0 - momentum)
        if self.buffers_from == "copied":
            for buffer, source in zip(self.network.buffers(), student.buffers(), strict=True):
                buffer.copy_(source)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The teacher's view of `x`, without gradient."""
        return cast("Tensor", self.network(x))


class Frozen(nn.Module):
    """A network that was trained before and does not change: no gradient, always in eval mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in eval mode."""
        self.training = mode
        self.network.eval()
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The frozen network's view of `x`, without gradient."""
        return cast("Tensor", self.network(x))


class Cached(nn.Module):
    """A table of features by picture, computed once: the cheapest teacher.

    `features_ND` has one row per picture of the data set. It is not saved in checkpoints, since it can be made again.
    """

    features: Tensor

    def __init__(self, features_ND: Tensor) -> None:
        super().__init__()
        if features_ND.ndim != 2:
            raise InputError(f"cached features must be (pictures, dimensions), found shape {tuple(features_ND.shape)}")
        self.register_buffer("features", features_ND.detach(), persistent=False)

    @torch.no_grad()
    def forward(self, index_B: Tensor) -> Tensor:
        """Rows of the pictures `index_B`."""
        return self.features[index_B]


@torch.no_grad()
def with_statistics_of(teacher: nn.Module, student: nn.Module) -> nn.Module:
    """A copy of `teacher` that carries the student's running statistics.

    The official evaluation of ISD and MSF combines the teacher's parameters with the student's statistics.
    """
    combined = copy.deepcopy(teacher)
    for buffer, source in zip(combined.buffers(), student.buffers(), strict=True):
        buffer.copy_(source)
    return combined
