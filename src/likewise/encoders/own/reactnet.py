"""ReActNet-A: a MobileNet-like network whose convolutions have 1-bit weights and activations (arXiv 2003.03488).

The first convolution, norms, shifts and slopes are real. `reactnet_a` is the published one; `reactnet_small` is for
images up to 64 px. The names with `_real` are the same networks with real weights in all convolutions, and binary
activations: the first of two steps of binarisation. Both have the same parameters, so that one takes the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import register_model
from torch import Tensor, nn

from likewise.encoders.own.binary import BinaryBlock
from likewise.encoders.own.staged import Staged, average

PUBLISHED = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
SMALL = (16, 32, 64, 64, 128, 128)


class ReActNet(Staged):
    """A 3x3 convolution to `channels[0]`, norm, and one block for each further number of channels; F = `channels[-1]`.

    A block halves the side where channels change, but for the first. Stages are the blocks between two halvings.
    """

    def __init__(self, channels: Sequence[int], *, stem_stride: int, binary: bool, num_classes: int = 0) -> None:
        super().__init__(channels=channels[-1], features=channels[-1], pool=average(), num_classes=num_classes)
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels[0], 3, stride=stem_stride, padding=1, bias=False), nn.BatchNorm2d(channels[0])
        )
        self.stages = nn.ModuleList()
        self.feature_info: list[dict[str, Any]] = []
        reduction = stem_stride
        blocks: list[nn.Module] = []
        for number, (inside, outside) in enumerate(pairwise(channels)):
            stride = 2 if inside != outside and number else 1
            if stride == 2:
                self._close(blocks, inside, reduction)
                blocks, reduction = [], 2 * reduction
            blocks.append(BinaryBlock(inside, outside, stride=stride, binary=binary))
        self._close(blocks, channels[-1], reduction)
        self.side_step = reduction

    def _close(self, blocks: list[nn.Module], channels: int, reduction: int) -> None:
        module = f"stages.{len(self.stages)}"
        self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": module})
        self.stages.append(nn.Sequential(*blocks))

    def forward_stages(self, x_B3HW: Tensor) -> list[Tensor]:
        """One map a stage, each of half the side of the one before."""
        x = self.stem(x_B3HW)
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


@register_model
def reactnet_a(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> ReActNet:
    """ReActNet-A with binary weights."""
    return ReActNet(PUBLISHED, stem_stride=2, binary=True, num_classes=num_classes)


@register_model
def reactnet_a_real(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> ReActNet:
    """ReActNet-A in the first step, with real weights."""
    return ReActNet(PUBLISHED, stem_stride=2, binary=False, num_classes=num_classes)


@register_model
def reactnet_small(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> ReActNet:
    """Five blocks to 128 channels, for small images, with binary weights."""
    return ReActNet(SMALL, stem_stride=1, binary=True, num_classes=num_classes)


@register_model
def reactnet_small_real(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> ReActNet:
    """The same in the first step, with real weights."""
    return ReActNet(SMALL, stem_stride=1, binary=False, num_classes=num_classes)
