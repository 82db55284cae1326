"""Video against its narration, negatives graded by nearness in time (after arXiv 2008.06607; the definitions are ours).

Shapes: B clips with their speech, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from likewise.similarity.read import similarities, unit

NEVER = -1
"""The level of pairs that are no negatives: the clip itself, and what is too near in time."""


@torch.no_grad()
def affinity_levels(scan_B: Tensor, time_B: Tensor, edges: Sequence[float]) -> Tensor:
    """(B, B) int64: 0 for another scan; in the same one 1, 2, 3 the nearer in time; `NEVER` within the first edge.

    `edges` d1 < d2 < d3 in seconds: level 3 is d1 < |dt| <= d2, level 2 d2 < |dt| <= d3, level 1 beyond.
    """
    apart_BB = (time_B.unsqueeze(1) - time_B).abs()
    passed_BB = (apart_BB.unsqueeze(2) > torch.tensor(edges, device=time_B.device, dtype=time_B.dtype)).sum(2)
    level_BB = torch.where(passed_BB == 0, NEVER, len(edges) + 1 - passed_BB)
    return torch.where(scan_B.unsqueeze(1) == scan_B, level_BB, 0)


class Narrated(NamedTuple):
    """The contrast, and how many clips took part."""

    loss: Tensor
    anchors: Tensor
    """Scalar int64: clips with at least one allowed negative."""


def contrast_by_level(
    video_BD: Tensor, speech_BD: Tensor, level_BB: Tensor, stage: int, temperature: float
) -> Narrated:
    """Both directions' contrast with the own partner against allowed negatives of levels 0 to `stage`.

    A clip without an allowed negative is left out of the mean; 0 where none has one. Gradient goes to both sides.
    """
    allowed_BB = (level_BB >= 0) & (level_BB <= stage)
    own_BB = torch.eye(len(level_BB), dtype=torch.bool, device=level_BB.device)
    counted_BB, anchor_B = allowed_BB | own_BB, allowed_BB.any(1)
    logits_BB = similarities(unit(video_BD), unit(speech_BD), temperature)
    total = logits_BB.new_zeros(())
    for direction_BB in (logits_BB, logits_BB.T):
        each_B = direction_BB.masked_fill(~counted_BB, -torch.inf).logsumexp(1) - direction_BB.diagonal()
        total = total + each_B.where(anchor_B, 0.0).sum()
    anchors = anchor_B.sum()
    return Narrated(total / (2 * anchors.clamp_min(1)), anchors)
