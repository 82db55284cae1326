"""ConvNet-4 of few-shot learning (Vinyals et al. 2016, arXiv 1606.04080; Snell et al. 2017, arXiv 1703.05175).

Four times 3x3 convolution to 64 channels, norm, ReLU, max-pooling by 2; the features are the last map, flattened: 1,600
at 84 px. Weights are drawn as PyTorch draws them.
"""

from __future__ import annotations

from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import register_model
from torch import Tensor, nn

from likewise.encoders.own.staged import Staged

CHANNELS = 64
STAGES = 4


class ConvNet(Staged):
    """ConvNet-4 for images of `image_size` px, whose last map has `image_size` / 16 places on a side, rounded down.

    Images of other sizes, such as small crops, are averaged to as many places.
    """

    def __init__(self, image_size: int = 84, num_classes: int = 0) -> None:
        side = image_size // 2**STAGES
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
        super().__init__(channels=CHANNELS, features=CHANNELS * side**2, pool=pool, num_classes=num_classes)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(CHANNELS if number else 3, CHANNELS, 3, padding=1),
                nn.BatchNorm2d(CHANNELS),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            )
            for number in range(STAGES)
        )
        self.feature_info = [
            {"num_chs": CHANNELS, "reduction": 2 ** (number + 1), "module": f"blocks.{number}"}
            for number in range(STAGES)
        ]

    def forward_stages(self, x_B3HW: Tensor) -> list[Tensor]:
        """Four maps, of 1/2, 1/4, 1/8 and 1/16 of the side, rounded down."""
        stages: list[Tensor] = []
        for block in self.blocks:
            stages.append(block(stages[-1] if stages else x_B3HW))
        return stages


@register_model
def convnet4(pretrained: bool = False, num_classes: int = 1000, img_size: int = 84, **_: Any) -> ConvNet:
    """ConvNet-4."""
    return ConvNet(img_size, num_classes)
