"""Every token predicts the prototypes of its best-matching token in another view (EsViT, arXiv 2106.09785, eq. 3).

Shapes: V crops of B images, the first G of them the teacher's; T tokens of a crop (crops differ), U of a teacher's
view; K prototypes; C channels of the backbone's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likewise.similarity.read import unit


@torch.no_grad()
def best_tokens(student_BTC: Tensor, teacher_BUC: Tensor) -> Tensor:
    """(B, T) int64, the most similar token of the teacher's view by cosine of the raw backbone tokens."""
    return (unit(student_BTC) @ unit(teacher_BUC).transpose(1, 2)).argmax(2)


def across_regions(
    scores_vBTK: Sequence[Tensor],
    tokens_vBTC: Sequence[Tensor],
    target_GBUK: Tensor,
    taught_GBUC: Tensor,
    temperature: float,
) -> Tensor:
    """Mean over g < G and v != g of the cross-entropy of the student's tokens with their matches' targets.

    The cross-entropy is averaged over a crop's tokens first, so that large and small crops weigh the same, then over
    images. `scores_vBTK` and `tokens_vBTC` hold one tensor a crop, in the order of the crops. Neither the matching nor
    the targets carry gradient.
    """
    terms = []
    for number, (scores_BTK, tokens_BTC) in enumerate(zip(scores_vBTK, tokens_vBTC, strict=True)):
        wide = torch.promote_types(scores_BTK.dtype, torch.float32)
        log_BTK = (scores_BTK.to(wide) / temperature).log_softmax(2)
        for view, (target_BUK, taught_BUC) in enumerate(zip(target_GBUK, taught_GBUC, strict=True)):
            if view == number:
                continue
            match_BT1 = best_tokens(tokens_BTC, taught_BUC).unsqueeze(2)
            target_BTK = target_BUK.detach().gather(1, match_BT1.expand(-1, -1, target_BUK.shape[2]))
            terms.append(-(target_BTK * log_BTK).sum(2).mean())
    return torch.stack(terms).mean()
