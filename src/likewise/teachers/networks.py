"""Teacher networks: a moving average of the student, and a frozen one."""

from __future__ import annotations

import copy
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.encoders import Encoder
from likewise.encoders.build import side_step
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


class Refit(nn.Module):
    """Views made for one encoder as another is shown them: their normalisation is undone and its own done instead.

    Views are also resized, by the ratio of the sides that the two were made for: an encoder trained at 224 px that
    teaches one at 32 px sees each view seven times as large, small crops included. One that does not take every side
    (a transformer, an ONNX file) sees them at the nearest that it takes.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: Encoder, *, image_size: int, mean: Channels, std: Channels) -> None:
        """`encoder` is who sees them; `image_size`, `mean` and `std` are those of the views, as in `Facts`."""
        super().__init__()
        spec, self.step = encoder.spec, side_step(encoder)
        self.ratio = spec.image_size / image_size
        scale = [theirs / own for theirs, own in zip(std, spec.std, strict=True)]
        shift = [(theirs - own) / by for theirs, own, by in zip(mean, spec.mean, spec.std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(3, 1, 1), persistent=False)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H', W')."""
        x_B3HW = x_B3HW * self.scale + self.shift
        size = (self._side(x_B3HW.shape[-2]), self._side(x_B3HW.shape[-1]))
        if size != tuple(x_B3HW.shape[-2:]):
            x_B3HW = functional.interpolate(x_B3HW, size, mode="bilinear", align_corners=False, antialias=True)
        return x_B3HW

    def _side(self, shown: int) -> int:
        """Of a side of a view that of what the encoder sees."""
        return max(1, round(shown * self.ratio / self.step)) * self.step


class Refitted(nn.Module):
    """An encoder, and what comes behind it, that is shown views made for another (`Refit`)."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        image_size: int,
        mean: Channels,
        std: Channels,
        head: nn.Module | None = None,
        features: int | None = None,
    ) -> None:
        """`image_size`, `mean` and `std` are those of the views, as in `Facts`.

        `head` is what comes behind the encoder, (B, F) -> (B, `features`).
        """
        super().__init__()
        self.refit = Refit(encoder, image_size=image_size, mean=mean, std=std)
        self.encoder = encoder
        self.head = nn.Identity() if head is None else head
        self.features = encoder.features if features is None else features

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, F) pooled features, or what the head makes of them."""
        return cast("Tensor", self.head(self.encoder(self.refit(x_B3HW))))


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
