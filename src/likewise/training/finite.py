"""Non-finite losses and gradients: they stop a run before they reach the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from likewise.distributed import world
from likewise.errors import TrainingStopped

NAMED = 8
"""Images of a batch that a message names."""
OVERFLOWS = 24
"""Steps in a row that float16 may skip while it looks for a scale: 2^24 below where it began, no gradient is left."""


class NonFinite(TrainingStopped):
    """The loss or the gradient of a step was infinite or not a number; its update was not applied."""

    def __init__(self, what: str, step: int, images: Sequence[int], names: Sequence[str] | None = None) -> None:
        """`what` was seen, in words; `images` are positions of the batch at fault, `names` those of all images."""
        named = [str(position) if names is None else names[position] for position in images]
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        batch = (
            f"images of that batch: {', '.join(named[:NAMED])}{more}" if named else "its batch was another process's"
        )
        super().__init__(f"{what}, training stopped before applying it; {batch}")
        self.step = step
        self.images = tuple(images)


class _Loss(NamedTuple):
    value: Tensor
    bad: Tensor
    """Bool: whether any process's loss is not finite. On the host once `ready` has passed."""
    ready: torch.cuda.Event | None
    images: Tensor


class _Gradient(NamedTuple):
    step: int
    bad: Tensor
    ready: torch.cuda.Event | None


class FiniteGuard:
    """Stops training before the optimiser applies what is no number, without draining a GPU.

    In each step: `watch` after each forward pass, `check` after the last backward pass was queued, `gradients` before
    the optimiser; `check` once more at the end. On a GPU `watch` queues a copy of one flag to pinned memory right
    behind the forward pass, and `check` waits for that copy alone. The backward pass has been queued by then and keeps
    the device busy meanwhile, so the host stays ahead.

    Waiting for the gradients would wait for the backward pass, too. So on an accelerator bad gradients are set to zero
    there, by which the weights stay good, and the `check` of the next step, which the host waits for anyway, reports
    them. On a processor they are reported at once.

    With several processes the flags are shared, so that all of them stop at the same step instead of waiting for one
    another. For the gradients nothing needs to be sent: they were averaged, and one that is no number is so in all.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        *,
        names: Sequence[str] | None = None,
        batch: Callable[[int], Sequence[int]] | None = None,
        overflows: int = 0,
    ) -> None:
        """`device` is where the method is, `names` are those of all images.

        `batch` gives the positions of the images of a step over all processes. As many bad gradients in a row as
        `overflows` are left to the scaler of float16, which skips them.
        """
        self._later = torch.device(device).type != "cpu"
        self._names, self._batch, self._overflows = names, batch, overflows
        self._losses: list[_Loss] = []
        self._gradient: _Gradient | None = None
        self._in_a_row: Tensor | None = None

    def watch(self, loss: Tensor, batch_index: Tensor) -> None:
        """Note the scalar loss of one forward pass and the (B,) positions of its images."""
        loss = loss.detach()
        bad = torch.isfinite(loss).logical_not()
        if world() > 1:
            votes = bad.int()
            dist.all_reduce(votes, op=dist.ReduceOp.MAX)
            bad = votes.bool()
        self._losses.append(_Loss(loss, *_to_host(bad), batch_index))

    def check(self, step: int) -> None:
        """Raise `NonFinite` for a gradient before this step, or a loss noted since the last check; forget them."""
        losses, self._losses = self._losses, []
        gradient, self._gradient = self._gradient, None
        if gradient is not None and _read(gradient.bad, gradient.ready):
            raise self._bad_gradient(gradient.step)
        for loss, bad, ready, images in losses:
            if _read(bad, ready):
                value = float(loss)
                mine = [] if math.isfinite(value) else images.tolist()
                named = f"is {value}" if mine else "is no number in another process"
                what = f"the loss of step {step} {named}"
                raise NonFinite(what, step, mine or self._images(step), self._names)

    @torch.no_grad()
    def gradients(self, step: int, parameters: Iterable[nn.Parameter]) -> None:
        """Look at the complete gradients of a step. Raises `NonFinite` now on a processor, else at the next `check`."""
        given = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not given:
            return
        bad = torch.nn.utils.get_total_norm(given).isfinite().logical_not()
        if self._overflows:
            before = torch.zeros((), dtype=torch.int32, device=bad.device) if self._in_a_row is None else self._in_a_row
            self._in_a_row = torch.where(bad, before + 1, 0)
            bad = self._in_a_row > self._overflows
        elif self._later:
            for gradient in given:
                gradient.masked_fill_(bad, 0.0)
        if self._later:
            self._gradient = _Gradient(step, *_to_host(bad))
        elif bool(bad):
            raise self._bad_gradient(step)

    def _bad_gradient(self, step: int) -> NonFinite:
        often = f", nor were those of {self._overflows} steps before it" if self._overflows else ""
        what = f"the norm of the gradient of step {step} is not finite{often}"
        return NonFinite(what, step, self._images(step), self._names)

    def _images(self, step: int) -> list[int]:
        """The whole batch of a step, where it is known."""
        return [] if self._batch is None else [int(position) for position in self._batch(step)]


def _to_host(bad: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A flag on its way to the host, and what to wait for before it is read there."""
    if not bad.is_cuda:
        return bad, None
    on_host = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(bad, non_blocking=True)
    ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
    ready.record()
    return on_host, ready


def _read(bad: Tensor, ready: torch.cuda.Event | None) -> bool:
    if ready is not None:
        ready.synchronize()
    return bool(bad)
