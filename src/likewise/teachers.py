"""Who teaches: a moving average of the student, a frozen network, or a table of features computed earlier.

A teacher never receives gradient. It is a module, so that what it knows is saved in checkpoints. `pretrained` finds
the frozen one that a setting names.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal, cast

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.encoders import Encoder, EncoderSpec, build, load_encoder, normalisation
from likewise.encoders.build import check_name
from likewise.encoders.chosen import choose
from likewise.encoders.published import at_hand
from likewise.encoders.store import weights_digest
from likewise.errors import InputError

Channels = tuple[float, float, float]


class Momentum(nn.Module):
    """A copy of the student that follows it slowly: theta_t <- m theta_t + (1 - m) theta_s.

    Parameters are averaged. Buffers (running statistics) are the teacher's `own`, `copied` from the student at each
    update, or `averaged` like the parameters, whole numbers copied. The mode is explicit: a teacher in `train` mode
    normalises by the statistics of its own batch whatever mode the student is in, one in `eval` mode by its running
    statistics.
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        buffers: Literal["own", "copied", "averaged"] = "own",
        mode: Literal["train", "eval"] = "train",
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.buffers_from = buffers
        self.mode = mode
        self.train()

    def train(self, mode: bool = True) -> Momentum:
        """Put the copy in the teacher's own mode; `mode` is that of the surrounding method and is not followed."""
        self.training = mode
        self.network.train(self.mode == "train")
        return self

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Move every parameter a share 1 - `momentum` of the way to the student's."""
        if not 0.0 <= momentum <= 1.0:
            raise InputError(f"teacher momentum {momentum} is not between 0 (a copy) and 1 (frozen)")
        own: list[Tensor] = list(self.network.parameters())
        other: list[Tensor] = list(student.parameters())
        torch._foreach_lerp_(own, other, 1.0 - momentum)
        if self.buffers_from == "copied":
            for buffer, source in zip(self.network.buffers(), student.buffers(), strict=True):
                buffer.copy_(source)
        elif self.buffers_from == "averaged":
            for buffer, source in zip(self.network.buffers(), student.buffers(), strict=True):
                if buffer.is_floating_point():
                    buffer.lerp_(source, 1.0 - momentum)
                else:
                    buffer.copy_(source)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The teacher's view of `x`, without gradient."""
        return cast("Tensor", self.network(x))


class Frozen(nn.Module):
    """A network that was trained before and does not change: no gradient, always in eval mode."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.features = int(getattr(network, "features", 0))
        """Length of its vectors, where the network says it, else 0."""
        self.train()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in eval mode."""
        self.training = mode
        self.network.eval()
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The frozen network's view of `x`, without gradient."""
        return cast("Tensor", self.network(x))


class Cached(nn.Module):
    """A table of features by picture, computed once: the cheapest teacher.

    `features_ND` has one row per picture of the data set. It is not saved in checkpoints, since it can be made again.
    """

    features: Tensor

    def __init__(self, features_ND: Tensor) -> None:
        super().__init__()
        if features_ND.ndim != 2:
            raise InputError(f"cached features must be (pictures, dimensions), found shape {tuple(features_ND.shape)}")
        self.register_buffer("features", features_ND.detach(), persistent=False)

    @torch.no_grad()
    def forward(self, index_B: Tensor) -> Tensor:
        """Rows of the pictures `index_B`."""
        return self.features[index_B]


class Refitted(nn.Module):
    """An encoder that is shown views made for another: their normalisation is undone and its own done instead.

    Views are also resized, by the ratio of the sides that the two were made for: an encoder trained at 224 px that
    teaches one at 32 px sees each view seven times as large, small crops included.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: Encoder, *, image_size: int, mean: Channels, std: Channels) -> None:
        """`image_size`, `mean` and `std` are those of the views, as in `Facts`."""
        super().__init__()
        self.encoder = encoder
        self.features = encoder.features
        spec = encoder.spec
        self.ratio = spec.image_size / image_size
        scale = [theirs / own for theirs, own in zip(std, spec.std, strict=True)]
        shift = [(theirs - own) / by for theirs, own, by in zip(mean, spec.mean, spec.std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(3, 1, 1), persistent=False)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, F) pooled features."""
        x_B3HW = x_B3HW * self.scale + self.shift
        size = (round(x_B3HW.shape[-2] * self.ratio), round(x_B3HW.shape[-1] * self.ratio))
        if size != tuple(x_B3HW.shape[-2:]):
            x_B3HW = functional.interpolate(x_B3HW, size, mode="bilinear", align_corners=False, antialias=True)
        return cast("Tensor", self.encoder(x_B3HW))


def check_pretrained(teacher: str) -> None:
    """Raise `InputError` where `teacher` is neither a path that exists nor a timm model with published weights.

    Nothing is loaded, and an empty name is let pass: what needs a teacher says so where it is built.
    """
    if not teacher or Path(teacher).expanduser().exists():
        return
    try:
        check_name(teacher)
    except InputError as error:
        near = str(error).partition(": ")[2].partition("?")[0]
        hint = f" ({near}?)" if near.startswith("did you mean") else ""
        raise InputError(
            f"teacher={teacher!r} is no run directory, no .safetensors file and no timm model{hint}: "
            "name one, such as runs/photos-isd-resnet18"
        ) from error
    if not timm.is_model_pretrained(teacher):
        raise InputError(f"teacher={teacher!r}: timm has no published weights of it, so it cannot teach")


def pretrained(teacher: str, *, image_size: int, mean: Channels, std: Channels) -> Frozen:
    """The frozen teacher that a setting names: a run directory, a .safetensors file, or a timm model.

    It takes views made for a student, whose side and normalisation are given, and returns pooled features;
    `.features` says how many. Raises `InputError`, one line that names the flag, where there is no such teacher.
    """
    if not teacher:
        raise InputError(
            "a trained teacher is needed: name a run directory, a .safetensors file or a timm model with --teacher"
        )
    check_pretrained(teacher)
    path = Path(teacher).expanduser()
    try:
        encoder = load_encoder(choose(path, None).path) if path.exists() else _published(teacher)
    except InputError as error:
        raise InputError(f"teacher={teacher!r}: {error}") from error
    return Frozen(Refitted(encoder, image_size=image_size, mean=mean, std=std))


def taken_from(teacher: str) -> str | None:
    """Which encoder of a run teaches and why, for people; None for what is no run directory."""
    path = Path(teacher).expanduser()
    return str(choose(path, None)) if teacher and path.is_dir() else None


def digest_of(teacher: str) -> str | None:
    """Hexadecimal name of the weights of a teacher on this machine; None for one of timm's and where nothing is there.

    Raises InputError where the place holds no whole weights.
    """
    path = Path(teacher).expanduser()
    return weights_digest(choose(path, None).path) if teacher and path.exists() else None


def _published(name: str) -> Encoder:
    """The timm model of that name with its published weights, at the size they were trained at."""
    at_hand(name)  # without them nothing else is worth the time
    mean, std = normalisation(name)
    published = timm.get_pretrained_cfg(name)
    side = EncoderSpec().image_size if published is None else int(published.input_size[-1])
    return build(EncoderSpec(name=name, image_size=side, pretrained=True, mean=mean, std=std))


def evaluated(student: nn.Sequential, teacher: Momentum) -> dict[str, nn.Module]:
    """The encoders, each the first part of its network, by role; the teacher with the student's running statistics."""
    return {"student": student[0], "teacher": with_statistics_of(teacher.network.get_submodule("0"), student[0])}


@torch.no_grad()
def with_statistics_of(teacher: nn.Module, student: nn.Module) -> nn.Module:
    """A copy of `teacher` that carries the student's running statistics.

    The official evaluation of ISD and MSF combines the teacher's parameters with the student's statistics.
    """
    combined = copy.deepcopy(teacher)
    for buffer, source in zip(combined.buffers(), student.buffers(), strict=True):
        buffer.copy_(source)
    return combined
