"""Auxiliary branches: for each stage of an encoder a copy of the remaining stages, with a classifier at the end.

Branch l takes what stage l gives and has the shape of stages l + 1 to L with weights of its own; the last branch is one
more stage of the last width at stride 1. (HSAKD, arXiv 2107.13715, section 3.1.) Shapes: L stages, B images, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from likewise.encoders.build import rebuild
from likewise.encoders.encoder import Encoder
from likewise.encoders.own.wide_resnet import WideResNet
from likewise.errors import InputError


class Branches(nn.ModuleList):
    """L branches; called with the maps of L stages it gives (L, B, K) logits."""

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """One map a stage, from the first to the last."""
        return torch.stack([branch(stage) for branch, stage in zip(self, stages, strict=True)])


def branches(encoder: Encoder, outputs: int) -> Branches:
    """The branches of a ResNet or wide ResNet, their weights drawn from torch's generator.

    Raises InputError for other encoders.
    """
    check_branches(encoder.spec.name, encoder.backbone)
    stages = _stages(_fresh(encoder))
    made = []
    for number in range(len(stages)):
        rest: list[nn.Module] = [copy.deepcopy(stage) for stage in stages[number + 1 :]] or [_one_more(stages[-1])]
        _draw(rest)
        made.append(nn.Sequential(*rest, *_end(encoder.backbone), nn.Linear(encoder.features, outputs)))
    return Branches(made)


def maps(encoder: Encoder, image_B3HW: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Pooled features (B, F) and the maps that the branches take, in one pass."""
    features_BF, stages = encoder.with_stages(image_B3HW)
    return features_BF, stages[1:]  # the first is that of the first convolution


def check_branches(name: str, backbone: nn.Module) -> None:
    """Raise InputError where the stages of a network are not known."""
    if not isinstance(backbone, ResNet | WideResNet):
        raise InputError(f"encoder {name!r} has no stages to branch off: take a ResNet or wide ResNet, such as wrn16_2")


def _fresh(encoder: Encoder) -> nn.Module:
    """The same network with norms that have seen nothing."""
    return rebuild(encoder.spec).backbone


def _stages(backbone: nn.Module) -> list[nn.Sequential]:
    if isinstance(backbone, WideResNet):
        return [group for group in backbone.groups if isinstance(group, nn.Sequential)]
    return [backbone.get_submodule(f"layer{number}") for number in range(1, 5)]  # type: ignore[misc]


def _one_more(stage: nn.Sequential) -> nn.Module:
    """A stage as the last, that keeps width and side."""
    if len(stage) > 1:  # all but its first block do
        return nn.Sequential(*(copy.deepcopy(stage[1]) for _ in stage))
    block = stage[0]
    assert isinstance(block, BasicBlock | Bottleneck)
    norm = cast("nn.BatchNorm2d", block.bn2)
    width = norm.num_features
    inside = width * type(block).expansion
    return nn.Sequential(type(block)(inside, width))


def _end(backbone: nn.Module) -> list[nn.Module]:
    """What stands between the last stage and the classifier."""
    pool: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if isinstance(backbone, WideResNet):
        norm = copy.deepcopy(backbone.norm)
        _draw([norm])
        return [norm, copy.deepcopy(backbone.act), *pool]
    return pool


def _draw(parts: Sequence[nn.Module]) -> None:
    """He normal with fan-out for convolutions, 1 and 0 for norms, in place."""
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_parameters()
