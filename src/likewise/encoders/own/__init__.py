"""Backbones that timm does not have, registered with timm by name.

| name | features | used by |
| --- | --- | --- |
| `wrn16_2`, `wrn28_2`, `wrn28_8`, `wrn40_1`, `wrn40_2` | 64 x the last number | Wide ResNets (arXiv 1605.07146); PAWS |
| `wrn16_2_leaky`, `wrn28_2_leaky`, `wrn28_8_leaky` | the same | MixMatch's (arXiv 1905.02249); FixMatch, HIERMATCH |
| `resnet10` | 512 | a ResNet of one basic block a stage, for few-shot learning across domains |
| `resnet12` | 640 | few-shot learning (arXiv 1904.03758) |
| `vit_tiny_patch16_prompts`, `vit_small_...`, `vit_base_...` | 192, 384, 768 | ViTs with deep prompts; PromptCAL |
| `reactnet_a`, `reactnet_small` | 1024, 128 | 1-bit weights and activations (arXiv 2003.03488); S2-BNN |
| `reactnet_a_real`, `reactnet_small_real` | the same | their first step, with real weights |
| `r3d_tiny`, `r3d50` | 128, 2048 | 3D ResNets for clips; CVRL (arXiv 2008.03800) |
| `convnet4` | 64 for each place of the last map | few-shot learning (arXiv 1606.04080, 1703.05175) |
| `swin_micro` | 192 | a Swin transformer for small images; EsViT |
| `vit_micro` | 128 | a vision transformer for small images; DINO |

Importing this package registers them.
"""

from __future__ import annotations

from likewise.encoders.own import prompted_vit, resnet10, vit, wide_resnet
from likewise.encoders.own.convnet import ConvNet
from likewise.encoders.own.r3d import R3D
from likewise.encoders.own.reactnet import ReActNet
from likewise.encoders.own.resnet12 import ResNet12
from likewise.encoders.own.staged import Staged
from likewise.encoders.own.swin import SmallSwin

__all__ = [
    "R3D", "ConvNet", "ReActNet", "ResNet12", "SmallSwin", "Staged", "prompted_vit", "resnet10", "vit", "wide_resnet",
]  # fmt: skip
