"""3D ResNets for clips (Hara, Kataoka, Satoh, CVPR 2018, arXiv 1711.09577; the form of CVRL, arXiv 2008.03800).

Kernels reach over time in the last two stages alone, and no layer but the first of `r3d50` thins frames out. An image
is seen as a clip of one frame. Shapes: F frames of a clip, T of a map.
"""

from __future__ import annotations

from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
from timm.models import register_model
from torch import Tensor, nn

from likewise.encoders.own.staged import Staged

TIMES = (1, 1, 3, 3)
"""Frames that the kernels of each stage reach over."""
_STRIDES = (1, 2, 2, 2)
_EXPANSION = 4


class _Average(nn.Module):
    """The mean over all places of maps of images and of clips."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm3d(channels)


def _conv(before: int, after: int, kernel: tuple[int, int, int], stride: int = 1) -> nn.Conv3d:
    """A convolution without bias that keeps the number of frames; `stride` is that of height and width."""
    padding = tuple(side // 2 for side in kernel)
    return nn.Conv3d(before, after, kernel, stride=(1, stride, stride), padding=padding, bias=False)  # type: ignore[arg-type]


class Block(nn.Module):
    """Two or three convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, time: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        after = width * _EXPANSION if bottleneck else width
        if bottleneck:
            convs = [_conv(before, width, (time, 1, 1)), _conv(width, width, (1, 3, 3), stride)]
            convs.append(_conv(width, after, (1, 1, 1)))
        else:
            convs = [_conv(before, width, (time, 3, 3), stride), _conv(width, width, (1, 3, 3))]
        layers: list[nn.Module] = []
        for conv in convs:
            layers += [conv, _norm(conv.out_channels), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers[:-1])
        changes = before != after or stride > 1
        self.shortcut = (
            nn.Sequential(_conv(before, after, (1, 1, 1), stride), _norm(after)) if changes else nn.Identity()
        )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.body(x) + self.shortcut(x))
        return out


class R3D(Staged):
    """A 3D ResNet: (B, C, F, H, W) clips or (B, C, H, W) images -> pooled features."""

    takes_clips = True

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        *,
        depths: tuple[int, int, int, int] = (1, 1, 1, 1),
        large: bool = False,
        channels: int = 3,
        num_classes: int = 0,
    ) -> None:
        """`large`: with bottlenecks, and first layers for images of 224 px. `channels` are those of an image."""
        last = widths[-1] * (_EXPANSION if large else 1)
        super().__init__(channels=last, features=last, pool=_Average(), num_classes=num_classes)
        first = (
            [nn.Conv3d(channels, widths[0], (5, 7, 7), stride=2, padding=(2, 3, 3), bias=False)]
            if large
            else [_conv(channels, widths[0], (3, 3, 3), 2)]
        )
        pool = [nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))] if large else []
        self.stem = nn.Sequential(*first, _norm(widths[0]), nn.ReLU(inplace=True), *pool)
        before, stages = widths[0], []
        for width, depth, time, stride in zip(widths, depths, TIMES, _STRIDES, strict=True):
            blocks = []
            for number in range(depth):
                blocks.append(Block(before, width, time, stride if number == 0 else 1, bottleneck=large))
                before = width * (_EXPANSION if large else 1)
            stages.append(nn.Sequential(*blocks))
        self.layers = nn.ModuleList(stages)
        sides = [4, 4, 8, 16, 32] if large else [2, 2, 4, 8, 16]
        named = ["stem", *(f"layers.{number}" for number in range(len(stages)))]
        counts = [widths[0], *(width * (_EXPANSION if large else 1) for width in widths)]
        self.feature_info = [
            {"num_chs": count, "reduction": side, "module": name}
            for count, side, name in zip(counts, sides, named, strict=True)
        ]
        for part in self.modules():
            if isinstance(part, nn.Conv3d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The maps of the first layers and of the four stages: (B, C, T, h, w) of clips, (B, C, h, w) of images."""
        image = x.dim() == 4
        stages = [self.stem(x.unsqueeze(2) if image else x)]
        for layer in self.layers:
            stages.append(layer(stages[-1]))
        return [stage.squeeze(2) for stage in stages] if image else stages


@register_model
def r3d_tiny(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> R3D:
    """A basic block a stage, 16 to 128 channels: for small clips on a processor."""
    return R3D((16, 32, 64, 128), num_classes=num_classes)


@register_model
def r3d50(pretrained: bool = False, num_classes: int = 1000, **_: Any) -> R3D:
    """Layers as in ResNet-50, bottlenecks [k x 1 x 1] - [1 x 3 x 3] - [1 x 1 x 1] (CVRL, table 1)."""
    return R3D((64, 128, 256, 512), depths=(3, 4, 6, 3), large=True, num_classes=num_classes)
