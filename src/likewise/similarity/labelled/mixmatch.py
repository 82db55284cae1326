"""MixMatch (arXiv 1905.02249): guessed labels, mixed images and targets, and the loss of both kinds of rows.

Shapes: B images, C classes; rows are labelled images first, then the unlabelled ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likewise.similarity.labelled.support import sharpened
from likewise.similarity.losses import cross_entropy


@torch.no_grad()
def guessed(logits_VBC: Tensor, temperature: float) -> Tensor:
    """(B, C) the mean prediction over V views of an image, sharpened (eq. 6 and 7)."""
    return sharpened(logits_VBC.softmax(2).mean(0), temperature)


def mixed(rows: Tensor, order: Tensor, share: float) -> Tensor:
    """share * row + (1 - share) * row at `order`; images and targets are mixed by the same (eq. 10 and 11)."""
    return share * rows + (1.0 - share) * rows[order]


def interleaved(chunks: Sequence[Tensor]) -> list[Tensor]:
    """Chunks of equal length B that each hold rows of all: slice i of chunk 0 is exchanged with slice i of chunk i.

    The slices are B // n long, those at the end one longer where there is a remainder. Batch statistics then see
    labelled and unlabelled rows together. The function is its own inverse.
    """
    length, count = len(chunks[0]), len(chunks)
    spare = length % count
    sizes = [length // count + (number >= count - spare) for number in range(count)]
    cut = [list(torch.split(chunk, sizes)) for chunk in chunks]
    for number in range(1, count):
        cut[0][number], cut[number][number] = cut[number][number], cut[0][number]
    return [torch.cat(slices) for slices in cut]


def labelled_loss(logits_BC: Tensor, target_BC: Tensor) -> Tensor:
    """Cross-entropy with mixed targets, mean over rows (eq. 3)."""
    return cross_entropy(logits_BC, target_BC).mean()


def unlabelled_loss(logits_BC: Tensor, target_BC: Tensor) -> Tensor:
    """Squared distance of probabilities, mean over rows AND classes (eq. 4)."""
    return (logits_BC.softmax(1) - target_BC).square().mean()


def ramp(epochs_done: float, epochs: float) -> float:
    """Share of the weight of the unlabelled loss, linear over the whole budget."""
    return min(max(epochs_done / epochs, 0.0), 1.0)
