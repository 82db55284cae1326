"""The loss of methods that assign images to prototypes, and statistics of an assignment.

V views of B images, K prototypes; the first G views are those that targets were made of.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from likewise.similarity.prototypes.assign import Gather


def across_views(scores_VBK: Tensor, targets_GBK: Tensor, temperature: float) -> Tensor:
    """Each of the first G views sets a target that every other view must predict; a scalar.

    L = mean over i < G and v != i of the batch's mean of -sum_k target_i(k) log softmax(scores_v / temperature)_k. No
    gradient goes to the targets.
    """
    views, coding = len(scores_VBK), len(targets_GBK)
    wide = torch.promote_types(scores_VBK.dtype, torch.float32)
    log_VBK = functional.log_softmax(scores_VBK.to(wide) / temperature, dim=2)
    # what all views say, less the view's own word, is what the others say: one softmax serves all targets
    others_GBK = log_VBK.sum(0) - log_VBK[:coding]
    return -(targets_GBK.detach() * others_GBK).sum(2).mean() / (views - 1)


class Entropies(NamedTuple):
    """The use of the K prototypes by an assignment, in nats: ln K is the most that either can be."""

    each: Tensor
    """Mean entropy of the rows: 0 where every image has one prototype, ln K where it has all equally."""
    mean: Tensor
    """Entropy of the mean row over all processes: ln K where the prototypes are used equally, 0 if only one is."""


@torch.no_grad()
def entropies(assignment_GBK: Tensor, gather: Gather | None = None) -> Entropies:
    """Entropies of an assignment (..., K) whose rows sum to 1; their difference is the mutual information."""
    rows_NK = assignment_GBK.flatten(0, -2)
    mean_1K = rows_NK.mean(0, keepdim=True)
    mean_K = (mean_1K if gather is None else gather(mean_1K)).mean(0)
    return Entropies(torch.special.entr(rows_NK).sum(1).mean(), torch.special.entr(mean_K).sum())
