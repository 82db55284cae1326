"""CVRL: its contrast is SimCLR's official one, as a sum over the two clips where SimCLR takes the mean of the views."""

from __future__ import annotations

from adapters import Vectors, same
from likewise.similarity import nt_xent

COVERS = ("simclr",)
OF_VIDEO = "of clips, which no method here learns from"
ELSEWHERE = {
    **dict.fromkeys(("contrast_acc", "contrast_entropy"), "watched by the official code alone"),
    **dict.fromkeys(("reg_weight_decay", "reg_kernel", "reg_loss", "total_loss"), "the decay is the optimiser's"),
    **dict.fromkeys(("sampler_length", "sampler_frames", "sampler_stride", "sampler_u", "sampler_delta"), OF_VIDEO),
    **dict.fromkeys(("sampler_indices", "sampler_hist_absdelta", "sampler_hist_draws"), OF_VIDEO),
    **dict.fromkeys(("blur_in", "blur_kernel_size", "blur_sigma", "blur_out"), OF_VIDEO),
}


def check_contrast(v: Vectors) -> None:
    hidden = v.leaf("hidden")  # (2N, D), the first views and then the second
    loss = 2 * nt_xent(*hidden.chunk(2), v.number("temperature"))
    loss.backward()
    same(loss, v["loss"], 1e-6)
    assert hidden.grad is not None
    same(hidden.grad, v["grad_hidden"], 1e-6)
