"""Similarity of pixel embeddings against optical flow (arXiv 1807.05636), and flow edges.

Shapes: N pixels drawn in an image, with batches of images in front where given; D dimensions of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity.read import unit

# Cross-pixel flow similarity ---------------------------------------------------------------------------------------


def embedding_kernel(embedding_ND: Tensor, scale: float) -> Tensor:
    """(..., N, N) scale * cosine of pixel embeddings."""
    x_ND = unit(embedding_ND)
    return scale * (x_ND @ x_ND.transpose(-1, -2))


@torch.no_grad()
def flow_kernel(flow_N2: Tensor, sigma: float | Tensor) -> Tensor:
    """(..., N, N) exp(-|f_p - f_q|^2 / (2 sigma^2)), flow in pixels."""
    apart = flow_N2.unsqueeze(-2) - flow_N2.unsqueeze(-3)
    return (-apart.square().sum(-1) / (2.0 * sigma**2)).exp()


def kernel_cross_entropy(
    embedding_NN: Tensor,
    flow_NN: Tensor,
    temperature_embedding: float,
    temperature_flow: float,
    *,
    exclude_diagonal: bool = False,
) -> Tensor:
    """Cross-entropy of each pixel's row of the embedding kernel with its row of the flow kernel, mean over pixels.

    Without `exclude_diagonal` a pixel is compared with itself too, which at low temperatures pulls it to itself alone.
    """
    flow_NN, embedding_NN = flow_NN.detach() / temperature_flow, embedding_NN / temperature_embedding
    if exclude_diagonal:
        own_NN = torch.eye(flow_NN.shape[-1], dtype=torch.bool, device=flow_NN.device)
        flow_NN, embedding_NN = (x.masked_fill(own_NN, -torch.inf) for x in (flow_NN, embedding_NN))
    target_NN = flow_NN.softmax(-1)
    log_NN = embedding_NN.log_softmax(-1)
    return -(target_NN * log_NN.where(target_NN > 0, 0.0)).sum(-1).mean()


def kernel_alignment(embedding_NN: Tensor, flow_NN: Tensor) -> Tensor:
    """1 - <K_D, K_F> / (|K_D| |K_F|), Frobenius, mean over images."""
    flow_NN = flow_NN.detach()
    together = (embedding_NN * flow_NN).sum((-1, -2))
    lengths = [torch.linalg.matrix_norm(kernel_NN) for kernel_NN in (embedding_NN, flow_NN)]
    alignment: Tensor = together / (lengths[0] * lengths[1])
    return (1.0 - alignment).mean()


def kernel_contrast(
    embedding_NN: Tensor, flow_NN: Tensor, temperature: float, *, near: float = 0.5, far: float = 0.1
) -> Tensor:
    """Contrast of pixels with similar motion (flow kernel above `near`) and others (below `far`), mean over pixels.

    L = -log( sum_near exp(K_D / T) / (sum_near exp(K_D / T) + sum_far exp(K_D / T)) ), without the pixel itself; pixels
    that lack either are left out. The paper's third loss draws one pair a pixel; this sums over all of them.
    """
    own_NN = torch.eye(flow_NN.shape[-1], dtype=torch.bool, device=flow_NN.device)
    near_NN, far_NN = (flow_NN > near) & ~own_NN, flow_NN < far
    logits_NN = embedding_NN / temperature
    usable_N = near_NN.any(-1) & far_NN.any(-1)
    pulled_N = logits_NN.masked_fill(~near_NN, -torch.inf)[usable_N].logsumexp(-1)
    both_N = logits_NN.masked_fill(~(near_NN | far_NN), -torch.inf)[usable_N].logsumexp(-1)
    return (both_N - pulled_N).sum() / usable_N.sum().clamp(min=1)


def hypercolumns(maps_BCHW: Sequence[Tensor], pixels_BN2: Tensor, image_size: int) -> Tensor:
    """(B, N, sum of C): several maps of a network read at pixel positions x, y of an input of side `image_size`.

    In a map of stride s that is the place (x + .5) / s - .5, bilinear, held at the border. Raises InputError where a
    map's side does not divide the image's.
    """
    columns = []
    for map_BCHW in maps_BCHW:
        if image_size % map_BCHW.shape[-1]:
            raise InputError(f"a map of side {map_BCHW.shape[-1]} has no whole stride in an image of {image_size} px")
        grid_BN12 = ((pixels_BN2 + 0.5) / image_size * 2.0 - 1.0).unsqueeze(2)
        read = F.grid_sample(map_BCHW, grid_BN12, mode="bilinear", padding_mode="border", align_corners=False)
        columns.append(read.squeeze(3).transpose(1, 2))
    return torch.cat(columns, 2)


# Flow edges (MoDist, arXiv 2106.09703) -----------------------------------------------------------------------------


def flow_edges(flow_T2HW: Tensor, most: float) -> Tensor:
    """(T, 1, H, W) Sobel gradient of the flow's magnitude in pixels, cut at `most` and not divided by it.

    A camera that moves evenly leaves none; contours of what moves against it remain.
    """
    magnitude_T1HW = torch.linalg.vector_norm(flow_T2HW, dim=1, keepdim=True)
    across = flow_T2HW.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    padded = F.pad(magnitude_T1HW, (1, 1, 1, 1), mode="replicate")
    both = F.conv2d(padded, torch.stack([across, across.T]).unsqueeze(1))
    edges: Tensor = torch.linalg.vector_norm(both, dim=1, keepdim=True)
    return edges.clamp(max=most)
