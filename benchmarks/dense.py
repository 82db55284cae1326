"""What methods of places cost: masks by minimum barrier distance, and the contrast of cells with a long queue.

The queue's read is set beside the plain form, which holds all logits of cells and queue at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Outcome, in_turn, parser_of, peak_extra_mib, ratio, rounded, run
from likewise.data import saliency
from likewise.similarity import unit
from likewise.similarity.dense.sets import set_contrast

MINUTES = 1
BATCH, CELLS, WIDTH, TEMPERATURE = 32, 49, 128, 0.2
SIDES = (32, 64)
"""Pixels of the images that masks are made for."""

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def plain(query_BND: Tensor, key_BND: Tensor, queue_KD: Tensor, match_BNN: Tensor) -> Tensor:
    """The loss as one writes it down, for cells of which each has a positive."""
    u_BND, v_BND = unit(query_BND), unit(key_BND)
    own_BNN = u_BND @ v_BND.transpose(1, 2) / TEMPERATURE
    all_BNK = torch.cat([own_BNN.masked_fill(~match_BNN, -torch.inf), u_BND @ queue_KD.T / TEMPERATURE], 2)
    mean_BN = (own_BNN * match_BNN).sum(2) / match_BNN.sum(2)
    return (all_BNK.logsumexp(2) - mean_BN).mean()


def streamed(query_BND: Tensor, key_BND: Tensor, queue_KD: Tensor, match_BNN: Tensor) -> Tensor:
    """The same by likewise."""
    return set_contrast(query_BND, key_BND, queue_KD, match_BNN, TEMPERATURE)


FORMS: dict[str, Loss] = {"streamed": streamed, "plain": plain}


def backward(loss: Loss, query_BND: Tensor, *others: Tensor) -> Tensor:
    """Gradient in the query's cells."""
    query = query_BND.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(query, *others), query)
    return gradient


def contrast_of(length: int, *, batch: int, rounds: int) -> dict[str, Any]:
    """Time, memory and agreement of both forms for a queue of so many rows."""
    generator = torch.Generator().manual_seed(length)
    query, key = (torch.randn(batch, CELLS, WIDTH, generator=generator) for _ in range(2))
    queue = unit(torch.randn(length, WIDTH, generator=generator))
    match = torch.rand(batch, CELLS, CELLS, generator=generator) < 0.05
    match |= torch.eye(CELLS, dtype=torch.bool)
    work = {name: partial(backward, loss, query, key, queue, match) for name, loss in FORMS.items()}
    first, second = (side() for side in work.values())
    extra = {name: peak_extra_mib(side) for name, side in work.items()}
    timings = in_turn(work, rounds=rounds, warm=0)
    return {
        "K": length,
        "seconds": {name: timing.to_json() for name, timing in timings.items()},
        "extra_mib": {name: None if value is None else rounded(value) for name, value in extra.items()},
        "plain / streamed": ratio(timings["plain"], timings["streamed"]),
        "gradient_difference": rounded(float((first - second).abs().max() / second.abs().max()), 2),
    }


def masks_of(side: int, count: int) -> dict[str, Any]:
    """Images a second that get a mask."""
    images = np.random.default_rng(side).uniform(0, 1, (count, 3, side, side))
    timing = in_turn({"mbd": lambda: saliency.binary(saliency.soft_masks(images))}, rounds=2, warm=0)["mbd"]
    return {
        "side": side,
        "images": count,
        **timing.to_json(),
        "images_per_second": rounded(count / timing.busy_seconds),
    }


def measure(options: argparse.Namespace) -> Outcome:
    """Both costs."""
    found = Outcome(
        "Masks and cells",
        f"`mbd` on noise in 0..1. Contrast of cells (SetSim, eq. 7) forward and backward, {BATCH} images of {CELLS} "
        f"cells, D = {WIDTH}, float32. Times are of the processor; extra memory is the rise of the resident memory of "
        "the process; difference: the largest of the gradients, relative.",
    )
    count, lengths = (8, [1024]) if options.quick else (128, [4096, 16384, 65536])
    masks = [masks_of(side, count) for side in SIDES]
    sizes = [contrast_of(length, batch=4 if options.quick else BATCH, rounds=1) for length in lengths]
    found.figures.update(masks=masks, sizes=sizes)
    found.table(
        "Masks by minimum barrier distance",
        ["side", "images together", "images/s"],
        [[one["side"], one["images"], one["images_per_second"]] for one in masks],
    )
    found.table(
        "Contrast of cells with a queue",
        ["K", "streamed, s", "plain, s", "streamed, MiB", "plain, MiB", "difference"],
        [
            [f"{one['K']:,}", *(one["seconds"][name]["busy_seconds"] for name in FORMS),
             *(one["extra_mib"][name] for name in FORMS), one["gradient_difference"]]
            for one in sizes
        ],
    )  # fmt: skip
    most, whole = (sizes[-1]["extra_mib"][name] for name in FORMS)
    met = None if options.quick or most is None or whole is None else most < whole / 4
    found.target(f"extra memory at K = {lengths[-1]:,}, streamed, MiB", "a quarter of the plain form", most, met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    return run("dense", measure, parser_of("dense", MINUTES), arguments)


if __name__ == "__main__":
    main()
