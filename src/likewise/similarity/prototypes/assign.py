"""Assignments of a batch to prototypes, computed from its scores without gradient: balanced, or informative.

Both look at the whole batch at once. With several processes each keeps its own rows, and only one row of length K per
process and iteration travels, through `gather` (`likewise.distributed.gather`).

Shapes: B rows of this process, W processes, K prototypes. Everything is worked out in logarithms and in float32 or
better, so that no row and no prototype vanishes however sharp the temperature is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from likewise.errors import InputError

Gather = Callable[[Tensor], Tensor]
"""(1, ...) of this process -> (W, ...) of all."""


@torch.no_grad()
def sinkhorn(scores_BK: Tensor, *, epsilon: float = 0.05, iterations: int = 3, gather: Gather | None = None) -> Tensor:
    """Balanced soft assignment (B, K): rows sum to 1, and all prototypes get about the same share of the batch.

    exp(scores / epsilon) is scaled `iterations` times, first so that all prototypes have equal sums and then so that
    all rows have: the row sums are exact in the end, the balance is approximate. Without iterations it is the softmax
    of scores / epsilon. Raises `InputError` for an epsilon that is not above 0.

    Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
    arXiv 2006.09882, section 3.1.
    """
    if not epsilon > 0:
        raise InputError(f"sinkhorn needs an epsilon above 0, not {epsilon}")
    log_BK = _accurate(scores_BK) / epsilon
    for _ in range(iterations):
        # the paper's factors 1/K and 1/B cancel in the end and are left out
        log_BK = (log_BK - _log_sum(log_BK, gather)).log_softmax(dim=1)
    return log_BK.softmax(dim=1)


@torch.no_grad()
def mira(
    scores_BK: Tensor,
    *,
    temperature: float = 0.225,
    beta: float = 2 / 3,
    iterations: int = 30,
    gather: Gather | None = None,
) -> Tensor:
    """Assignment W (B, K), rows summing to 1, near the scores' softmax P and informative about the samples.

    It minimises mean_i KL(W_i || P_i) - beta * I(W), with P = softmax(scores / temperature) and I the mutual
    information between sample and prototype, by the fixed point

        W_ij ~ a_ij wbar_j^(-beta / (1 - beta)),   a = softmax(scores / (temperature (1 - beta))),   wbar = mean_i W_i,

    whose error shrinks by about `beta` an iteration. `beta` 0 gives P. Prototypes may differ in size, unlike in
    `sinkhorn`. Raises `InputError` for a temperature that is not above 0, and for a beta outside 0 <= beta < 1.

    Lee et al., Unsupervised Visual Representation Learning via Mutual Information Regularized Assignment,
    NeurIPS 2022, arXiv 2211.02284, algorithm 1. Its u is kept here as v = u^(1 / (1 - beta)).
    """
    if not temperature > 0:
        raise InputError(f"mira needs a temperature above 0, not {temperature}")
    if not 0 <= beta < 1:
        raise InputError(f"mira needs a beta from 0 to below 1, not {beta}")
    log_a_BK = (_accurate(scores_BK) / (temperature * (1 - beta))).log_softmax(dim=1)
    log_count = _log_count(log_a_BK, gather)
    log_v_1K = _log_sum(log_a_BK, gather) - log_count
    for _ in range(iterations):
        log_z_B1 = (log_a_BK - beta * log_v_1K).logsumexp(dim=1, keepdim=True)
        log_v_1K = _log_sum(log_a_BK - log_z_B1, gather) - log_count
    return (log_a_BK - beta * log_v_1K).softmax(dim=1)


def _accurate(x: Tensor) -> Tensor:
    return x.detach().to(torch.promote_types(x.dtype, torch.float32))


def _log_sum(log_BK: Tensor, gather: Gather | None) -> Tensor:
    """Logarithm (1, K) of the prototypes' sums over the rows of all processes."""
    own_1K = log_BK.logsumexp(dim=0, keepdim=True)
    return own_1K if gather is None else gather(own_1K).logsumexp(dim=0, keepdim=True)


def _log_count(x_BK: Tensor, gather: Gather | None) -> Tensor | float:
    """Logarithm of the number of rows of all processes; of several it stays on the device, so that nothing waits."""
    if gather is None:
        return math.log(len(x_BK))
    own = torch.full((1,), len(x_BK), device=x_BK.device, dtype=x_BK.dtype)
    return gather(own).sum().log()
