"""Correspondence of an encoder's map: tokens of two crops of one image are matched.

Shapes: B images, N = h x w tokens of a map in rows, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.encoders.embedding import batch_for, batches, evaluating
from likewise.errors import InputError
from likewise.evaluation.probes.protocol import Features
from likewise.evaluation.scores import Score
from likewise.methods.setsim import corners
from likewise.similarity.dense.regions import best_tokens
from likewise.similarity.dense.sets import Placed, placed
from likewise.views import make_views, strong

SCALE = (0.4, 1.0)
"""Share of an image that each of both crops covers."""
NEAR = 1.0
"""Tokens, along each axis, within which a match is right."""


class Correspondence(NamedTuple):
    """Numbers of correctly matched tokens."""

    accuracy: float
    """Share of tokens whose most similar token in the other crop lies within `NEAR` of the same place of the image."""
    chance: float
    """The same for a token drawn at random."""
    tokens: int
    """Tokens asked about: those whose place the other crop shows."""


@torch.no_grad()
def correspondence(encoder: Encoder, images: Images, *, seed: int = 0) -> Correspondence:
    """Match the tokens of two crops of each image, with the colours of MoCo v2, by cosine (arXiv 2106.09785).

    Raises InputError for an encoder without a map, and for one whose map has fewer than nine tokens, where a token near
    is nearly any.
    """
    spec, device = encoder.spec, next(encoder.parameters()).device
    policy = strong(spec.image_size, mean=spec.mean, std=spec.std, scale=SCALE)
    right, chance, count = 0.0, 0.0, 0
    with evaluating(encoder):
        for start, (pixels, sizes) in batches(images, np.arange(len(images)), batch_for(spec.image_size, 256, device)):
            views = make_views({"first": policy, "second": policy}, pixels.to(device), sizes, seed=seed, step=start)
            maps = [encoder.map(view.image).float() for view in views.values()]
            if (cells := maps[0].shape[-2:].numel()) < 9:
                raise InputError(
                    f"the map of {spec.name!r} has {cells} tokens at {spec.image_size} px: 9 are the least"
                )
            first, second = (
                placed(corners(view), map_BChw.shape[-2], map_BChw.shape[-1])
                for view, map_BChw in zip(views.values(), maps, strict=True)
            )
            tokens = [map_BChw.flatten(2).transpose(1, 2) for map_BChw in maps]
            near_BNN, shown_BN = _near(first, second, maps[1].shape[-2], maps[1].shape[-1])
            match_BN1 = best_tokens(tokens[0], tokens[1]).unsqueeze(2)
            right += float((near_BNN.gather(2, match_BN1).squeeze(2) & shown_BN).sum())
            chance += float((near_BNN.double().mean(2) * shown_BN).sum())
            count += int(shown_BN.sum())
    return Correspondence(right / count, chance / count, count) if count else Correspondence(0.0, 0.0, 0)


def correspondence_scores(encoder: Encoder, query: Images, features: Features) -> list[Score]:
    """Share of tokens that find their place, beside that of tokens drawn at random."""
    found = correspondence(encoder, query, seed=features.seed)
    words = f"nearest token of another crop within {NEAR:g} token of the true place, {found.tokens:,} tokens"
    score = features.measured(
        "correspondence", None, found.accuracy, f"{words}; chance {found.chance:.3f}", measure="correspondence"
    )
    return [score]


def _near(first: Placed, second: Placed, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(B, N, N) which tokens of the second lie near each of the first, and (B, N) which of these the second shows."""
    centres_BN2 = second.centres
    # half a token on each side of the outermost centres; a mirrored crop has them in falling order
    low_B2, high_B2 = centres_BN2.amin(1), centres_BN2.amax(1)
    token_B2 = (high_B2 - low_B2) / torch.tensor([max(1, width - 1), max(1, height - 1)]).to(low_B2)
    apart_BNN2 = (first.centres.unsqueeze(2) - centres_BN2.unsqueeze(1)).abs() / token_B2.view(-1, 1, 1, 2)
    inside_BN2 = (first.centres >= (low_B2 - token_B2 / 2).unsqueeze(1)) & (
        first.centres <= (high_B2 + token_B2 / 2).unsqueeze(1)
    )
    return (apart_BNN2 <= NEAR).all(3), inside_BN2.all(2)
