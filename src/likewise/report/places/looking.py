"""Features and attention of each place of a few images, from an encoder's map.

Shapes: N images, C channels, h x w cells of the map (patches), D directions that are kept of the channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from likewise.data import Images
from likewise.data.source import spread
from likewise.encoders import Encoder
from likewise.encoders.embedding import evaluating, view_fraction
from likewise.errors import InputError
from likewise.evaluation.features import evaluation_view
from likewise.localisation.masks import Masks
from likewise.report.places.attention import class_attention
from likewise.similarity import unit
from likewise.views import make_views

SHOWN = 18
"""Images."""
MOST_CELLS = 14
"""Rows and columns of patches at most; finer maps are averaged down to them."""
MOST_NUMBERS = 300_000
"""Numbers that the page holds: of finer maps, the main directions of the channels are kept."""


@dataclass(frozen=True)
class PlaceFeatures:
    """Some images, and what was found at each of their places."""

    images: Images
    """N of them."""
    fraction: float
    """Share of the short side that the encoder saw, cut from the middle."""
    cells_NhwD: NDArray[np.int8]
    """Unit vectors of the patches in their first directions, as multiples of `scale`."""
    scale: float
    kept: float
    """Share of the squared length of the vectors that lies in the directions kept."""
    attention_Nhw: NDArray[np.uint8] | None
    """Attention of the class token of a transformer in its last block, mean over heads; 255 is an image's largest."""
    masks_NHW: NDArray[np.uint8] | None
    """Masks of the images, 255 on the object, with padding at the bottom and at the right."""
    source: str = ""
    """Where the masks come from."""


def look(encoder: Encoder, images: Images, *, masks: Masks | None = None, source: str = "") -> PlaceFeatures | None:
    """What the map of `encoder` says of an even sample of `images`; None where there is no map, or less than 4 cells.

    `masks` are those of all `images`, from `source`. The encoder is used where it is, in eval mode.
    """
    if encoder.spec.frames > 1 or len(images) < 2:
        return None
    index = spread(len(images), SHOWN)
    shown, device = images.subset(index), next(encoder.parameters()).device
    pixels, sizes = shown.gather(np.arange(len(shown)))
    view = {"centre": evaluation_view(encoder)}
    with evaluating(encoder), torch.no_grad():
        seen = make_views(view, pixels.to(device), sizes, seed=0, step=0)["centre"].image
        try:
            map_NChw = encoder.map(seen).float().cpu()
        except InputError:
            return None
        attention = class_attention(encoder, seen)
    if map_NChw.shape[-2:].numel() < 4 or not bool(torch.isfinite(map_NChw).all()):
        return None
    size = (min(MOST_CELLS, map_NChw.shape[-2]), min(MOST_CELLS, map_NChw.shape[-1]))
    cells, scale, kept = packed(functional.adaptive_avg_pool2d(map_NChw, size))
    return PlaceFeatures(
        shown,
        view_fraction(encoder.spec.image_size),
        cells,
        scale,
        kept,
        None if attention is None else _bytes(functional.adaptive_avg_pool2d(attention, size)),
        None if masks is None else masks.gather(index, *(int(side) for side in shown.sizes.max(0))).numpy(),
        source,
    )


def packed(map_NChw: Tensor) -> tuple[NDArray[np.int8], float, float]:
    """(N, h, w, D) int8 unit vectors of the cells in the directions that hold most of them, their scale, and how much.

    The directions are not centred, so inner products of what is kept are those of the whole vectors, nearly.
    """
    count, channels, height, width = map_NChw.shape
    cells_MC = unit(map_NChw.permute(0, 2, 3, 1).reshape(-1, channels)).double()
    _, vectors_CC = torch.linalg.eigh(cells_MC.T @ cells_MC)
    kept_MD = cells_MC @ vectors_CC.flip(1)[:, : max(8, MOST_NUMBERS // len(cells_MC))]
    share = float(kept_MD.square().sum() / cells_MC.square().sum().clamp_min(1e-12))
    scale = float(kept_MD.abs().max()) / 127 or 1.0
    whole = (kept_MD / scale).round().to(torch.int8)
    return whole.view(count, height, width, -1).numpy(), scale, share


def _bytes(map_Nhw: Tensor) -> NDArray[np.uint8]:
    top = map_Nhw.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return (255 * map_Nhw / top).round().to(torch.uint8).numpy()
