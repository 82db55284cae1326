"""Shared parts of the optimisers written here: one pass over the groups, and a momentum for each parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer


class MomentumOptimizer(Optimizer):
    """Calls `update` for each group with those of its parameters that have a gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient; the others keep their weight and their momentum."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.update(group, [p for p in group["params"] if p.grad is not None])
        return loss

    def update(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        """Move `weights` by their gradients."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def momenta(self, weights: list[Tensor]) -> list[Tensor]:
        """The momentum buffer of each weight, 0 at first, in the weight's layout."""
        return [self._momentum(weight) for weight in weights]

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        return cast("Tensor", state["momentum_buffer"])
