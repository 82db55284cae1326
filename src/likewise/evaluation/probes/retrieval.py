"""Retrieval: the ranks of images of the query's class in a gallery sorted by similarity.

mAP is the mean over queries of the average precision over the whole ranking. Recall@k (also called CMC at rank k) is
the share of queries with an image of their class among the first k. Where cameras are known, gallery images of the
query's class by the query's own camera are left out of its ranking, as in Market-1501 (Zheng et al., ICCV 2015).

Shapes: Q queries, N images of the gallery, F features, B queries at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation import intervals
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity import unit
from likewise.similarity.nearest import check_features

RANKS = (1, 5, 10)
_TILE_VALUES = 2**24
"""Similarities that are sorted at once."""


class Ranked(NamedTuple):
    """Scores of each query's ranking; only queries that have relevant images."""

    precision_Q: Tensor
    """Average precision."""
    first_Q: Tensor
    """Rank, from 1, of the first image of the query's class."""
    left_out: int
    """Queries without any image of their class in their gallery."""


@torch.no_grad()
def rank(
    query_QF: Tensor,
    gallery_NF: Tensor,
    query_labels_Q: Tensor,
    gallery_labels_N: Tensor,
    *,
    is_same: bool = False,
    query_cameras_Q: Tensor | None = None,
    gallery_cameras_N: Tensor | None = None,
    top: int | None = None,
) -> Ranked:
    """Sort the gallery for each query by cosine similarity, nearest first, equal ones in the order of the gallery.

    `is_same`: the gallery is the queries, and each leaves itself out. With `top` average precision looks at the first
    `top` places alone and divides by the smaller of `top` and the number of matches (mAP@K of landmark retrieval).
    Raises InputError for features that are not
    finite, for cameras of only one side, and where no query has anything to find.
    """
    check_features("query", query_QF)
    check_features("gallery", gallery_NF)
    if (query_cameras_Q is None) != (gallery_cameras_N is None):
        raise InputError("cameras are known of the queries or of the gallery only: both are needed, or neither")
    gallery_NF = unit(gallery_NF)
    precision, first, left_out = [], [], 0
    for rows_B in torch.split(
        torch.arange(len(query_QF), device=query_QF.device), max(1, _TILE_VALUES // len(gallery_NF))
    ):
        similarity_BN = unit(query_QF[rows_B]).to(gallery_NF) @ gallery_NF.T
        same_BN = gallery_labels_N == query_labels_Q[rows_B].unsqueeze(1)
        junk_BN = torch.zeros_like(same_BN)
        if query_cameras_Q is not None:
            junk_BN = same_BN & (gallery_cameras_N == query_cameras_Q[rows_B].unsqueeze(1))
        if is_same:
            junk_BN[torch.arange(len(rows_B), device=rows_B.device), rows_B] = True
        similarity_BN.masked_fill_(junk_BN, -torch.inf)  # behind everything, and no match
        order_BN = similarity_BN.argsort(dim=1, descending=True, stable=True)
        hits_BN = (same_BN & ~junk_BN).gather(1, order_BN)
        possible_B = hits_BN.sum(1)
        hits_BN = hits_BN[possible_B > 0]
        left_out += int((possible_B == 0).sum())
        place_N = torch.arange(1, hits_BN.shape[1] + 1, device=hits_BN.device, dtype=torch.float64)
        at_hits_BN = hits_BN.cumsum(1).div(place_N).mul_(hits_BN)
        counted_B = hits_BN.sum(1)
        if top is not None:
            at_hits_BN, counted_B = at_hits_BN[:, :top], counted_B.clamp(max=top)
        precision.append(at_hits_BN.sum(1) / counted_B)
        first.append(hits_BN.int().argmax(1) + 1)
    found = Ranked(torch.cat(precision), torch.cat(first), left_out)
    if not len(found.first_Q):
        raise InputError("no query has an image of its class to find in the gallery")
    return found


def retrieval_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """mAP and Recall@k, by leave-one-out among the queries or in the bank."""
    is_same = settings.gallery == "queries"
    found = rank(
        features.query_QF,
        features.query_QF if is_same else features.bank_NF,
        features.query_labels_Q,
        features.query_labels_Q if is_same else features.bank_labels_N,
        is_same=is_same,
        query_cameras_Q=features.query_cameras_Q,
        gallery_cameras_N=features.query_cameras_Q if is_same else features.bank_cameras_N,
    )
    where = "the other queries" if is_same else "the bank"
    rule = "" if features.query_cameras_Q is None else ", without images of the same class by the same camera"
    lost = f"; {found.left_out:,} queries with nothing to find left out" if found.left_out else ""
    words = f"retrieval by exact cosine in {where}{rule}{lost}"
    average = intervals.of_mean(found.precision_Q.cpu().numpy())
    n = len(found.first_Q)
    scores = [
        features.measured(
            "retrieval",
            None,
            float(found.precision_Q.mean()),
            f"{words}; mean average precision over whole rankings",
            measure="mAP",
            interval=average,
        )
    ]
    for k in settings.k or RANKS:
        hits = int((found.first_Q <= k).sum())
        result = f"{words}; share of queries with a match among the first {k} (Recall@{k}, CMC rank {k})"
        interval = intervals.wilson(hits, n)
        scores.append(features.measured("retrieval", k, hits / n, result, measure="recall", interval=interval))
    return scores
