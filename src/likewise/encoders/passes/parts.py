"""A large batch through a network in parts, in two passes, so that a loss can compare the whole batch.

Gradient caching (Gao, Zhang, Han, Callan, arXiv 2101.06983): the first pass keeps what comes out and nothing else; the
second is made of each part when its gradient is there, so that what lies between exists for one part at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def in_parts(function: Callable[[Tensor], Tensor], network: nn.Module, x_B: Tensor, parts: int) -> Tensor:
    """`function` of a batch (B, ...), a part at a time: what it gives of each image, in the order of the images.

    `network` is what `function` computes with. Row b is in part b mod `parts`, so that two views of an image, one
    batch after the other, are in the same part. Loss and gradient are those of the whole batch, and random numbers
    those of the first pass again; a batch norm in the network sees the images of a part, and remembers them once.
    Without gradient, and for one part, it is `function(x_B)`.
    """
    if parts == 1 or not torch.is_grad_enabled():
        return function(x_B)

    modes = [module.training for module in network.modules()]

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _again(network, modes)

    def seen(part: Tensor) -> Tensor:
        out: Tensor = checkpoint(function, part, use_reentrant=False, context_fn=contexts)
        return out

    rows = torch.arange(len(x_B), device=x_B.device)
    order = torch.cat([rows[part::parts] for part in range(parts)])
    return torch.cat([seen(x_B[part::parts]) for part in range(min(parts, len(x_B)))])[order.argsort()]


@contextmanager
def _again(network: nn.Module, modes: list[bool]) -> Iterator[None]:
    """In the modes of the first pass, which may be over by now; batch norms remember nothing of images seen before."""
    modes_now = [module.training for module in network.modules()]
    _set_modes(network, modes)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        _set_modes(network, modes_now)
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked


def _set_modes(network: nn.Module, modes: list[bool]) -> None:
    for module, mode in zip(network.modules(), modes, strict=True):
        module.training = mode
