"""Losses of USL-T: a learnable clustering with pseudo-labels where it is confident and agrees with its neighbours.

Shapes: B images, C clusters. Logits come from one cluster head; several heads are summed by the caller.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def confident(
    weak_BC: Tensor,
    strong_BC: Tensor,
    threshold: float,
    *,
    balanced: bool = True,
    mean: Literal["weights", "batch"] = "weights",
) -> Tensor:
    """USL-T's global loss (arXiv 2110.03006, eq. 6): the sure prediction of the weak view labels the strong one.

    An image counts where its largest probability is above `threshold`; where `balanced` with the weight n_kept /
    n_cluster, so that clusters weigh the same. The sum is divided by the sum of the `weights` (CIFAR-10) or by the
    size of the `batch` (CIFAR-100, ImageNet). 0 where no image is sure. No gradient goes to the weak view.
    """
    with torch.no_grad():
        confidence_B, label_B = weak_BC.softmax(1).max(1)
        weight_B = (confidence_B > threshold).to(strong_BC.dtype)
        if balanced:
            count_C = weight_B.new_zeros(weak_BC.shape[1]).index_add_(0, label_B, weight_B)
            weight_B = weight_B * (weight_B.sum() / count_C.clamp_min(1))[label_B]
        tiny = torch.finfo(weight_B.dtype).tiny
        total = weight_B.sum().clamp_min(tiny) if mean == "weights" else len(weight_B)
    return (weight_B * F.cross_entropy(strong_BC, label_B, reduction="none")).sum() / total


class Agreement(NamedTuple):
    """The neighbour loss, and the running mean that the next one is guarded by."""

    loss: Tensor
    mean: Tensor
    """(C,) sums to 1."""


def agree(
    anchor_BC: Tensor, neighbour_BC: Tensor, mean_C: Tensor, *, adjust: float, sharpen: float, momentum: float
) -> Agreement:
    """USL-T's local loss (eq. 7): KL from the neighbour's prediction to the image's own, mean over the batch.

    Before it becomes a target the neighbour's logit is lowered by `adjust` times the log of the running mean of its
    cluster, so that large clusters do not swallow the rest, and sharpened to the power 1 / `sharpen`. The mean is
    updated with the predictions as they were, after its use, and sums to 1. No gradient goes to the neighbour.
    """
    with torch.no_grad():
        adjusted_BC = neighbour_BC - adjust * mean_C.log()
        target_BC = (adjusted_BC / sharpen).softmax(1)
        moved_C = momentum * mean_C + (1.0 - momentum) * neighbour_BC.softmax(1).mean(0)
        moved_C = moved_C / moved_C.sum()
    log_BC = anchor_BC.log_softmax(1)
    loss = (torch.special.xlogy(target_BC, target_BC) - target_BC * log_BC).sum(1).mean()
    return Agreement(loss, moved_C)
