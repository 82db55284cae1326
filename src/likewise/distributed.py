"""The collectives that methods need, the same code for one process and for many.

Every process works on a strided share of the global batch (process r of W holds rows r, r+W, r+2W, ...), so gathering
interleaves: the result has the row order that a single process would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """Number of processes, 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def leave() -> None:
    """Take this process out of the group, if it is in one.

    Called when a process ends: gloo's threads would now and then abort it otherwise, and a launcher then ends the
    others, which may still write.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@overload
def gather(x_B: Tensor) -> Tensor: ...
@overload
def gather(x_B: None) -> None: ...
@overload
def gather(x_B: Tensor | None) -> Tensor | None: ...
@torch.no_grad()
def gather(x_B: Tensor | None) -> Tensor | None:
    """Rows of all processes, (B, ...) -> (B * world, ...), in global order and without gradient.

    Labels that the data does not have are None everywhere, and stay it.
    """
    if x_B is None or world() == 1:
        return x_B
    shares = [torch.empty_like(x_B, memory_format=torch.contiguous_format) for _ in range(world())]
    dist.all_gather(shares, x_B.contiguous())
    return torch.stack(shares, dim=1).flatten(0, 1)


class _Gather(torch.autograd.Function):
    """The gather whose backward adds up what the losses of all processes want of this process's rows."""

    @staticmethod
    def forward(ctx: Any, x_B: Tensor) -> Tensor:
        return gather(x_B)

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor) -> Tensor:
        total_N = grad_N.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total_N)
        return total_N[rank() :: world()]


_gathered: Callable[[Tensor], Tensor] = _Gather.apply


def gather_with_gradient(x_B: Tensor) -> Tensor:
    """`gather` for losses that compare the images of a batch: gradient flows back to every process's rows.

    Each process takes the mean loss of its own rows against all rows, or the same loss of all rows; the gradients of
    a process's rows are summed over the processes here and averaged by the distributed wrapper afterwards, which
    gives in both cases the gradient of the mean over the global batch. Without the sum a negative would only be
    pushed away by the queries of its own process.
    """
    return x_B if world() == 1 else _gathered(x_B)


def positions(x_B: Tensor) -> Tensor:
    """(B,) int64: where the rows of this process stand in the gathered batch."""
    return torch.arange(len(x_B), device=x_B.device) * world() + rank()


@torch.no_grad()
def common(x: Tensor) -> Tensor:
    """The first process's `x` on all processes: what was drawn for the global batch, where each draws differently.

    The first process draws what a single one would draw; rows of this process are `x[positions(...)]`.
    """
    if world() > 1:
        x = x.contiguous()  # of a view gloo would send the wrong numbers
        dist.broadcast(x, src=0)
    return x


def reduced(values: Sequence[float], how: Literal["max", "mean"], device: torch.device) -> list[float]:
    """Each value's largest, or mean, over all processes, known to all. Waits for the device where there are several."""
    if world() == 1:
        return list(values)
    together = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(together, op=dist.ReduceOp.MAX if how == "max" else dist.ReduceOp.SUM)
    return [float(value) / (world() if how == "mean" else 1) for value in together.tolist()]


def everywhere(value: str) -> list[str]:
    """What every process holds for `value`, the first process's first."""
    if world() == 1:
        return [value]
    found = [""] * world()
    dist.all_gather_object(found, value)
    return found
