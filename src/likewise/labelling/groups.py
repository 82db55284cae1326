"""Groups of similar images, labelled with one key.

Shapes: N images, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likewise.similarity import unit

SIZE = 9
"""Images of a group at most."""


def groups(features_ND: Tensor, apart: Sequence[str] | None = None, size: int = SIZE) -> list[list[int]]:
    """All rows in groups of at most `size`: the first that is left, and its nearest by cosine of those that are left.

    Rows of different values in `apart` (N,) come into different groups, in the order of the values' first rows.
    """
    x_ND = unit(features_ND.float())
    parts: dict[str, list[int]] = {}
    for row in range(len(x_ND)):
        parts.setdefault("" if apart is None else apart[row], []).append(row)
    found = []
    for rows in parts.values():
        left = torch.tensor(rows)
        while len(left):
            near = x_ND[left] @ x_ND[left[0]]
            near[0] = torch.inf  # itself first, also beside a copy
            taken = near.topk(min(size, len(left))).indices
            found.append(left[taken].tolist())
            keep = torch.ones(len(left), dtype=torch.bool)
            keep[taken] = False
            left = left[keep]
    return found
