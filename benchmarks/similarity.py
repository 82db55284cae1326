"""ISD's loss, forward and backward: the streaming read of the memory against the plain form with all B x K logits."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, normalize, softmax

from benchmarks.harness import Outcome, in_turn, parser_of, peak_extra_mib, ratio, rounded, run
from likewise.similarity import distill

MINUTES = 11
BATCH = 256
STUDENT, TEACHER = 0.1, 0.02
LARGEST_COMPARED = 65_536
"""Rows of the memory up to which the gradients of both forms are compared."""
ROUNDS_OF_WORK = 4.0e11
"""Multiplications over which the rounds of one size are spread: short work is repeated more often."""


def plain(student_BD: Tensor, teacher_BD: Tensor, memory_KD: Tensor) -> Tensor:
    """The loss as one writes it down, and as the published code does."""
    q_BD = normalize(student_BD, dim=1)
    with torch.no_grad():
        target_BK = softmax(normalize(teacher_BD, dim=1) @ memory_KD.T / TEACHER, dim=1)
    return kl_div(log_softmax(q_BD @ memory_KD.T / STUDENT, dim=1), target_BK, reduction="batchmean")


def streaming(student_BD: Tensor, teacher_BD: Tensor, memory_KD: Tensor) -> Tensor:
    """The same by likewise."""
    return distill(student_BD, teacher_BD, memory_KD, STUDENT, TEACHER).loss


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
SIDES: dict[str, Loss] = {"streaming": streaming, "plain": plain}


def backward(loss: Loss, student_BD: Tensor, teacher_BD: Tensor, memory_KD: Tensor) -> None:
    """Forward and backward."""
    student_BD.grad = None
    loss(student_BD, teacher_BD, memory_KD).backward()


def difference(student_BD: Tensor, teacher_BD: Tensor, memory_KD: Tensor) -> float:
    """Largest relative difference of the two gradients, so that equal things are compared."""
    gradients = []
    for loss in SIDES.values():
        student = student_BD.detach().clone().requires_grad_()
        loss(student, teacher_BD, memory_KD).backward()
        assert student.grad is not None
        gradients.append(student.grad)
    return float((gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max())


def one_size(length: int, width: int, *, batch: int, quick: bool) -> dict[str, Any]:
    """Time, memory and agreement of both forms for one length of memory."""
    generator = torch.Generator().manual_seed(length + width)
    memory_KD = torch.empty(length, width)
    for part_CD in memory_KD.split(16384):  # filled in place: the largest takes 2 GiB
        part_CD.normal_(generator=generator)
        part_CD.div_(part_CD.norm(dim=1, keepdim=True))
    student_BD = torch.randn(batch, width, generator=generator, requires_grad=True)
    teacher_BD = student_BD.detach() + torch.randn(batch, width, generator=generator)
    work = {name: partial(backward, loss, student_BD, teacher_BD, memory_KD) for name, loss in SIDES.items()}
    agreement = difference(student_BD, teacher_BD, memory_KD[:LARGEST_COMPARED])
    extra = {name: peak_extra_mib(side) for name, side in work.items()}  # and warm
    rounds = 1 if quick else int(min(15, max(2, ROUNDS_OF_WORK // (batch * length * width))))
    timings = in_turn(work, rounds=rounds, warm=0)
    return {
        "K": length,
        "D": width,
        "seconds": {name: timing.to_json() for name, timing in timings.items()},
        "extra_mib": {name: None if value is None else rounded(value) for name, value in extra.items()},
        "plain / streaming": ratio(timings["plain"], timings["streaming"]),
        "gradient_difference": rounded(agreement, 2),
    }


def measure(options: argparse.Namespace) -> Outcome:
    """All sizes, both forms."""
    found = Outcome(
        "Similarity distillation",
        f"ISD's loss forward and backward, batch {BATCH}, float32, Ts {STUDENT}, Tt {TEACHER}; memory of unit noise, "
        "not counted as extra. Difference: the largest of the gradients, relative. "
        "Extra memory is the rise of the resident memory of the process.",
    )
    lengths = [4096, 16384] if options.quick else [4**n for n in range(6, 11)]
    sizes = [
        one_size(length, width, batch=32 if options.quick else BATCH, quick=options.quick)
        for width in ((32,) if options.quick else (128, 512))
        for length in lengths
    ]
    found.figures["sizes"] = sizes
    found.table(
        "Time and extra memory",
        ["K", "D", "streaming, s", "plain, s", "plain / streaming", "streaming, MiB", "plain, MiB", "difference"],
        [
            [f"{size['K']:,}", size["D"], *(size["seconds"][name]["seconds"] for name in SIDES),
             size["plain / streaming"]["ratio_of_rounds"], *(size["extra_mib"][name] for name in SIDES),
             size["gradient_difference"]]
            for size in sizes
        ],
    )  # fmt: skip
    long = [size for size in sizes if size["K"] >= 16384]
    slowest = min(size["plain / streaming"]["ratio_of_rounds"] for size in long)
    met = None if options.quick else slowest >= 1
    found.target("time of the plain form over ours, smallest for K >= 16,384", ">= 1", slowest, met=met)
    most = sizes[-1]["extra_mib"]["streaming"]
    met = None if options.quick or most is None else most <= 64
    found.target("extra memory at K = 1,048,576, D = 512, MiB", "<= 64", most, met=met)
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print."""
    return run("similarity", measure, parser_of("similarity", MINUTES), arguments)


if __name__ == "__main__":
    main()
