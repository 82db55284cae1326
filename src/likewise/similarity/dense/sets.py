"""Set similarity: each cell of a query map is compared with a SET of cells of the key map (SetSim; DenseCL).

Matching looks at backbone maps and carries no gradient; the loss compares projected cells. Shapes: B images, N = h * w
cells of a map in rows, C backbone channels, D dimensions, K rows of a queue. `match_BNN[b, i, j]`: cell j of the key is
a positive of cell i of the query.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from likewise.similarity.read import read, unit


class Placed(NamedTuple):
    """Positions of a view's cells in the source image, in fractions of its sides."""

    centres: Tensor
    """(B, N, 2) x and y."""
    diagonal: Tensor
    """(B,) of one cell."""


@torch.no_grad()
def attention(map_BNC: Tensor, threshold: float) -> Tensor:
    """(B, N) bool, the salient cells: channel energy, scaled to 0..1 within the image, at least `threshold`.

    SetSim, arXiv 2107.08712, eq. 4. (The published code divides by the norm over the cells first, which changes
    nothing.)
    """
    energy_BN = map_BNC.square().mean(2)
    energy_BN = torch.nn.functional.normalize(energy_BN, dim=1)
    low_B1, high_B1 = energy_BN.amin(1, keepdim=True), energy_BN.amax(1, keepdim=True)
    return (energy_BN - low_B1) / (high_B1 - low_B1 + 1e-10) >= threshold


@torch.no_grad()
def cosines(query_BNC: Tensor, key_BNC: Tensor) -> Tensor:
    """(B, N, N) cosine of each cell of the query's backbone map with each of the key's."""
    return unit(query_BNC) @ unit(key_BNC).transpose(1, 2)


@torch.no_grad()
def attentional(query_BNC: Tensor, key_BNC: Tensor, attention_at: float, similar_at: float) -> Tensor:
    """(B, N, N) pairs of salient cells whose cosine is at least `similar_at` (eq. 5 and the similarity filter)."""
    pairs_BNN = attention(query_BNC, attention_at).unsqueeze(2) & attention(key_BNC, attention_at).unsqueeze(1)
    return pairs_BNN & (cosines(query_BNC, key_BNC) >= similar_at)


@torch.no_grad()
def placed(corners_B4: Tensor, height: int, width: int) -> Placed:
    """Centres of the cells of a view whose x1, y1, x2, y2 are given; x2 < x1 says that it is mirrored."""
    x1_B, y1_B, x2_B, y2_B = corners_B4.unbind(1)
    bin_x_B1, bin_y_B1 = ((x2_B - x1_B) / width).unsqueeze(1), ((y2_B - y1_B) / height).unsqueeze(1)
    x_W, y_H = (torch.arange(side, device=corners_B4.device) + 0.5 for side in (width, height))
    x_BW = x_W.to(corners_B4) * bin_x_B1 + x1_B.unsqueeze(1)
    y_BH = y_H.to(corners_B4) * bin_y_B1 + y1_B.unsqueeze(1)
    shape = (len(corners_B4), height, width)
    centres = torch.stack([x_BW.unsqueeze(1).expand(shape), y_BH.unsqueeze(2).expand(shape)], 3).flatten(1, 2)
    return Placed(centres, torch.hypot(bin_x_B1, bin_y_B1).squeeze(1))


@torch.no_grad()
def geometric(query: Placed, key: Placed, nearer_than: float) -> Tensor:
    """(B, N, N) cells whose centres in the source lie within `nearer_than` diagonals of the larger cell."""
    larger_B = torch.maximum(query.diagonal, key.diagonal)
    apart_BNN: Tensor = torch.linalg.vector_norm(query.centres.unsqueeze(2) - key.centres.unsqueeze(1), dim=3)
    return apart_BNN < nearer_than * larger_B.view(-1, 1, 1)


@torch.no_grad()
def with_nearest(match_BNN: Tensor, cosine_BNN: Tensor) -> Tensor:
    """The pairs, and for each cell that has one also its most similar cell of the key (section 3.3)."""
    nearest_BNN = torch.zeros_like(match_BNN).scatter_(2, cosine_BNN.argmax(2, keepdim=True), True)
    return match_BNN | (nearest_BNN & match_BNN.any(2, keepdim=True))


@torch.no_grad()
def nearest(cosine_BNN: Tensor) -> Tensor:
    """(B, N, N) each cell's most similar cell of the key alone: DenseCL's correspondence (arXiv 2011.09157)."""
    return torch.zeros_like(cosine_BNN, dtype=torch.bool).scatter_(2, cosine_BNN.argmax(2, keepdim=True), True)


def set_contrast(query_BND: Tensor, key_BND: Tensor, queue_KD: Tensor, match_BNN: Tensor, temperature: float) -> Tensor:
    """Contrast of each query cell with its set P(i) of key cells against a queue (SetSim, eq. 7), mean over images.

        loss_i = - 1/|P(i)| sum_{j in P(i)} (u_i.v_j / T - log Z_i)
        Z_i    = sum_{j in P(i)} exp(u_i.v_j / T) + sum_k exp(u_i.Q_k / T)

    Key cells outside P(i) are neither positives nor negatives. The mean runs over the cells of an image that have a
    positive, then over the images; an image without any counts with 0. The queue is streamed: nothing of size
    B x N x K exists. No gradient goes to the key or the queue.
    """
    u_BND, v_BND = unit(query_BND), unit(key_BND.detach())
    logits_BNN = u_BND @ v_BND.transpose(1, 2) / temperature
    count_BN = match_BNN.sum(2)
    there_BN = count_BN > 0
    counted_BNN = match_BNN | ~there_BN.unsqueeze(2)  # cells without a positive get a finite value, which is not used
    positives_BN = logits_BNN.masked_fill(~counted_BNN, -torch.inf).logsumexp(2)
    negatives_BN = read(u_BND.flatten(0, 1), queue_KD, temperature).log_sum_exp.view_as(positives_BN)
    mean_BN = (logits_BNN * match_BNN).sum(2) / count_BN.clamp_min(1)
    each_BN = (torch.logaddexp(positives_BN, negatives_BN) - mean_BN).where(there_BN, 0.0)
    return (each_BN.sum(1) / there_BN.sum(1).clamp_min(1)).mean()
