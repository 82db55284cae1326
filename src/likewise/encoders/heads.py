"""Heads: a few linear layers with or without norms, and a weight-normalised last layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.errors import InputError, unknown

HiddenNorm = Literal["batch"]
LastNorm = Literal["batch", "batch_no_affine", "batch_no_shift"]
Activation = Literal["relu", "gelu"]


def _unshifted(width: int) -> nn.BatchNorm1d:
    """Batch norm with a scale and a shift that stays 0, as TensorFlow's with `center=False` (SimCLR's code)."""
    norm = nn.BatchNorm1d(width)
    norm.bias.requires_grad_(False)
    return norm


_NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "batch_no_affine": lambda width: nn.BatchNorm1d(width, affine=False),
    "batch_no_shift": _unshifted,
}
_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"relu": lambda: nn.ReLU(inplace=True), "gelu": nn.GELU}


def mlp(
    widths: Sequence[int],
    *,
    hidden_norm: HiddenNorm | None = "batch",
    hidden_bias: bool = True,
    last_bias: bool = True,
    last_norm: LastNorm | None = None,
    activation: Activation = "relu",
) -> nn.Sequential:
    """A perceptron from `widths[0]` inputs to `widths[-1]` outputs: (B, widths[0]) -> (B, widths[-1]).

    Each hidden layer is Linear, norm, activation; the last is Linear and perhaps a norm, never an activation. Two
    widths make one linear layer. Nothing stands in for a part that is left out, so the keys of the state dict are
    those of the plain `nn.Sequential` of the papers. Raises `InputError` for fewer than two widths and unknown names.

    isd_plus and msf: projector `(F, 2F, F/4)`, predictor `(F/4, 2F, F/4)`. isd: predictor `(F, F, F)` with
    `hidden_bias=False`. byol: `(F, 4096, 256)` with `last_bias=False`. moco_v2: `(F, F, 128)` with
    `hidden_norm=None`. barlow_twins: `(F, 8192, 8192, 8192)` without biases. dino: `hidden_norm=None` and gelu.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise InputError(f"a head needs at least two widths (inputs, outputs), each from 1, not {tuple(widths)}")
    if hidden_norm is not None and hidden_norm != "batch":
        raise unknown("hidden norm", hidden_norm, ("batch",))
    if last_norm is not None and last_norm not in _NORMS:
        raise unknown("last norm", last_norm, _NORMS)
    if activation not in _ACTIVATIONS:
        raise unknown("activation", activation, _ACTIVATIONS)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers.append(nn.Linear(before, after, bias=hidden_bias))
        if hidden_norm is not None:
            layers.append(_NORMS[hidden_norm](after))
        layers.append(_ACTIVATIONS[activation]())
    layers.append(nn.Linear(widths[-2], widths[-1], bias=last_bias))
    if last_norm is not None:
        layers.append(_NORMS[last_norm](widths[-1]))
    return nn.Sequential(*layers)


class Unit(nn.Module):
    """Rows of unit length: (B, F) -> (B, F)."""

    def forward(self, x_BF: Tensor) -> Tensor:
        """Each row divided by its norm."""
        return F.normalize(x_BF, dim=1)


class Beside(nn.Module):
    """Several heads on the same features, their outputs side by side: (B, F) -> (B, sum of their widths)."""

    def __init__(self, *heads: nn.Module) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Output of each head for the features, in their order."""
        return torch.cat([head(x_BF) for head in self.heads], dim=1)


def initialise(head: nn.Module, std: float, *, truncated: bool = False) -> nn.Module:
    """Draw the weights of all linear layers of `head` from N(0, std) and set their biases to 0; returns `head`.

    ncc draws its predictor with 0.01; dino, t-ReX and PromptCAL use 0.02 `truncated` at two units, as is usual for
    transformers (the cut lies so far out at these deviations that it is never met).
    """
    draw = nn.init.trunc_normal_ if truncated else nn.init.normal_
    for module in head.modules():
        if isinstance(module, nn.Linear):
            draw(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return head


class Prototypes(nn.Module):
    """K unit vectors that embeddings are compared with; `normalise` puts them back on the sphere before a step (swav).

    The gradient is that of the weights as they are, unlike in `WeightNormalisedLinear`: a step may leave the sphere.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        """Draw K = `outputs` prototypes of `inputs` dimensions, uniform directions."""
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(outputs, inputs), dim=1))

    @torch.no_grad()
    def normalise(self) -> None:
        """Give every prototype unit length, in place."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    def forward(self, z_BD: Tensor) -> Tensor:
        """(B, D) -> (B, K) scores."""
        return F.linear(z_BD, self.weight)


def hold(layer: nn.Module) -> None:
    """Drop the gradients of `layer`, so that an optimiser leaves it where it is.

    A gradient of zero would not do: decay and momentum would move the weights all the same.
    """
    for parameter in layer.parameters():
        parameter.grad = None


class WeightNormalisedLinear(nn.Module):
    """Scores against prototypes of fixed length: logit_k = g_k (v_k / |v_k|) . z, without bias.

    With unit inputs and the initial gain of 1 the scores are cosines (dino, mira, promptcal). The parameters are
    called `weight_g` (K, 1) and `weight_v` (K, D), as in published checkpoints.

    The start of `weight_v` is that of `nn.Linear`, uniform within 1/sqrt(D), as published: rows of length .577. Their
    length counts although it is divided out, since the directions of shorter ones turn faster.
    """

    def __init__(self, inputs: int, outputs: int, *, train_gain: bool = False) -> None:
        """Draw K = `outputs` prototypes of `inputs` dimensions; `train_gain` lets their lengths be learned."""
        super().__init__()
        self.weight_v = nn.Parameter(torch.empty(outputs, inputs))
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=train_gain)
        nn.init.uniform_(self.weight_v, -(inputs**-0.5), inputs**-0.5)

    def prototypes(self) -> Tensor:
        """(K, D) weights as they are used: rows of length g_k."""
        return self.weight_g * F.normalize(self.weight_v, dim=1)

    def forward(self, z_BD: Tensor) -> Tensor:
        """(B, D) -> (B, K) scores."""
        return F.linear(z_BD, self.prototypes())
