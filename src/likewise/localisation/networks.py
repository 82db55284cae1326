"""The networks that ContraCAM needs from a finished run: the encoder's last map, and the embedding of its loss.

The stages of a ResNet can be kept at a higher resolution for it (`expand`), which needs no training.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from likewise.data.fingerprints import digest, digest_array
from likewise.encoders import Encoder, load_encoder
from likewise.encoders.files.chosen import choose
from likewise.errors import InputError
from likewise.localisation.contracam import Network
from likewise.methods.method import Method
from likewise.methods.whole import FILE, restore

EXPANSIONS = (1, 2, 4)
"""Times as many rows and columns of the last map: as trained, last stage not reduced, nor the one before."""


class Opened(NamedTuple):
    """A run as a localiser."""

    network: Network
    """Images as the encoder takes them -> map and embedding."""
    encoder: Encoder
    """The encoder, for its spec and its device."""
    key: str
    """Another one for other weights."""


def open_network(run: str | Path, *, expand: int = 1, device: torch.device | str = "cpu") -> Opened:
    """The trained encoder of a run with its projector, in eval mode; of a weights file the encoder alone.

    Raises InputError where there is no such run, and where its encoder has no map, does not pool it, or cannot be
    expanded.
    """
    whole = Path(run) / FILE
    if whole.is_file():
        encoder, head = encoder_and_head(restore(run))
    else:  # weights alone, or a run from before methods were kept
        encoder, head = load_encoder(choose(Path(run), None).path), nn.Identity()
    widen(encoder, expand)
    together = nn.ModuleList([encoder, head]).eval().requires_grad_(False).to(device)

    def network(image_N3SS: Tensor) -> tuple[Tensor, Tensor]:
        last_NChw = encoder.map(image_N3SS).detach().requires_grad_(True)
        return last_NChw, together[1](encoder.pooled_from(last_NChw))

    side = encoder.spec.image_size
    encoder.pooled_from(encoder.map(torch.zeros(1, 3, side, side, device=device)))  # refused here, not in the middle
    state = sorted(together.state_dict().items())
    key = digest(str(encoder.spec), expand, *(digest_array(value.cpu().numpy()) for _, value in state))
    return Opened(network, encoder, key)


def encoder_and_head(method: Method) -> tuple[Encoder, nn.Module]:
    """A method's student and the head right on its pooled features; nothing in its place where there is none."""
    student = method.encoders()["student"]
    if not isinstance(student, Encoder):
        raise InputError(f"{type(method).__name__} has no encoder with a map")
    for part in method.modules():
        if isinstance(part, nn.Sequential) and len(part) > 1 and part[0] is student:
            return student, part[1:]
        head = getattr(part, "head", None)
        if getattr(part, "encoder", None) is student and isinstance(head, nn.Module):
            return student, head
    return student, nn.Identity()


def widen(encoder: Encoder, expand: int) -> None:
    """Keep the last stages of a ResNet at the resolution of those before, in place. Raises InputError for others."""
    if expand not in EXPANSIONS:
        raise InputError(f"expand={expand}: allowed are {', '.join(map(str, EXPANSIONS))}")
    if expand == 1:
        return
    backbone = encoder.backbone
    if not isinstance(backbone, ResNet):
        raise InputError(f"expand={expand} needs a ResNet: for encoder {encoder.spec.name!r} allowed is 1")
    for stage in ("layer4", "layer3")[: EXPANSIONS.index(expand)]:
        first = backbone.get_submodule(stage)[0]  # type: ignore[index]  # a Sequential of blocks
        for part in first.modules():
            if isinstance(part, nn.Conv2d):
                part.stride = (1, 1)
            elif isinstance(part, nn.AvgPool2d):
                part.kernel_size = part.stride = 1
