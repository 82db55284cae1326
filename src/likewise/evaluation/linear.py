"""The linear probe of ISD, solved to the optimum instead of by 40 epochs of SGD.

Frozen features are L2-normalised, then standardised by mean and deviation of the training set, computed once; one
linear layer with bias on top (ISD, arXiv 2012.09259, section 4.1). Where the paper decays by 1e-4 over a fixed number
of SGD steps, the layer is fitted by L-BFGS with an L2 penalty that is chosen on a held-out part of the training set.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from likewise.errors import InputError
from likewise.evaluation.knn import check_features
from likewise.similarity import unit

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
"""L2 penalties tried, the strongest first; each fit starts from the one before."""
HELD_OUT = 0.1
"""Share of the training set that the penalty is chosen on."""
ITERATIONS = 100
"""Most L-BFGS iterations of a fit."""


class Linear(NamedTuple):
    """A fitted probe."""

    weight: Tensor
    """(C, F)."""
    bias: Tensor
    """(C,)."""
    mean: Tensor
    """(F,) of the normalised training features."""
    scale: Tensor
    """(F,) sqrt(variance + 1e-5) of the normalised training features."""
    penalty: float
    """The L2 penalty that was chosen."""

    def predict(self, features_NF: Tensor) -> Tensor:
        """(N,) class numbers."""
        return (_standardised(features_NF, self.mean, self.scale) @ self.weight.T + self.bias).argmax(1)


def fit_linear(features_NF: Tensor, labels_N: Tensor, *, seed: int = 0) -> Linear:
    """The linear probe of (N, F) features and their (N,) labels; pictures with label -1 are left out.

    Raises InputError for features that are not finite and where there are fewer than two classes.
    """
    check_features("train", features_NF)
    known = labels_N >= 0
    features_NF, labels_N = features_NF[known], labels_N[known]
    found = len(torch.unique(labels_N))
    if found < 2:
        raise InputError(f"a linear probe needs two classes or more, found {found}")
    normal_NF = unit(features_NF)
    mean_F = normal_NF.mean(0)
    scale_F = (normal_NF.var(0) + 1e-5).sqrt()
    x_NF = (normal_NF - mean_F) / scale_F
    classes = int(labels_N.max()) + 1
    order = torch.randperm(len(x_NF), generator=torch.Generator().manual_seed(seed))
    held, kept = order[: int(HELD_OUT * len(order))], order[int(HELD_OUT * len(order)) :]
    best, start = (-1.0, PENALTIES[-1]), x_NF.new_zeros(classes, x_NF.shape[1] + 1)
    for penalty in PENALTIES if len(held) else ():
        start = _solve(x_NF[kept], labels_N[kept], penalty, start)
        right = _predict(x_NF[held], start) == labels_N[held]
        best = max(best, (right.float().mean().item(), penalty))
    layer = _solve(x_NF, labels_N, best[1], start)
    return Linear(layer[:, :-1], layer[:, -1], mean_F, scale_F, best[1])


def _standardised(features_NF: Tensor, mean_F: Tensor, scale_F: Tensor) -> Tensor:
    return (unit(features_NF) - mean_F) / scale_F


def _predict(x_NF: Tensor, layer: Tensor) -> Tensor:
    return (x_NF @ layer[:, :-1].T + layer[:, -1]).argmax(1)


def _solve(x_NF: Tensor, labels_N: Tensor, penalty: float, start: Tensor) -> Tensor:
    """(C, F + 1) weights and bias that minimise cross-entropy plus penalty/2 |weights|^2, from `start`."""
    layer = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [layer],
        max_iter=ITERATIONS,
        history_size=10,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits_NC = torch.addmm(layer[:, -1], x_NF, layer[:, :-1].T)
        loss = functional.cross_entropy(logits_NC, labels_N) + penalty / 2 * layer[:, :-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return layer.detach()
