"""One code path for one process and for many: the few collectives that methods need.

Every process works on a strided share of the global batch (process r of W holds rows r, r+W, r+2W, ...), so gathering
interleaves: the result has the row order that a single process would have seen.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world() -> int:
    """Number of processes, 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@torch.no_grad()
def gather(x_B: Tensor) -> Tensor:
    """Rows of all processes, (B, ...) -> (B * world, ...), in global order and without gradient."""
    if world() == 1:
        return x_B
    shares = [torch.empty_like(x_B, memory_format=torch.contiguous_format) for _ in range(world())]
    dist.all_gather(shares, x_B.contiguous())
    return torch.stack(shares, dim=1).flatten(0, 1)


@torch.no_grad()
def shuffled(module: nn.Module, x_B: Tensor) -> Tensor:
    """`module(x)` with the rows permuted across processes for the pass and put back afterwards, without gradient.

    With batch statistics per process, a key and its query normalised by the same pictures can recognise each other by
    them; the permutation breaks that (MoCo, arXiv 1911.05722, section 3.3). In one process it changes nothing.
    """
    if world() == 1:
        return module(x_B)  # type: ignore[no-any-return]
    everything = gather(x_B)
    order = torch.randperm(len(everything), device=x_B.device)
    dist.broadcast(order, src=0)
    out = gather(module(everything[order[rank() :: world()]]))
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    return out[back][rank() :: world()]
