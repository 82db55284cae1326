"""ResNets beyond timm's: narrow ones, and a stem for small images."""

from __future__ import annotations

from typing import Any, cast

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from likewise.errors import InputError

USUAL_WIDTH = 64


def narrow(model: ResNet, width: int, name: str) -> None:
    """Scale every channel count of `model` by width/64, in place, and draw its weights anew.

    timm fixes the plain stem at 64 channels whatever its `channels` argument says, so a narrow ResNet made with that
    argument gets a stem four times too wide and a needless downsampling path in its first stage. Replacing each
    layer of the ordinary model by the same layer with fewer channels keeps its structure and its keys exactly.
    Raises `InputError` for blocks that keep channel counts elsewhere, and for widths that do not divide evenly.
    """
    layers = {path: layer for path, layer in model.named_modules() if _has_own_state(layer)}
    blocks = {type(block) for stage in _stages(model) for block in stage.children()}
    if not blocks <= {BasicBlock, Bottleneck} or {type(x) for x in layers.values()} != {nn.Conv2d, nn.BatchNorm2d}:
        raise InputError(f"encoder {name!r} has no width: only plain ResNets do (resnet18, resnet50, ...)")
    if not _fits(layers, width):
        near = min((w for w in range(1, 513) if _fits(layers, w)), key=lambda w: abs(w - width))
        raise InputError(f"width {width} does not divide the channels of {name!r} evenly; {near} does")
    for path, layer in layers.items():
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, _scaled(layer, width))
    model.num_features = _scale(model.num_features, width)
    model.head_hidden_size = _scale(model.head_hidden_size, width)
    for stage in cast("list[dict[str, Any]]", model.feature_info):
        stage["num_chs"] = _scale(stage["num_chs"], width)
    model.init_weights(zero_init_last=False)


def small_stem(model: ResNet, *, keep_weights: bool) -> None:
    """Keep the detail of small images, in place: first convolution at stride 1, no max-pooling.

    The 7x7 convolution becomes a 3x3 one (as for CIFAR in He et al. 2016). With `keep_weights` it is the centre of the
    7x7 kernel, otherwise it is drawn like the others. A deep stem of three 3x3 convolutions keeps them, the first
    at stride 1.
    """
    first: nn.Module = model.conv1
    if isinstance(first, nn.Conv2d):
        stem = nn.Conv2d(first.in_channels, first.out_channels, 3, stride=1, padding=1, bias=False)
        if keep_weights:
            stem.weight.data.copy_(first.weight.detach()[:, :, 2:5, 2:5])
        else:
            nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        model.add_module("conv1", stem)
    else:
        cast("nn.Conv2d", first.get_submodule("0")).stride = (1, 1)
    model.add_module("maxpool", nn.Identity())


def _stages(model: ResNet) -> list[nn.Module]:
    """The stages `layer1`, `layer2`, ... of a ResNet."""
    return [stage for name, stage in model.named_children() if name.startswith("layer")]


def _has_own_state(module: nn.Module) -> bool:
    """Whether parameters or buffers hang on the module itself, rather than on its children."""
    return any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))


def _scale(channels: int, width: int) -> int:
    return channels * width // USUAL_WIDTH


def _fits(layers: dict[str, nn.Module], width: int) -> bool:
    """Whether all channel counts stay whole numbers, and multiples of their layer's groups."""
    counts = [(layer.num_features, 1) for layer in layers.values() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            counts += [(count, layer.groups) for count in (layer.in_channels, layer.out_channels) if count != 3]
    return not any(count * width % (USUAL_WIDTH * groups) for count, groups in counts)


class _Every(nn.Conv2d):
    """A 1x1 convolution of every second pixel, which are taken first.

    The same numbers; torch 2.13 on the CPU ends the process in the backward pass of the plain form where it has 8
    channels or fewer and images of 48 px or more in channels_last.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        down, across = cast("tuple[int, int]", self.stride)
        return nn.functional.conv2d(x[:, :, ::down, ::across], self.weight, self.bias, groups=self.groups)


def _scaled(layer: nn.Module, width: int) -> nn.Module:
    """The same layer with width/64 of the channels; the three colours stay three."""
    if isinstance(layer, nn.BatchNorm2d):
        return nn.BatchNorm2d(_scale(layer.num_features, width), eps=layer.eps, momentum=layer.momentum)
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(f"cannot narrow a {type(layer).__name__}")
    kind = _Every if layer.kernel_size == (1, 1) and layer.stride != (1, 1) else nn.Conv2d
    return kind(
        layer.in_channels if layer.in_channels == 3 else _scale(layer.in_channels, width),
        _scale(layer.out_channels, width),
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        groups=layer.groups,
        bias=layer.bias is not None,
    )
