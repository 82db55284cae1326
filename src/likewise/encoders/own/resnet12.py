"""ResNet-12 of few-shot learning (Lee et al., CVPR 2019, arXiv 1904.03758).

Four blocks with 64, 160, 320 and 640 channels: three 3x3 convolutions with norms, a 1x1 convolution beside them, leaky
ReLU of slope 0.1, max-pooling by 2. In training a tenth is dropped: single values in the first two blocks, squares
of 5 x 5 (DropBlock, arXiv 1810.12890) in the last two, there rising from nothing over 40,000 passes.
"""

from __future__ import annotations

from typing import Any

import torch

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional

from likewise.encoders.own.staged import Staged, average, draw_weights

WIDTHS = (64, 160, 320, 640)
DROPPED = 0.1
"""Share of the values that is dropped in training."""
SIDE = 5
"""Side of the squares that are dropped; the whole map where that is smaller."""
RISE = 40_000
"""Passes in training after which that many are dropped in squares."""


class DropBlock(nn.Module):
    """Sets squares of each channel to 0 and scales the rest, so that the sum over the batch stays what it was.

    How many passes there were is a buffer, so that a run continues where it was.
    """

    passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape; unchanged in evaluation."""
        if not self.training:
            return x
        self.passes.add_(1)
        height, width = x.shape[2:]
        down, across = min(SIDE, height), min(SIDE, width)
        corners = (height - down + 1, width - across + 1)
        share = (DROPPED * self.passes / RISE).clamp(max=DROPPED)
        rate = share * (height * width) / (down * across * corners[0] * corners[1])
        begins = (torch.rand((*x.shape[:2], *corners), device=x.device) < rate).float()
        around = functional.pad(begins, (across - 1, across - 1, down - 1, down - 1))
        kept = 1.0 - functional.max_pool2d(around, (down, across), stride=1)
        return x * (kept * (kept.numel() / kept.sum().clamp(min=1.0))).to(x.dtype)


class Block(nn.Module):
    """Three convolutions beside one, pooled, and dropped in part."""

    def __init__(self, inside: int, outside: int, drop: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.conv3 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside))
        self.act = nn.LeakyReLU(0.1, inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / 2, W / 2)."""
        deep = self.act(self.norm1(self.conv1(x)))
        deep = self.act(self.norm2(self.conv2(deep)))
        deep = self.norm3(self.conv3(deep))
        out: Tensor = self.drop(self.pool(self.act(deep + self.shortcut(x))))
        return out


class ResNet12(Staged):
    """ResNet-12. Its stages are the four blocks."""

    def __init__(self, num_classes: int = 0) -> None:
        super().__init__(channels=WIDTHS[-1], features=WIDTHS[-1], pool=average(), num_classes=num_classes)
        drops = (nn.Dropout(DROPPED), nn.Dropout(DROPPED), DropBlock(), DropBlock())
        self.blocks = nn.ModuleList(
            Block(inside, outside, drop) for inside, outside, drop in zip((3, *WIDTHS), WIDTHS, drops, strict=False)
        )
        self.feature_info = [
            {"num_chs": width, "reduction": 2 ** (number + 1), "module": f"blocks.{number}"}
            for number, width in enumerate(WIDTHS)
        ]
        draw_weights(self)

    def forward_stages(self, x_B3HW: Tensor) -> list[Tensor]:
        """Four maps, of 1/2, 1/4, 1/8 and 1/16 of the side, rounded down."""
        stages: list[Tensor] = []
        for block in self.blocks:
            stages.append(block(stages[-1] if stages else x_B3HW))
        return stages


@register_model
def resnet12(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> ResNet12:
    """ResNet-12."""
    return ResNet12(num_classes)
