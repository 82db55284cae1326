"""Maps from the vectors of one encoder to those of another, fitted in seconds.

Shapes: N images, S dimensions of the vectors that are mapped, T of those they are mapped to. Vectors of both sides are
brought to unit length first, and only the direction of what comes out counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from likewise.encoders import heads
from likewise.errors import InputError, unknown
from likewise.similarity import pull, unit

Form = Literal["orthogonal", "ridge", "mlp"]
FORMS: tuple[Form, ...] = get_args(Form)
MOST = 20_000
"""Pairs that a map is fitted to: more change it less than another draw would."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties that are tried, as shares of the mean eigenvalue of the vectors' second moment."""


class Adapter(NamedTuple):
    """A fitted map."""

    form: Form
    apply: Callable[[Tensor], Tensor]
    """(N, S) -> (N, T) unit vectors."""
    seconds: float
    """What fitting took."""
    bytes: int
    """Of its weights."""


def fit(form: Form, source_NS: Tensor, target_NT: Tensor, *, seed: int = 0) -> Adapter:
    """A map from `source_NS` to `target_NT`, vectors of the same images row by row, from at most `MOST` of them.

    `orthogonal`: the map of orthonormal columns or rows that brings them nearest (Procrustes: U V^T of the singular
    value decomposition of S^T T; Schoenemann, Psychometrika 1966). `ridge`: linear with a constant, its penalty chosen
    on a fifth of the pairs. `mlp`: one hidden layer beside a linear path, by mean 2 - 2 cos. The same pairs and seed
    give the same map. Raises InputError for fewer than 10 pairs, and where the rows do not belong together.
    """
    if form not in FORMS:
        raise unknown("adapter", form, FORMS)
    if len(source_NS) != len(target_NT):
        raise InputError(f"{len(source_NS)} vectors to map and {len(target_NT)} to map them to: one each is needed")
    if len(source_NS) < 10:
        raise InputError(f"{len(source_NS)} images with both vectors are too few to fit a map: 10 or more are needed")
    began = time.perf_counter()
    drawn = torch.randperm(len(source_NS), generator=torch.Generator().manual_seed(seed))[:MOST]
    x_NS, y_NT = unit(source_NS[drawn].double()), unit(target_NT[drawn].double())
    if form == "mlp":
        network = _mlp(x_NS.float(), y_NT.float(), seed)
        size = sum(weight.nbytes for weight in network.parameters())
        return Adapter(form, _through(network), time.perf_counter() - began, size)
    matrix_ST, constant_T = _orthogonal(x_NS, y_NT) if form == "orthogonal" else _ridge(x_NS, y_NT)
    matrix_ST, constant_T = matrix_ST.float(), constant_T.float()

    def apply(x: Tensor) -> Tensor:
        return unit(unit(x.float()) @ matrix_ST + constant_T)

    return Adapter(form, apply, time.perf_counter() - began, matrix_ST.nbytes + constant_T.nbytes)


def ridge(source_NS: Tensor, target_NT: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix (S, T) and constant (T,) of the ridge map from vectors as they are, not brought to unit length.

    Only the targets are: what is fitted stands behind an encoder's features. From at most `MOST` pairs.
    """
    drawn = torch.randperm(len(source_NS), generator=torch.Generator().manual_seed(0))[:MOST]
    matrix_ST, constant_T = _ridge(source_NS[drawn].double(), unit(target_NT[drawn].double()))
    return matrix_ST.float(), constant_T.float()


def held_out(
    form: Form, source_NS: Tensor, target_NT: Tensor, *, folds: int | None = None, seed: int = 0
) -> tuple[Tensor, Adapter]:
    """(N, T) each image mapped by an adapter that never saw it, and the adapter of all images.

    The images are cut into `folds` parts at random, by default five, and three for what takes longest to fit; those of
    a part are mapped by what the others gave.
    """
    folds = folds or (3 if form == "mlp" else 5)
    count = len(source_NS)
    part_N = torch.randperm(count, generator=torch.Generator().manual_seed(seed + 1)) % folds
    mapped_NT = target_NT.new_zeros(count, target_NT.shape[1])
    for part in range(folds):
        here_N = part_N == part
        mapped_NT[here_N] = fit(form, source_NS[~here_N], target_NT[~here_N], seed=seed).apply(source_NS[here_N])
    return mapped_NT, fit(form, source_NS, target_NT, seed=seed)


def _orthogonal(x_NS: Tensor, y_NT: Tensor) -> tuple[Tensor, Tensor]:
    left, _, right = torch.linalg.svd(x_NS.T @ y_NT, full_matrices=False)
    return left @ right, y_NT.new_zeros(y_NT.shape[1])


def _ridge(x_NS: Tensor, y_NT: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty that maps a fifth of the pairs best by the others, then all pairs with it."""
    kept = len(x_NS) // 5
    best = max(
        STRENGTHS,
        key=lambda strength: _agreement(_solved(x_NS[kept:], y_NT[kept:], strength), x_NS[:kept], y_NT[:kept]),
    )
    return _solved(x_NS, y_NT, best)


def _agreement(solved: tuple[Tensor, Tensor], x_NS: Tensor, y_NT: Tensor) -> float:
    matrix_ST, constant_T = solved
    return float((unit(x_NS @ matrix_ST + constant_T) * y_NT).sum(1).mean())


def _solved(x_NS: Tensor, y_NT: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Least squares around the means with an L2 penalty."""
    x_S, y_T = x_NS.mean(0), y_NT.mean(0)
    around_NS = x_NS - x_S
    moment_SS = around_NS.T @ around_NS
    penalty = strength * moment_SS.diagonal().mean().clamp_min(1e-12)
    moment_SS.diagonal().add_(penalty)
    matrix_ST = torch.linalg.solve(moment_SS, around_NS.T @ (y_NT - y_T))
    return matrix_ST, y_T - x_S @ matrix_ST


class _Residual(nn.Module):
    """A linear layer and, beside it, one hidden layer: (N, S) -> (N, T)."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.hidden = heads.mlp([inputs, hidden, outputs], hidden_norm=None, activation="gelu")

    def forward(self, x_NS: Tensor) -> Tensor:
        return self.linear(x_NS) + self.hidden(x_NS)  # type: ignore[no-any-return]


def _mlp(x_NS: Tensor, y_NT: Tensor, seed: int, steps: int = 250, batch: int = 256) -> nn.Module:
    """Begins at the ridge map with a hidden path of nothing, and learns the rest with AdamW on a cosine."""
    matrix_ST, constant_T = _ridge(x_NS.double(), y_NT.double())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _Residual(x_NS.shape[1], y_NT.shape[1], 2 * max(x_NS.shape[1], y_NT.shape[1]))
    with torch.no_grad():
        network.linear.weight.copy_(matrix_ST.T)
        network.linear.bias.copy_(constant_T)
        last = network.hidden[-1]
        last.weight.zero_()  # type: ignore[operator]
        last.bias.zero_()  # type: ignore[operator]
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.enable_grad():
        for _ in range(steps):
            rows = torch.randint(len(x_NS), (min(batch, len(x_NS)),), generator=draw)
            loss = pull(network(x_NS[rows]), y_NT[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
    return network.eval().requires_grad_(False)


def _through(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: unit(network(unit(x.float())))
