"""Background augmentations: composites, contrast with the background's negative, and saliency step by step."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.data import saliency
from likewise.similarity import contrast
from likewise.views.backgrounds import composite

TOLERANCE = 1e-7


def check_composites(v: Vectors) -> None:
    image, mask = v["images"], v["soft_masks"]
    grey = v["gray_levels"].view(-1, 1, 1, 1).expand_as(image)
    same(composite(image, mask, grey), v["bg_rm"], TOLERANCE)
    background, other = image[v["background_index"]], v["negative_index"]
    same(composite(image, mask, background), v["bg_swap"], TOLERANCE)
    same(composite(image[other], mask[other], background), v["bg_matched_negative"], TOLERANCE)


def check_loss(v: Vectors) -> None:
    query = v.leaf("query")
    loss = contrast(
        query,
        v["key"],
        v["queue"],
        v.number("temperature"),
        own_negative_BD=v["background_negative"],
        with_own_B=v["include_negative"],
    )
    same(loss, v["loss"], TOLERANCE)
    same(torch.autograd.grad(loss, query)[0], v["grad_query"], TOLERANCE)


def check_saliency(v: Vectors) -> None:
    image, width = v["saliency_in"].unsqueeze(0).numpy(), v.number("saliency_border_width")
    assert saliency.border_width(image.shape[2]) == width
    assert v.number("saliency_cov_eps") == 1e-3
    barrier = saliency.barrier_distance(image, width, v.number("saliency_passes"))
    same(torch.from_numpy(barrier[0]), v["saliency_mbd"], TOLERANCE)
    sides = saliency.border_sides(image, width)
    same(torch.from_numpy(sides[0]), v["saliency_border_sides"], TOLERANCE)
    border = saliency.border_distance(sides)
    same(torch.from_numpy(border[0]), v["saliency_border"], TOLERANCE)
    found = saliency.saliency(barrier, border)
    same(torch.from_numpy(found[0]), v["saliency_final"], TOLERANCE)
    assert torch.from_numpy(saliency.binary(found)[0]).equal(v["saliency_binary"].bool())
    same(torch.from_numpy(saliency.soft_masks(image)), torch.from_numpy(found), TOLERANCE)
