"""Lines of Python that load an encoder's weights into plain timm, for use without likewise."""

from __future__ import annotations

from pathlib import Path

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from torch import nn

from likewise.encoders.build import arguments_for
from likewise.encoders.encoder import Encoder
from likewise.encoders.resnet import USUAL_WIDTH


def timm_code(encoder: Encoder, file: Path) -> str | None:
    """Python that makes `network`, a timm model with the weights in `file`; None for what is not timm's.

    timm makes no narrow ResNet (it fixes the stem at 64 channels), so the layers of the usual one are given the
    narrower weights.
    """
    spec, backbone = encoder.spec, encoder.backbone
    if not timm.is_model(spec.name.partition(".")[0]):
        return None
    given = "".join(f", {name}={value!r}" for name, value in arguments_for(spec).items())
    narrow, stem = spec.width != USUAL_WIDTH, _stem(backbone) if spec.stem == "small" else []
    own = timm.model_entrypoint(spec.name.partition(".")[0]).__module__.startswith("likewise.")
    lines = [
        "import timm",
        *(["import likewise.encoders  # makes the model known to timm"] if own else []),
        *(["import torch"] if narrow or stem or encoder.neck is not None else []),
        "from safetensors.torch import load_file",
        "",
    ]
    lines += [f"weights = load_file({str(file)!r})"]
    if encoder.neck is not None:
        lines += ["neck = {name: weights.pop(f'neck.{name}') for name in ('weight', 'bias')}"]
    lines += [f"network = timm.create_model({spec.name!r}, num_classes=0{given})", *stem]
    if narrow:
        lines += [
            "for name, value in weights.items():  # narrower than timm makes it",
            "    path, _, last = name.rpartition('.')",
            "    value = torch.nn.Parameter(value) if last in ('weight', 'bias') else value",
            "    setattr(network.get_submodule(path), last, value)",
            f"network.num_features = network.head_hidden_size = {encoder.pooled_features}",
        ]
    lines += ["network.load_state_dict(weights)"]
    if encoder.neck is not None:
        layer = f"torch.nn.Linear({encoder.pooled_features}, {encoder.features})"
        lines += [f"network = torch.nn.Sequential(network, {layer})", "network[1].load_state_dict(neck)"]
    elif spec.neck:
        lines += [f"# its vectors are network(pixels)[:, :{spec.neck}], zeros behind them where there are fewer"]
    return "\n".join([*lines, "network.eval()"])


def _stem(backbone: nn.Module) -> list[str]:
    """The lines that give timm's model the first layers for small images, where no argument does."""
    if isinstance(backbone, EfficientNet | MobileNetV3):
        return ["network.conv_stem.stride = (1, 1)"]
    if not isinstance(backbone, ResNet):
        return []
    pool = "network.maxpool = torch.nn.Identity()"
    first: nn.Module = backbone.conv1
    if isinstance(first, nn.Conv2d):
        return [f"network.conv1 = torch.nn.Conv2d(3, {first.out_channels}, 3, padding=1, bias=False)", pool]
    return ["network.conv1[0].stride = (1, 1)", pool]
