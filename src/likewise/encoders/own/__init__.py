"""Backbones that timm does not have, made known to it by name, so that everything takes them as it takes timm's.

| name | features | used by |
| --- | --- | --- |
| `wrn16_2`, `wrn28_2`, `wrn28_8`, `wrn40_1`, `wrn40_2` | 64 x the last number | Wide ResNets (arXiv 1605.07146); PAWS |
| `wrn16_2_leaky`, `wrn28_2_leaky`, `wrn28_8_leaky` | the same | MixMatch's (arXiv 1905.02249); FixMatch, HIERMATCH |
| `resnet10` | 512 | a ResNet of one basic block a stage, for few-shot learning across domains |
| `resnet12` | 640 | few-shot learning (arXiv 1904.03758) |
| `reactnet_a`, `reactnet_small` | 1024, 128 | 1-bit weights and activations (arXiv 2003.03488); S2-BNN |
| `reactnet_a_real`, `reactnet_small_real` | the same | their first step, with real weights |
| `convnet4` | 64 for each place of the last map | few-shot learning (arXiv 1606.04080, 1703.05175) |
| `swin_micro` | 192 | a Swin transformer for small images; EsViT |

Importing this package registers them.
"""

from __future__ import annotations

from likewise.encoders.own import resnet10, wide_resnet
from likewise.encoders.own.convnet import ConvNet
from likewise.encoders.own.reactnet import ReActNet
from likewise.encoders.own.resnet12 import ResNet12
from likewise.encoders.own.staged import Staged
from likewise.encoders.own.swin import SmallSwin

__all__ = ["ConvNet", "ReActNet", "ResNet12", "SmallSwin", "Staged", "resnet10", "wide_resnet"]
