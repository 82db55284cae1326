"""ResNet-10: one basic block a stage, 64 to 512 channels, 7x7 first convolution (Guo et al., arXiv 1912.07200).

timm has it with other first layers only (`resnet10t`).
"""

from __future__ import annotations

from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet


@register_model
def resnet10(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> ResNet:
    """ResNet-10, with 1 for every norm at the beginning."""
    block: Any = BasicBlock  # timm's annotation asks for a block where it takes the class of one
    return ResNet(block, (1, 1, 1, 1), num_classes=num_classes, zero_init_last=False)
