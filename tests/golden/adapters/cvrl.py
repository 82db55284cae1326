"""CVRL: its contrast is SimCLR's official one, as a sum over the two clips where SimCLR takes the mean of the views."""

from __future__ import annotations

import numpy as np
import torch

from adapters import Vectors, same
from likewise.data.batches.clips import frame_numbers, gap, pair_starts, span
from likewise.similarity import nt_xent

COVERS = ("simclr",)
ELSEWHERE = {
    **dict.fromkeys(("contrast_acc", "contrast_entropy"), "watched by the official code alone"),
    **dict.fromkeys(("reg_weight_decay", "reg_kernel", "reg_loss", "total_loss"), "the decay is the optimiser's"),
    **dict.fromkeys(("blur_in", "blur_kernel_size", "blur_sigma", "blur_out"), "views of clips are not made yet"),
}


def check_contrast(v: Vectors) -> None:
    hidden = v.leaf("hidden")  # (2N, D), the first views and then the second
    loss = 2 * nt_xent(*hidden.chunk(2), v.number("temperature"))
    loss.backward()
    same(loss, v["loss"], 1e-6)
    assert hidden.grad is not None
    same(hidden.grad, v["grad_hidden"], 1e-6)


def check_sampler(v: Vectors) -> None:
    length, frames, stride = (v.number(f"sampler_{name}") for name in ("length", "frames", "stride"))
    places = span(length, frames, stride)
    gaps = [gap(places, u) for u in v["sampler_u"].tolist()]
    assert gaps == v["sampler_delta"].tolist()
    for apart, row in zip(gaps, v["sampler_indices"], strict=True):
        numbers = frame_numbers(np.array([0, apart]), frames, stride, length)
        assert torch.from_numpy(numbers.ravel()).equal(row.long())


def check_distribution_of_gaps(v: Vectors) -> None:
    length, frames, stride = (v.number(f"sampler_{name}") for name in ("length", "frames", "stride"))
    draws, counts = v.number("sampler_hist_draws"), v["sampler_hist_absdelta"].numpy()
    uniform = np.random.default_rng(0).random((25 * draws, 3))
    starts = [pair_starts(length, frames, stride, row) for row in uniform]
    own = np.bincount([abs(a - b) for a, b in starts], minlength=len(counts)) / len(starts)
    assert np.abs(own - counts / draws).sum() / 2 < 0.05
    assert all(0 <= start < span(length, frames, stride) for pair in starts for start in pair)
    assert abs(np.mean([a < b for a, b in starts if a != b]) - 0.5) < 0.02
