"""Wide ResNets for small images (Zagoruyko, Komodakis, BMVC 2016, arXiv 1605.07146), without dropout.

WRN-d-k has three groups of n = (d - 4) / 6 blocks with 16 k, 32 k and 64 k channels; a block is norm, activation, 3x3
convolution, twice, beside a shortcut. Two forms are in use:

- the paper's: ReLU; where a shortcut is a convolution it takes the activated input;
- MixMatch's (arXiv 1905.02249), of FixMatch and most of semi-supervised learning: leaky ReLU of slope 0.1, running
  statistics that take a thousandth of each batch, and the activated input for the shortcut of the first block only.

PAWS lets the last norm take 0.99 of each batch: `encoder.backbone.norm.momentum = 0.99`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import register_model
from torch import Tensor, nn

from likewise.encoders.own.staged import Staged, average, draw_weights


class _Form:
    """Activation and norms of one of the two forms."""

    def __init__(self, *, leaky: bool) -> None:
        self.leaky = leaky

    def activation(self) -> nn.Module:
        return nn.LeakyReLU(0.1, inplace=True) if self.leaky else nn.ReLU(inplace=True)

    def norm(self, channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels, momentum=0.001 if self.leaky else 0.1)


class Block(nn.Module):
    """Norm, activation, 3x3 convolution, twice, beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int, form: _Form, *, activated: bool) -> None:
        """`activated`: whether a shortcut that is a convolution takes the activated input."""
        super().__init__()
        self.activated = activated
        self.norm1, self.act1 = form.norm(inside), form.activation()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.norm2, self.act2 = form.norm(outside), form.activation()
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        changes = inside != outside or stride != 1
        self.shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        active = self.act1(self.norm1(x))
        short = x if self.shortcut is None else self.shortcut(active if self.activated else x)
        out: Tensor = short + self.conv2(self.act2(self.norm2(self.conv1(active))))
        return out


class WideResNet(Staged):
    """WRN-`depth`-`factor`. Its stages are the first convolution and the three groups, before the last norm."""

    def __init__(self, depth: int, factor: int, *, leaky: bool = False, num_classes: int = 0) -> None:
        widths = [16, 16 * factor, 32 * factor, 64 * factor]
        super().__init__(channels=widths[-1], features=widths[-1], pool=average(), num_classes=num_classes)
        form, count = _Form(leaky=leaky), (depth - 4) // 6
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.groups = nn.ModuleList()
        for number, (inside, outside) in enumerate(pairwise(widths)):
            strides = [2 if number else 1] + [1] * (count - 1)
            channels = [inside] + [outside] * (count - 1)
            blocks = [
                Block(ins, outside, stride, form, activated=not leaky or number == 0)
                for ins, stride in zip(channels, strides, strict=True)
            ]
            self.groups.append(nn.Sequential(*blocks))
        self.norm, self.act = form.norm(widths[-1]), form.activation()
        self.feature_info = [
            {"num_chs": width, "reduction": reduction, "module": module}
            for width, reduction, module in zip(
                widths, (1, 1, 2, 4), ("stem", "groups.0", "groups.1", "groups.2"), strict=True
            )
        ]
        draw_weights(self)

    def forward_stages(self, x_B3HW: Tensor) -> list[Tensor]:
        """Four maps, of 1, 1, 1/2 and 1/4 of the side."""
        stages = [self.stem(x_B3HW)]
        for group in self.groups:
            stages.append(group(stages[-1]))
        return stages

    def finish(self, last_BCHW: Tensor) -> Tensor:
        """The norm and the activation that the last block leaves to be done."""
        finished: Tensor = self.act(self.norm(last_BCHW))
        return finished


def _made(depth: int, factor: int, *, num_classes: int, leaky: bool = False) -> WideResNet:
    return WideResNet(depth, factor, leaky=leaky, num_classes=num_classes)


@register_model
def wrn16_2(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-16-2."""
    return _made(16, 2, num_classes=num_classes)


@register_model
def wrn28_2(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-28-2."""
    return _made(28, 2, num_classes=num_classes)


@register_model
def wrn28_8(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-28-8."""
    return _made(28, 8, num_classes=num_classes)


@register_model
def wrn40_1(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-40-1."""
    return _made(40, 1, num_classes=num_classes)


@register_model
def wrn40_2(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-40-2."""
    return _made(40, 2, num_classes=num_classes)


@register_model
def wrn16_2_leaky(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-16-2 as MixMatch has it."""
    return _made(16, 2, num_classes=num_classes, leaky=True)


@register_model
def wrn28_2_leaky(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-28-2 as MixMatch has it."""
    return _made(28, 2, num_classes=num_classes, leaky=True)


@register_model
def wrn28_8_leaky(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> WideResNet:
    """WRN-28-8 as MixMatch has it."""
    return _made(28, 8, num_classes=num_classes, leaky=True)
