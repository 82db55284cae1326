"""Swin transformers for small images (Liu et al., ICCV 2021, arXiv 2103.14030), as timm builds them.

`swin_micro` has 2 px patches, three stages of two blocks (48, 96 and 192 channels) and windows of 4 x 4: at 32 px a
last map of 4 x 4. Inputs of other sizes, such as small crops, are filled up to whole windows.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import register_model
from timm.models.swin_transformer import SwinTransformer
from torch import nn


class SmallSwin(SwinTransformer):
    """A Swin transformer whose first layers are made for small images, for inputs of any size of whole patches."""


@register_model
def swin_micro(pretrained: bool = False, num_classes: int = 1000, img_size: int = 32, **_: Any) -> SmallSwin:
    """1.1 million weights; 192 features."""
    norm: Any = partial(nn.LayerNorm, eps=1e-6)  # timm's annotation asks for a class where it takes what makes a norm
    return SmallSwin(
        img_size=img_size,
        patch_size=2,
        embed_dim=48,
        depths=(2, 2, 2),
        num_heads=(2, 4, 8),
        window_size=4,
        drop_path_rate=0.0,
        norm_layer=norm,
        num_classes=num_classes,
        strict_img_size=False,
    )
