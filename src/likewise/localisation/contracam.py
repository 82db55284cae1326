"""ContraCAM: a class activation map whose score is the contrastive loss itself (arXiv 2108.00049, section 3.1).

Shapes: N images of a batch, which are each other's negatives; C channels and h x w cells of the last map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.errors import InputError

Network = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(N, 3, H, W) -> last map (N, C, h, w) and embedding (N, D), the embedding differentiable in the map."""


class Localised(NamedTuple):
    """The masks of a batch."""

    mask: Tensor
    """(N, 1, H, W) in 0..1: the largest activation over the rounds."""
    maps: Tensor
    """(rounds, N, 1, H, W) the map of each round, each stretched to 0..1."""


def scores(embedding_ND: Tensor, key_ND: Tensor, negative_RND: Tensor, *, over_batch: bool = False) -> Tensor:
    """(N,) log( exp(z.k) / sum_r sum_j exp([j != n] z_n.Z^r_j) ) of unit vectors, without temperature.

    An image's own entries count as exp(0) = 1. `over_batch` reproduces the published code, whose numerator sums
    exp(z.k) over the whole batch instead of taking the image's own.
    """
    positive_N = (embedding_ND * key_ND).sum(1)
    similarity_NRN = torch.einsum("nd,rjd->nrj", embedding_ND, negative_RND)
    own_NN = torch.eye(len(embedding_ND), dtype=torch.bool, device=embedding_ND.device)
    similarity_NRN = similarity_NRN.masked_fill(own_NN.unsqueeze(1), 0.0)
    denominator_N = similarity_NRN.flatten(1).logsumexp(1)
    numerator_N = positive_N.logsumexp(0).expand_as(positive_N) if over_batch else positive_N
    return numerator_N - denominator_N


def localise(
    network: Network, images_N3HW: Tensor, rounds: int, *, colour_3: Tensor | None = None, over_batch: bool = False
) -> Localised:
    """Masks of what the score depends on, by masking what was found and looking again, `rounds` times.

    Each round: gradient of the summed scores in the last map; weights max(0, its spatial mean); map ReLU(sum_c w_c
    F_c), enlarged bicubically and stretched to 0..1 for each image; what is found is then painted over in the ORIGINAL
    image with `colour_3`, by default the batch's mean. The network is expected in eval mode. Raises InputError for
    fewer than two images, which have no negatives, and for fewer than one round.
    """
    if len(images_N3HW) < 2 or rounds < 1:
        raise InputError(
            f"ContraCAM of {len(images_N3HW)} images in {rounds} rounds: allowed are 2 or more and 1 or more"
        )
    colour = (images_N3HW.mean((0, 2, 3)) if colour_3 is None else colour_3.to(images_N3HW)).view(1, 3, 1, 1)
    seen, mask, key = images_N3HW, torch.zeros_like(images_N3HW[:, :1]), None
    negatives: list[Tensor] = []
    maps = []
    for _ in range(rounds):
        with torch.enable_grad():
            last, embedding_ND = network(seen)
            embedding_ND = F.normalize(embedding_ND, dim=1)
            key = embedding_ND.detach() if key is None else key
            negatives.append(embedding_ND.detach())
            score_N = scores(embedding_ND, key, torch.stack(negatives), over_batch=over_batch)
            (gradient,) = torch.autograd.grad(score_N.sum(), last)
        weight = gradient.mean((2, 3), keepdim=True).clamp_min(0.0)
        found = (weight * last.detach()).sum(1, keepdim=True).clamp_min(0.0)
        found = F.interpolate(found, images_N3HW.shape[2:], mode="bicubic", align_corners=False)
        found = found - found.amin((2, 3), keepdim=True)
        found = found / (found.amax((2, 3), keepdim=True) + 1e-20)
        maps.append(found)
        mask = torch.maximum(mask, found)
        seen = images_N3HW * (1.0 - mask) + colour * mask
    return Localised(mask, torch.stack(maps))
