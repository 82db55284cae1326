"""Lists of gradients: their norms, and clipping. Shapes: N tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor


def by_kind(weights: list[Tensor]) -> list[list[Tensor]]:
    """Tensors by device and type, so that each list can be handled by fused kernels."""
    lists: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for weight in weights:
        lists[weight.device, weight.dtype].append(weight)
    return list(lists.values())


def norms(tensors: list[Tensor]) -> Tensor:
    """(N,) Euclidean norms in float32 or better."""
    wide = torch.promote_types(tensors[0].dtype, torch.float32)
    return torch.stack(torch._foreach_norm([tensor.to(wide) for tensor in tensors], 2))


@torch.no_grad()
def clip_each(parameters: Iterable[Tensor], limit: float) -> None:
    """Scale every gradient that is longer than `limit` down to it, each tensor for itself (DINO, arXiv 2104.14294).

    Unlike clipping by the norm of all gradients together, one layer's outlier leaves the others as they are.
    """
    given = [parameter for parameter in parameters if parameter.grad is not None]
    for alike in by_kind(given):
        gradients = [cast("Tensor", parameter.grad) for parameter in alike]
        factor_N = (limit / (norms(gradients) + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, list(factor_N.to(gradients[0].dtype).unbind()))
