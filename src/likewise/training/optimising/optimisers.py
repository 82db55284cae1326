"""Optimisers for a method's parameter groups: SGD and AdamW of torch, LARS in its published forms, Muon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from likewise.errors import InputError, unknown
from likewise.gradients import by_kind, norms
from likewise.methods.method import Optimisation, UpdateRule
from likewise.training.optimising.momentum import MomentumOptimizer
from likewise.training.optimising.muon import Muon

LarsForm = Literal["byol", "simclr", "swav", "paws"]
"""byol: BYOL and Barlow Twins. simclr: the same with the rate inside the momentum. swav: LARC around plain SGD. paws:
LARC with the rate inside the momentum."""

_GROUP_KEYS = ("params", "rate", "weight_decay", "name")
_FOR_MATRICES = {"lars": "adapt", "muon": "matrices"}
"""Switch of a group by which an optimiser leaves its parameters to plain SGD."""


class _Form(NamedTuple):
    """The differences between the published forms of LARS."""

    decay_in_norm: bool
    """|g| of the ratio is taken after the decay was added; else the norms are added: |g| + wd |w| + eps."""
    rate_inside: bool
    """The momentum sums steps that were already multiplied by the rate of their time."""


_FORMS: dict[LarsForm, _Form] = {
    "byol": _Form(decay_in_norm=True, rate_inside=False),
    "simclr": _Form(decay_in_norm=True, rate_inside=True),
    "swav": _Form(decay_in_norm=False, rate_inside=False),
    "paws": _Form(decay_in_norm=False, rate_inside=True),
}


class LARS(MomentumOptimizer):
    """SGD whose step on each tensor is scaled by trust * |w| / |g| (You et al., arXiv 1708.03888), no synchronisation.

    With g the gradient, w the weight, mu the momentum buffer (from 0):

        byol   g <- g + wd w;  g <- g trust |w| / |g|;                         mu <- m mu + g;     w <- w - lr mu
        simclr as byol;                                                        mu <- m mu + lr g;  w <- w - mu
        swav   g <- (g + wd w) trust |w| / (|g| + wd |w| + eps);               mu <- m mu + g;     w <- w - lr mu
        paws   as swav;                                                        mu <- m mu + lr g;  w <- w - mu

    Where |w| or |g| is 0, the first two keep the decayed gradient unscaled, and the others the gradient without decay.
    The lines of each pair differ only when the rate changes: the second remembers the rate each gradient came with. A
    group with `adapt=False` is not scaled (plain SGD with the group's decay). Norms are taken in float32 or better.

    Byol: arXiv 2006.07733 (also Barlow Twins, arXiv 2103.03230). Simclr: arXiv 2002.05709, official code (also FNC,
    arXiv 2011.11765). Swav: arXiv 2006.09882. Paws: arXiv 2104.13963.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        form: LarsForm = "byol",
        trust: float = 1e-3,
        eps: float = 1e-8,
    ) -> None:
        if form not in _FORMS:
            raise unknown("form of LARS", form, _FORMS)
        if trust <= 0.0:
            raise InputError(f"the trust coefficient of LARS must be above 0, not {trust}")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "form": form, "trust": trust}
        super().__init__(params, {**defaults, "eps": eps, "adapt": True})

    def update(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        """Move tensors by their scaled gradients, those of one device and type at a time."""
        form = _FORMS[cast("LarsForm", group["form"])]
        for alike in by_kind(weights):
            gradients = _scaled_gradients(group, form, alike)
            buffers = self.momenta(alike)
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_add_(buffers, gradients, alpha=group["lr"] if form.rate_inside else 1.0)
            torch._foreach_add_(alike, buffers, alpha=-1.0 if form.rate_inside else -group["lr"])


def _scaled_gradients(group: Mapping[str, Any], form: _Form, weights: list[Tensor]) -> list[Tensor]:
    """Gradients with decay and, where the group is adapted, the ratio of norms. The gradients stay untouched."""
    raw = [cast("Tensor", weight.grad) for weight in weights]
    decay, trust = group["weight_decay"], group["trust"]
    decayed = list(torch._foreach_add(raw, weights, alpha=decay)) if decay else raw
    if not group["adapt"]:
        return decayed
    w_N = norms(weights)
    if form.decay_in_norm:
        g_N = norms(decayed)
        usable_N = (w_N > 0) & (g_N > 0)
        return _times(decayed, torch.where(usable_N, trust * w_N / g_N, 1.0))
    g_N = norms(raw)
    usable_N = (w_N > 0) & (g_N > 0)
    scaled = _times(decayed, torch.where(usable_N, trust * w_N / (g_N + decay * w_N + group["eps"]), 1.0))
    if not decay:
        return scaled
    # Where a norm is 0 the gradient goes in bare. `torch.where` asks on the device; an `if` would wait for it.
    return [torch.where(ok, new, bare) for ok, new, bare in zip(usable_N.unbind(), scaled, raw, strict=True)]


def _times(tensors: list[Tensor], factor_N: Tensor) -> list[Tensor]:
    return list(torch._foreach_mul(tensors, list(factor_N.to(tensors[0].dtype).unbind())))


def build(
    groups: Iterable[Mapping[str, Any]],
    optimisation: Optimisation,
) -> Optimizer:
    """The optimiser of `method.parameter_groups()`.

    A group holds `params` and may hold `rate` (factor on the learning rate, kept in the group for `set_rate`) and
    `weight_decay` (instead of the optimisation's, and then out of reach of `set_decay`). With
    `decay_norms_and_biases=False` each group is cut in two: its parameters with one dimension or none get no decay and
    no LARS scaling. For muon it is cut in any case. Telling them by their dimensions, not by their names, also finds
    norms inside shortcuts.

    Raises `InputError` for an unknown optimiser, an unknown key of a group, or when there is nothing to train.
    """
    if optimisation.optimiser not in get_args(UpdateRule):
        raise unknown("optimiser", optimisation.optimiser, get_args(UpdateRule))
    if optimisation.lars_form not in get_args(LarsForm):
        raise unknown("form of LARS", optimisation.lars_form, get_args(LarsForm))
    if optimisation.nesterov and not optimisation.momentum > 0:
        raise InputError(f"nesterov needs a momentum above 0, and it is {optimisation.momentum}")
    ready = [part for group in groups for part in _parts(group, optimisation)]
    if not ready:
        raise InputError("there is nothing to train: the method's parameter groups are empty")
    optimiser = _create(ready, optimisation)
    set_rate(optimiser, optimisation.learning_rate)
    return optimiser


def _parts(group: Mapping[str, Any], optimisation: Optimisation) -> list[dict[str, Any]]:
    """A group completed, cut into matrices and vectors where these are treated differently, without empty parts."""
    for key in group:
        if key not in _GROUP_KEYS:
            raise unknown("key of a parameter group", key, _GROUP_KEYS)
    given = group["params"]
    parameters: list[Tensor] = [given] if isinstance(given, Tensor) else list(given)
    rest = {
        "decay_scheduled": "weight_decay" not in group,
        **{key: value for key, value in group.items() if key != "params"},
        "rate": float(group.get("rate", 1.0)),
        "weight_decay": float(group.get("weight_decay", optimisation.weight_decay)),
    }
    rule, decay_all = optimisation.optimiser, optimisation.decay_norms_and_biases
    if decay_all and rule != "muon":
        parts = [{**rest, "params": parameters}]
    else:
        bare = {} if decay_all else {"weight_decay": 0.0, "decay_scheduled": False}
        if rule in _FOR_MATRICES:
            bare[_FOR_MATRICES[rule]] = False
        parts = [
            {**rest, "params": [p for p in parameters if p.ndim > 1]},
            {**rest, **bare, "params": [p for p in parameters if p.ndim <= 1]},
        ]
    return [part for part in parts if part["params"]]


def _create(groups: list[dict[str, Any]], optimisation: Optimisation) -> Optimizer:
    rate, momentum = optimisation.learning_rate, optimisation.momentum
    if optimisation.optimiser == "sgd":
        return SGD(groups, lr=rate, momentum=momentum, nesterov=optimisation.nesterov, foreach=True)
    if optimisation.optimiser == "adamw":
        return AdamW(groups, lr=rate, betas=(momentum, 0.999), foreach=True)
    if optimisation.optimiser == "muon":
        return Muon(groups, lr=rate, momentum=momentum)
    return LARS(groups, lr=rate, momentum=momentum, form=optimisation.lars_form, trust=optimisation.trust)


def set_rate(optimiser: Optimizer, learning_rate: float) -> None:
    """Give every group `learning_rate` times its own factor, as plain numbers: nothing waits for the device."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group.get("rate", 1.0)


def set_decay(optimiser: Optimizer, weight_decay: float) -> None:
    """Give `weight_decay` to every group that has no decay of its own and is not free of it."""
    for group in optimiser.param_groups:
        if group.get("decay_scheduled", False):
            group["weight_decay"] = weight_decay
