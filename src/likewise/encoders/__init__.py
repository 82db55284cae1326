"""Encoders: any timm model by name, narrow and small-image ResNets, the heads and norms that methods put on them.

`build(EncoderSpec(name="resnet18", width=16, stem="small", image_size=32), seed=0)` is an `Encoder`;
`heads.mlp((F, 2 * F, F // 4))` is a projector; `save_encoder` and `load_encoder` keep one on disk.
"""

from __future__ import annotations

from likewise.encoders import heads, norms
from likewise.encoders.build import build, check, has_small_stem, has_width, normalisation
from likewise.encoders.encoder import Encoder
from likewise.encoders.files.store import load_encoder, load_weights, save_encoder
from likewise.encoders.norms import SplitBatchNorm1d, SplitBatchNorm2d, SyncBatchNorm, convert
from likewise.encoders.spec import EncoderSpec

__all__ = [
    "Encoder",
    "EncoderSpec",
    "SplitBatchNorm1d",
    "SplitBatchNorm2d",
    "SyncBatchNorm",
    "build",
    "check",
    "convert",
    "has_small_stem",
    "has_width",
    "heads",
    "load_encoder",
    "load_weights",
    "normalisation",
    "norms",
    "save_encoder",
]
