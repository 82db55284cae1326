"""Layers and blocks of a network whose convolutions have 1-bit weights and activations (ReActNet, for S2-BNN).

arXiv 2003.03488 and 2102.08946. Training keeps real weights and gradients; the forward pass sees signs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.errors import InputError


class _Sign(torch.autograd.Function):
    """sign(x), whose gradient is that of a piecewise quadratic: 2 - 2 |x| within -1..1, 0 outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        inside = (x >= -1) & (x < 1)
        slope: Tensor = grad * (2.0 - 2.0 * x.abs()).where(inside, 0.0)
        return slope


def scaled_signs(weight_OIHW: Tensor) -> Tensor:
    """a_o sign(w), a_o = mean |w| of an output channel: what a binary convolution convolves with."""
    return weight_OIHW.abs().mean((1, 2, 3), keepdim=True) * weight_OIHW.sign()


class _BinaryWeight(torch.autograd.Function):
    """a_o sign(w), a_o = mean |w| of an output channel; the gradient passes unchanged where |w| <= 1."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return scaled_signs(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        return grad.where(weight.abs() <= 1, 0.0)


class Shift(nn.Module):
    """x + b with one b a channel, 0 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W)."""
        return x_BCHW + self.bias


class ShiftedSign(Shift):
    """RSign: the sign of x + b: -1 or 1, and 0 where that is exactly 0."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W)."""
        shifted = super().forward(x_BCHW)
        if not torch.is_grad_enabled():
            return shifted.sign()
        signs: Tensor = _Sign.apply(shifted)  # type: ignore[no-untyped-call]
        return signs


class ShiftedPReLU(nn.Module):
    """RPReLU: a shift, PReLU with one slope a channel (.25 at first), and another shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before, self.slope, self.after = Shift(channels), nn.PReLU(channels), Shift(channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W)."""
        out: Tensor = self.after(self.slope(self.before(x_BCHW)))
        return out


class BinaryConv2d(nn.Conv2d):
    """A convolution without bias whose weights are a_o sign(w); `binary=False` is an ordinary one (the first step).

    Real weights begin between 0 and .001, so that all signs are 1 at first.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, binary: bool = True) -> None:
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
        self.binary = binary
        self.signed = False
        """Whether its weights are a_o sign(w) already, as in a file of one bit a weight, and are taken as they are."""
        if binary:
            nn.init.uniform_(self.weight, 0.0, 0.001)

    def train(self, mode: bool = True) -> BinaryConv2d:
        """Weights that are trained on are real ones again, whose signs count."""
        self.signed = self.signed and not mode
        return super().train(mode)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) of signs -> (B, C', H', W')."""
        weight: Tensor = self.weight
        if self.binary and not self.signed:
            # Without a gradient the same numbers in operations that can be exported.
            signs = _BinaryWeight.apply if torch.is_grad_enabled() else scaled_signs
            weight = signs(weight)
        return F.conv2d(x_BCHW, weight, stride=self.stride, padding=self.padding)


class BinaryBlock(nn.Module):
    """A 3x3 and a 1x1 binary convolution, each with a real-valued shortcut; channels stay or double.

    Raises InputError for other numbers of output channels.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, binary: bool = True) -> None:
        super().__init__()
        if outputs not in {inputs, 2 * inputs}:
            raise InputError(f"a binary block has {inputs} or {2 * inputs} output channels, not {outputs}")
        self.sign1 = ShiftedSign(inputs)
        self.spatial = BinaryConv2d(inputs, inputs, 3, stride=stride, binary=binary)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.shortcut = nn.AvgPool2d(2, 2) if stride == 2 else nn.Identity()
        self.activation1 = ShiftedPReLU(inputs)
        self.sign2 = ShiftedSign(inputs)
        branches = range(outputs // inputs)
        self.pointwise = nn.ModuleList(BinaryConv2d(inputs, inputs, 1, binary=binary) for _ in branches)
        self.norm2 = nn.ModuleList(nn.BatchNorm2d(inputs) for _ in branches)
        self.activation2 = ShiftedPReLU(outputs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C or 2 C, H / stride, W / stride)."""
        y = self.activation1(self.norm1(self.spatial(self.sign1(x_BCHW))) + self.shortcut(x_BCHW))
        signs = self.sign2(y)
        branches = zip(self.pointwise, self.norm2, strict=True)
        out: Tensor = self.activation2(torch.cat([norm(conv(signs)) + y for conv, norm in branches], 1))
        return out
