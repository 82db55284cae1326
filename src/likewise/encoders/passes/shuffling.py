"""Shuffled batch norm: the statistics must not reveal the key of a query."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.distributed import common, gather, rank, world
from likewise.encoders import norms


@torch.no_grad()
def shuffled(module: nn.Module, x_B: Tensor) -> Tensor:
    """`module(x)` with the rows of all processes permuted for the pass and put back afterwards, without gradient.

    Where statistics are those of a part of the batch, a key and its query normalised among the same images can
    recognise each other by them; the permutation breaks that (MoCo, arXiv 1911.05722, section 3.3). It is drawn from
    the global generator for the global batch, in one process as in many, so that any number of processes computes the
    same. Where all batch norms see the whole batch nothing is permuted and nothing is drawn.
    """
    if not norms.see_a_part(module):
        return module(x_B)  # type: ignore[no-any-return]
    everything = gather(x_B)
    order = common(torch.randperm(len(everything), device=x_B.device))
    out: Tensor = gather(module(everything[order[rank() :: world()]]))
    return out[order.argsort()][rank() :: world()]
