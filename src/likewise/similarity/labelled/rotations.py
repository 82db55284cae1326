"""Rotated copies and the joint label of class and rotation (HSAKD, arXiv 2107.13715, section 3.1).

Shapes: B images; row 4 i + k is image i turned by k quarter turns counter-clockwise; C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotated(image_B3HH: Tensor) -> Tensor:
    """(4 B, 3, H, H) each image upright and turned by 90, 180 and 270 degrees, one after the other."""
    return torch.stack([image_B3HH.rot90(turns, (2, 3)) for turns in range(4)], 1).flatten(0, 1)


def joint_labels(labels_B: Tensor) -> Tensor:
    """(4 B,) 4 y + k; -1 for images whose class is not known."""
    joint_B4 = 4 * labels_B.unsqueeze(1) + torch.arange(4, device=labels_B.device)
    return joint_B4.where(labels_B.unsqueeze(1) >= 0, -1).flatten()


def class_scores(joint_N4C: Tensor) -> Tensor:
    """(..., C) the four logits of each class summed: the class logits of a joint classifier."""
    return torch.unflatten(joint_N4C, -1, (-1, 4)).sum(-1)
