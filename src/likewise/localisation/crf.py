"""A fully connected conditional random field over the pixels of a small image, by mean field (Kraehenbuehl and Koltun,
NIPS 2011, arXiv 1210.5644), with the settings that ContraCAM's masks are sharpened with (arXiv 2108.00049).

The kernels are whole matrices, exact and without a compiled library: for images up to about 64 px.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR, NEAR_WEIGHT = 3.0, 3.0
"""Deviation in pixels, and weight, of the kernel of places alone."""
FAR_SHARE, COLOUR, FAR_WEIGHT = 12 / 32, 13.0, 10.0
"""Deviation of place as a share of the image's side (published: 80 px of 224) and of colour on 0 to 255, and weight, of
the kernel of both."""
ROUNDS = 5
_LEAST = 1e-4


def refined(mask_SS: Tensor, image_3SS: Tensor, *, rounds: int = ROUNDS) -> Tensor:
    """(S, S) probability of the object at each pixel: the mask, drawn to where colours change.

    `mask_SS` and `image_3SS` are in [0, 1]. Unary terms are -log M and -log(1 - M); neighbours in place, and in place
    and colour, should have the same label (Potts), by symmetrically normalised Gaussian kernels. An empty mask stays
    empty.
    """
    if not bool((mask_SS > 0).any()):
        return torch.zeros_like(mask_SS)
    side = mask_SS.shape[-1]
    at = torch.arange(side, dtype=torch.float32, device=mask_SS.device)
    place_P2 = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1).flatten(0, 1)
    colour_P3 = 255.0 * image_3SS.flatten(1).T
    kernel_PP = NEAR_WEIGHT * _kernel(place_P2 / NEAR)
    kernel_PP += FAR_WEIGHT * _kernel(torch.cat([place_P2 / (FAR_SHARE * side), colour_P3 / COLOUR], 1))
    likely_P = mask_SS.flatten().clamp(_LEAST, 1.0 - _LEAST)
    unary_2P = torch.stack([(1.0 - likely_P).log(), likely_P.log()])
    label_2P = unary_2P.softmax(0)
    for _ in range(rounds):
        label_2P = (unary_2P + label_2P @ kernel_PP).softmax(0)
    return label_2P[1].view(side, side)


def _kernel(features_PF: Tensor) -> Tensor:
    """(P, P) exp(-|f - f'|^2 / 2) without the diagonal, normalised on both sides."""
    kernel_PP = torch.cdist(features_PF, features_PF).square_().mul_(-0.5).exp_()
    kernel_PP.fill_diagonal_(0.0)
    scale_P = kernel_PP.sum(1).clamp_min(1e-20).rsqrt()
    return kernel_PP.mul_(scale_P.unsqueeze(0)).mul_(scale_P.unsqueeze(1))
