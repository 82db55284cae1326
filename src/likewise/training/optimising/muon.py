"""Muon: SGD with orthogonalised momentum; a step on a matrix has the same length in all directions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

from likewise.training.optimising.momentum import MomentumOptimizer

STEPS = 5
"""Iterations of `orthogonal`."""
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of the iteration, as published: singular values above .002 end between .68 and 1.21."""


class Muon(MomentumOptimizer):
    """Momentum orthogonalised by Newton-Schulz (Jordan et al. 2024, "Muon", kellerjordan.github.io/posts/muon).

    With g the gradient of a matrix w of R rows, a kernel being one of R output channels, and mu the momentum (from 0):

        mu <- m mu + g;   u = g + m mu;   w <- (1 - lr wd) w - lr max(1, R / C)^.5 orthogonal(u)

    where `orthogonal` makes all singular values about 1. Directions that gradients rarely take, which plain SGD would
    learn last, are so learned at the same pace as the others; what that gives in few steps stands in
    docs/performance.md. Groups with `matrices=False` (biases and norms) take plain SGD,

        mu <- m mu + g + wd w;   w <- w - lr mu.

    Nothing in it waits for the device. The norm and the iteration are computed in float32 or better.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "matrices": True})

    def update(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        """Move matrices by an orthogonalised step, everything else by SGD's, those of one shape at a time."""
        step = _step_matrices if group["matrices"] else _step_plain
        for alike in _of_one_shape(weights):
            step(group, alike, self.momenta(alike))


def _of_one_shape(weights: list[Tensor]) -> list[list[Tensor]]:
    """Tensors that can be stacked: of one shape, type and device."""
    lists: dict[tuple[torch.Size, torch.dtype, torch.device], list[Tensor]] = defaultdict(list)
    for weight in weights:
        lists[weight.shape, weight.dtype, weight.device].append(weight)
    return list(lists.values())


def _step_matrices(group: dict[str, Any], weights: list[Tensor], buffers: list[Tensor]) -> None:
    """Matrices of one shape by one orthogonalised step each."""
    gradients = [cast("Tensor", weight.grad) for weight in weights]
    torch._foreach_mul_(buffers, group["momentum"])
    torch._foreach_add_(buffers, gradients)
    ahead = torch._foreach_add(gradients, buffers, alpha=group["momentum"])
    ahead_NRC = torch.stack([update.flatten(1) for update in ahead])
    rows, columns = ahead_NRC.shape[1:]
    step_NRC = orthogonal(ahead_NRC).to(weights[0].dtype) * max(1.0, rows / columns) ** 0.5
    torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
    steps = [step_RC.view(weights[0].shape) for step_RC in step_NRC.unbind()]
    torch._foreach_add_(weights, steps, alpha=-group["lr"])


def _step_plain(group: dict[str, Any], weights: list[Tensor], buffers: list[Tensor]) -> None:
    """SGD with momentum and decay inside the gradient."""
    gradients = [cast("Tensor", weight.grad) for weight in weights]
    torch._foreach_mul_(buffers, group["momentum"])
    torch._foreach_add_(buffers, gradients)
    if group["weight_decay"]:
        torch._foreach_add_(buffers, weights, alpha=group["weight_decay"])
    torch._foreach_add_(weights, buffers, alpha=-group["lr"])


def orthogonal(matrices_NRC: Tensor) -> Tensor:
    """Each of N matrices with its singular values moved to about 1, and its singular vectors as they are.

    The published iteration X <- a X + b (X X') X + c (X X')^2 X multiplies X by a polynomial p(A) = a + b A + c A^2 of
    A = X X', which itself becomes p(A) A p(A). So the iterations are done on the small side alone and their product
    meets the matrix once: a third of the work where the other side is nine times as long, as a kernel's is.

    A matrix of zeros stays zero.
    """
    wide = matrices_NRC.to(torch.promote_types(matrices_NRC.dtype, torch.float32))
    x_NRC = wide / wide.norm(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)
    tall = x_NRC.shape[1] > x_NRC.shape[2]
    x_NSL = x_NRC.mT if tall else x_NRC  # S the short side, L the long one
    gram_NSS = x_NSL @ x_NSL.mT
    product_NSS = p_NSS = _polynomial(gram_NSS)
    for _ in range(STEPS - 1):
        gram_NSS = p_NSS @ gram_NSS @ p_NSS
        p_NSS = _polynomial(gram_NSS)
        product_NSS = p_NSS @ product_NSS
    turned_NSL: Tensor = product_NSS @ x_NSL
    return turned_NSL.mT if tall else turned_NSL


def _polynomial(gram_NSS: Tensor) -> Tensor:
    """p(A) = a + b A + c A^2 of each of N square matrices."""
    a, b, c = QUINTIC
    p_NSS = torch.baddbmm(gram_NSS, gram_NSS, gram_NSS, beta=b, alpha=c)
    p_NSS.diagonal(dim1=1, dim2=2).add_(a)
    return p_NSS
