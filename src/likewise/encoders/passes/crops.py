"""Several crops of each image through one network: crops of one size together, the head once over all.

V views of B images, D outputs. Views come in any number and in any sizes that the encoder takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple, cast

import torch

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.layers.drop import DropPath
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from likewise.encoders.build import check
from likewise.encoders.encoder import Encoder
from likewise.errors import InputError
from likewise.views.policies.pair import SMALL_IMAGE


class MultiCrop(nn.Module):
    """An encoder and a head that look at several crops of each image (SwAV, arXiv 2006.09882, section 3.2).

    Neighbouring crops of equal size go through the encoder as one batch, so there is one pass, and one set of batch
    statistics, per size. The features of all crops, the first view of all images first, then go through the head
    once.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, crops: Sequence[Tensor]) -> Tensor:
        """V tensors (B, 3, H, W) -> (V, B, D)."""
        alike = [list(group) for _, group in groupby(crops, key=lambda crop: crop.shape[-2:])]
        features = torch.cat([self.encoder(torch.cat(group)) for group in alike])
        out = cast("Tensor", self.head(features))
        return out.view(len(crops), -1, out.shape[1])


class Tokens(NamedTuple):
    """Output of `TokenCrops` for V crops of B images."""

    pooled_VBD: Tensor
    """The head's outputs for the pooled features."""
    dense: list[Tensor]
    """(B, T, E) for each crop: the dense head's outputs for its T tokens, which are as many as its size allows."""
    tokens: list[Tensor]
    """(B, T, C) for each crop: the encoder's tokens themselves."""


class TokenCrops(nn.Module):
    """Like `MultiCrop`, with a second head for every place of the encoder's map (EsViT, arXiv 2106.09785, section 3).

    Crops of one size share a pass; each head is run once over all of them.
    """

    def __init__(self, encoder: Encoder, head: nn.Module, dense_head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.dense_head = dense_head

    def forward(self, crops: Sequence[Tensor]) -> Tokens:
        """V tensors (B, 3, H, W) -> pooled and dense outputs, and tokens."""
        pooled: list[Tensor] = []
        tokens: list[Tensor] = []
        for _, group in groupby(crops, key=lambda crop: crop.shape[-2:]):
            alike = list(group)
            features, map_NChw = self.encoder.with_map(torch.cat(alike))
            pooled.append(features)
            tokens += map_NChw.flatten(2).transpose(1, 2).chunk(len(alike))
        out = cast("Tensor", self.head(torch.cat(pooled)))
        rows = cast("Tensor", self.dense_head(torch.cat([part.flatten(0, 1) for part in tokens])))
        parts = torch.split(rows, [part.shape[0] * part.shape[1] for part in tokens])
        dense = [row.view(*part.shape[:2], -1) for row, part in zip(parts, tokens, strict=True)]
        return Tokens(out.view(len(crops), -1, out.shape[1]), dense, tokens)


def small_side(encoder: Encoder, image_size: int, asked: int = 0) -> int:
    """Side of small crops in pixels: `asked`, or where that is 0 what the papers' 96 of 224 px is for `image_size`.

    Of images up to 64 px half the side is taken, or nothing could be seen in a crop. Raises InputError where the
    encoder does not take crops of that side: transformers need whole patches, and some models one size only.
    """
    patches = next((part for part in encoder.modules() if isinstance(part, PatchEmbed)), None)
    step = 4 if patches is None else patches.patch_size[0]
    share = 1 / 2 if image_size <= SMALL_IMAGE else 3 / 7
    side = asked or max(1, round(share * image_size / step)) * step
    name = encoder.spec.name
    if patches is not None and patches.strict_img_size and side != image_size:
        raise InputError(f"encoder {name!r} takes images of {image_size} px only: small_crops must be 0 for it")
    if patches is not None and side % step:
        near = max(1, round(side / step)) * step
        raise InputError(f"small_size={side} is not whole {step} px patches of {name!r}: the nearest that is is {near}")
    if side != image_size:
        check(encoder.spec, side)
    return side


def without_drop_paths(network: nn.Module) -> None:
    """Let no residual branch be skipped, in place: teachers see the whole network, also in training."""
    for part in network.modules():
        if isinstance(part, DropPath):
            part.drop_prob = 0.0


def drop_paths(encoder: Encoder, rate: float) -> None:
    """Let a transformer skip residual branches in training: none in its first block, `rate` of them in its last.

    Stochastic depth (arXiv 1603.09382) as timm's transformers have it; for one that was made without, in place, such
    as a student whose teacher shall not skip. Raises InputError for encoders whose blocks have no place for it.
    """
    blocks = [block for block in encoder.modules() if hasattr(block, "drop_path1") and hasattr(block, "drop_path2")]
    if not blocks:
        raise InputError(f"drop_path={rate} is for transformers: encoder {encoder.spec.name!r} has no place for it")
    for number, block in enumerate(blocks):
        share = rate * number / max(1, len(blocks) - 1)
        block.drop_path1, block.drop_path2 = (DropPath(share) if share else nn.Identity() for _ in range(2))
