"""Images against captions: hard pairs, smoothed pairs, and soft targets by a teacher's similarities (OTTER).

arXiv 2104.08945 and 2112.09445. All losses are SUMS over the two directions, each a mean over the batch, as in the
published code. Shapes: N pairs of the global batch, D dimensions.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity.losses import cross_entropy
from likewise.similarity.prototypes.assign import sinkhorn
from likewise.similarity.read import similarities, unit

MOST = 100.0
"""A learned scale is cut here; above it nothing is learned."""
_NEVER = 100.0
"""Taken off the similarity of an image to itself, so that nothing is transported there."""


def scale_of(log_scale: Tensor) -> Tensor:
    """exp of the learned logarithm, between 1 and `MOST`."""
    return log_scale.exp().clamp(1.0, MOST)


def both_ways(image_ND: Tensor, text_ND: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """(N, N) scaled cosines of images with texts, and of texts with images."""
    logits_NN = similarities(unit(image_ND), unit(text_ND)) * scale_of(log_scale)
    return logits_NN, logits_NN.T


def pair_contrast(image_ND: Tensor, text_ND: Tensor, log_scale: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """InfoNCE of both directions; with `smoothing` e the pair has 1 - e and every other text e / (N - 1).

    Raises InputError for one pair only, which has nothing to be told from.
    """
    count = len(image_ND)
    if count < 2:
        raise InputError("contrast of images and texts needs a batch of at least 2 pairs")
    target_NN = torch.full((count, count), smoothing / (count - 1), dtype=unit(image_ND).dtype, device=image_ND.device)
    target_NN.fill_diagonal_(1.0 - smoothing)
    forth, back = both_ways(image_ND, text_ND, log_scale)
    return cross_entropy(forth, target_NN).mean() + cross_entropy(back, target_NN).mean()


class Targets(NamedTuple):
    """The teacher's soft targets: texts for each image, and images for each text."""

    texts: Tensor
    """(N, N), rows sum to 1."""
    images: Tensor
    """(N, N), rows sum to 1."""


@torch.no_grad()
def soft_targets(
    image_ND: Tensor,
    text_ND: Tensor,
    form: Literal["softmax", "transport"] = "transport",
    *,
    scale: float = 100.0,
    regularisation: float = 0.15,
    iterations: int = 5,
    keep_own: bool = False,
    weights: tuple[float, float] = (1.0, 1.0),
    alike_by: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Targets:
    """Targets from the teacher's vectors: of similar images, of similar texts, and of matching pairs.

    With V and X unit, A = w_v V V' + w_t X X' + V X' (and X V' for the other direction). `softmax`: softmax(scale A).
    `transport` (OTTER): the plan with even margins of exp(A / regularisation), `iterations` times rows, then columns;
    in the end rows sum to 1. There an image is never its own neighbour unless `keep_own`: or its pair would take all.
    `alike_by` are other vectors of the images and of the texts, (N, any length), by which V V' and X X' are taken.
    """
    v, x = unit(image_ND), unit(text_ND)
    by_v, by_x = (own if other is None else unit(other) for own, other in zip((v, x), alike_by, strict=True))
    alike = weights[0] * similarities(by_v, by_v) + weights[1] * similarities(by_x, by_x)
    if form == "transport" and not keep_own:
        alike.fill_diagonal_(float("nan"))
        own = (weights[0] + weights[1]) * (1.0 - _NEVER)
        alike = alike.nan_to_num(nan=own)
    across = similarities(v, x)
    scores = (alike + across, alike + across.T)
    if form == "softmax":
        return Targets(*((scale * score).softmax(1) for score in scores))
    return Targets(*(transported(score, regularisation, iterations) for score in scores))


def transported(scores_NM: Tensor, regularisation: float, iterations: int) -> Tensor:
    """(N, M) transport plan with even margins, rows summing to 1.

    `sinkhorn` scales columns and then rows; here rows come first, which is what starting from row sums of 1 gives.
    """
    begun = (scores_NM / regularisation).log_softmax(1)
    return sinkhorn(begun, epsilon=1.0, iterations=iterations)


def divergence(image_ND: Tensor, text_ND: Tensor, log_scale: Tensor, targets: Targets) -> Tensor:
    """KL from the targets to the student's distributions, both directions summed."""
    loss = image_ND.new_zeros(())
    for logits, target in zip(both_ways(image_ND, text_ND, log_scale), targets, strict=True):
        entropy = -torch.special.xlogy(target, target).sum(1)
        loss = loss + (cross_entropy(logits, target) - entropy).mean()
    return loss
