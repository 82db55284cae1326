"""The linear probe of ISD (Tejankar et al., ICCV 2021, arXiv 2012.09259), solved instead of trained.

Features are L2-normalised, then standardised with the mean and the deviation sqrt(var + 1e-5) of the training rows
(fixed; unbiased variance), then classified by one linear layer with bias. Where the paper runs 40 epochs of SGD, here
the same convex problem

    min over W, b   mean cross-entropy(W x + b, y) + decay / 2 |W|^2

is solved by L-BFGS on all rows at once. `fit_logistic` is the same layer as t-ReX transfers by (Sariyildiz et al., ICLR
2023, arXiv 2206.15369): features not standardised, and the regularisation sought over eleven decades. Shapes: N rows, F
features, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.splitting.subsets import per_class, share_of
from likewise.errors import InputError
from likewise.evaluation.bank_and_query import stratified
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity import unit
from likewise.similarity.knn import accuracy
from likewise.similarity.nearest import check_features

DECAYS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Strengths of the weight decay to choose among."""
HELD_OUT = 0.1
"""Share of the training rows that chooses among them."""
VARIANCE_FLOOR = 1e-5
SEARCH_STEPS, FINAL_STEPS = 5, 100
"""L-BFGS iterations for each decay that is tried, and for the last fit; both end earlier where nothing moves."""
STRENGTHS = tuple(float(value) for value in np.logspace(-5, 6, 30))
"""The C of a logistic regression (sum of cross-entropies times C, plus half the squared weights) to choose among. The
paper draws as many from that range."""
STRENGTHS_HELD_OUT = 0.2
"""Share of the training rows that chooses among them."""
_AXES_ROWS = 2**14
"""Rows, evenly spread, that the axes are made of: they speed the solver up and do not change what it solves."""
_CHUNK_VALUES = 2**24
"""Logits that exist at once."""


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier of features."""

    mean_F: Tensor
    """Subtracted from the normalised features."""
    scale_F: Tensor
    """The result is divided by it."""
    weight_CF: Tensor
    """One row a class."""
    bias_C: Tensor
    """One value a class."""
    decay: float
    """The weight decay that was chosen."""
    held_out: float
    """Accuracy on the held-out part of the training rows with it."""

    def predict(self, features_QF: Tensor) -> Tensor:
        """(Q,) the class of each row. Raises InputError for features that are not finite."""
        return self.logits(features_QF).argmax(1)

    def logits(self, features_QF: Tensor) -> Tensor:
        """(Q, C), whose softmax are probabilities. Raises InputError for features that are not finite."""
        check_features("query", features_QF)
        x_QF = (unit(features_QF) - self.mean_F) / self.scale_F
        return torch.addmm(self.bias_C, x_QF, self.weight_CF.T)


@torch.no_grad()
def fit(features_NF: Tensor, labels_N: Tensor, *, decays: Sequence[float] = DECAYS, seed: int = 0) -> LinearProbe:
    """The probe of rows with labels 0 to C - 1; rows labelled -1 are left out.

    The decay is chosen by accuracy on a stratified tenth of the rows: from the middle one to stronger ones while that
    costs nothing, else to weaker ones while it gains, each starting from the last solution; then everything is fitted
    on all rows. Where no class is large enough to spare a row, the middle decay is taken. Deterministic in `seed`.

    Raises InputError for features that are not finite, and where fewer than two classes are known.
    """
    known, order_N = _parts(features_NF, labels_N, HELD_OUT, seed)
    x_NF, labels_N = unit(features_NF[order_N]), labels_N[order_N].long()
    mean_F = x_NF.mean(0)
    x_NF -= mean_F
    squares_F = torch.stack([part.square().sum(0) for part in torch.split(x_NF, 1024)]).sum(0)  # `var` takes 25 times
    scale_F = (squares_F / (len(x_NF) - 1) + VARIANCE_FLOOR).sqrt()
    x_NF /= scale_F
    problem = _Problem.of(x_NF, labels_N, classes=int(labels_N.max()) + 1)
    decay, best, start = sorted(decays)[len(decays) // 2], float("nan"), None
    if known < len(order_N):
        decay, best, start = _search(problem, known, decays)
    weight_CF, bias_C = problem.solve(decay, steps=FINAL_STEPS, start=start)
    return LinearProbe(mean_F, scale_F, weight_CF, bias_C, decay, best)


@torch.no_grad()
def fit_logistic(features_NF: Tensor, labels_N: Tensor, *, seed: int = 0) -> tuple[LinearProbe, float | None]:
    """Logistic regression of normalised features, and the C that was chosen; rows labelled -1 are left out.

    C is the smallest of those with the highest accuracy on a stratified fifth of the rows; then everything is fitted on
    all rows. Where no class is large enough to spare a row, C is 1 and None is returned. Deterministic in `seed`.

    Raises InputError for features that are not finite, and where fewer than two classes are known.
    """
    known, order_N = _parts(features_NF, labels_N, STRENGTHS_HELD_OUT, seed)
    x_NF, labels_N = unit(features_NF[order_N]), labels_N[order_N].long()
    mean_F = x_NF.mean(0)  # which the bias takes up: the problem is the same, and easier
    problem = _Problem.of(x_NF - mean_F, labels_N, classes=int(labels_N.max()) + 1)
    chosen, best, start = None, float("nan"), None
    if known < len(order_N):
        part, unseen, solution = problem.rows(slice(known)), problem.rows(slice(known, None)), None
        for strength in STRENGTHS:
            solution = part.solve(1 / (strength * known), steps=FINAL_STEPS, start=solution)
            value = accuracy(torch.addmm(solution[1], unseen.x_NF, solution[0].T).argmax(1), unseen.labels_N)
            if chosen is None or value > best:
                chosen, best, start = strength, value, solution
    decay = 1 / ((chosen or 1.0) * len(order_N))
    weight_CF, bias_C = problem.solve(decay, steps=FINAL_STEPS, start=start)
    return LinearProbe(mean_F, torch.ones_like(mean_F), weight_CF, bias_C, decay, best), chosen


def _parts(features_NF: Tensor, labels_N: Tensor, share: float, seed: int) -> tuple[int, Tensor]:
    """How many rows are fitted while others choose, and the order of all known rows, the held-out `share` last."""
    check_features("training", features_NF)
    present = torch.unique(labels_N[labels_N >= 0])
    if len(present) < 2:
        found = "one class" if len(present) else "no labels"
        raise InputError(f"a linear probe needs at least two classes, and the training images have {found}")
    train, held = map(torch.from_numpy, stratified(labels_N.cpu().numpy(), share, seed))
    return len(train), torch.cat([train, held]).to(labels_N.device)  # so that both parts are views of the whole


def _search(problem: _Problem, known: int, decays: Sequence[float]) -> _Tried:
    """The decay whose fit of the first `known` rows is best on the others."""
    part, unseen = problem.rows(slice(known)), problem.rows(slice(known, None))

    def tried(decay: float, start: tuple[Tensor, Tensor] | None) -> _Tried:
        solution = part.solve(decay, steps=SEARCH_STEPS, start=start)
        value = accuracy(torch.addmm(solution[1], unseen.x_NF, solution[0].T).argmax(1), unseen.labels_N)
        return _Tried(decay, value, solution)

    weak_to_strong = sorted(decays)
    middle = len(decays) // 2
    best = first = tried(weak_to_strong[middle], None)
    for decay in weak_to_strong[middle + 1 :]:
        stronger = tried(decay, best.solution)
        if stronger.value < best.value:
            break
        best = stronger
    if best is first:
        for decay in reversed(weak_to_strong[:middle]):
            weaker = tried(decay, best.solution)
            if weaker.value <= best.value:
                break
            best = weaker
    return best


class _Tried(NamedTuple):
    """The result of one weight decay."""

    decay: float
    value: float
    """Accuracy on the held-out rows."""
    solution: tuple[Tensor, Tensor]
    """Weights and biases of the other rows."""


@dataclass(frozen=True)
class _Problem:
    """Rows, and the axes in which their features are uncorrelated.

    L-BFGS needs several hundred iterations in features as they come, since some directions vary a thousand times more
    than others. The second derivative of the loss is about p (1 - p) times the covariance, p = 1/C, plus the decay; so
    in the axes of the covariance, each divided by the root of that, it is about the identity, and ten to thirty
    iterations do. Turning the axes leaves |W| as it is, so the problem is the same. The weights are turned and not
    the rows, of which there are many more.
    """

    x_NF: Tensor
    labels_N: Tensor
    classes: int
    axes_FF: Tensor
    """Columns are the axes."""
    variance_F: Tensor
    """Along each of them."""

    @classmethod
    def of(cls, x_NF: Tensor, labels_N: Tensor, classes: int) -> _Problem:
        some_RF = x_NF[:: -(-len(x_NF) // _AXES_ROWS)]
        covariance_FF = (some_RF.T @ some_RF / len(some_RF)).cpu().double()
        variance_F, axes_FF = torch.linalg.eigh(covariance_FF)
        return cls(x_NF, labels_N, classes, axes_FF.to(x_NF), variance_F.clamp_min(0).to(x_NF))

    def rows(self, part: slice) -> _Problem:
        """The same with some of the rows."""
        return replace(self, x_NF=self.x_NF[part], labels_N=self.labels_N[part])

    def solve(self, decay: float, *, steps: int, start: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Weights (C, F) and biases (C,), from a solution nearby."""
        curvature = (1 - 1 / self.classes) / self.classes
        scale_F, scale = (curvature * self.variance_F + decay).rsqrt(), curvature**-0.5
        if start is None:
            start = self.x_NF.new_zeros(self.classes, self.x_NF.shape[1]), self.x_NF.new_zeros(self.classes)
        free_CF, free_C = start[0] @ self.axes_FF / scale_F, start[1] / scale  # what the solver sees

        def closure() -> Tensor:
            loss, slope_CF, slope_C = self._loss((free_CF * scale_F) @ self.axes_FF.T, free_C * scale, decay)
            free_CF.grad, free_C.grad = (slope_CF @ self.axes_FF) * scale_F, slope_C * scale
            return loss

        solver = torch.optim.LBFGS(
            [free_CF, free_C],
            max_iter=steps,
            max_eval=2 * steps,
            history_size=10,
            tolerance_grad=1e-5,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )
        solver.step(closure)  # type: ignore[no-untyped-call]
        return (free_CF.detach() * scale_F) @ self.axes_FF.T, free_C.detach() * scale

    def _loss(self, weight_CF: Tensor, bias_C: Tensor, decay: float) -> tuple[Tensor, Tensor, Tensor]:
        """Value and slopes, summed over chunks of rows so that (N, C) never exists."""
        total = self.x_NF.new_zeros((), dtype=torch.float64)
        slope_CF, slope_C = torch.zeros_like(weight_CF), torch.zeros_like(bias_C)
        size = max(256, _CHUNK_VALUES // self.classes)
        for x_RF, labels_R in zip(torch.split(self.x_NF, size), torch.split(self.labels_N, size), strict=True):
            logits_RC = torch.addmm(bias_C, x_RF, weight_CF.T)
            normal_R1 = logits_RC.logsumexp(1, keepdim=True)
            own_R1 = labels_R.unsqueeze(1)
            total += (normal_R1 - logits_RC.gather(1, own_R1)).sum()
            excess_RC = logits_RC.sub_(normal_R1).exp_()  # probabilities, less 1 for the right class
            excess_RC.scatter_add_(1, own_R1, excess_RC.new_full((len(own_R1), 1), -1.0))
            slope_CF.addmm_(excess_RC.T, x_RF)
            slope_C += excess_RC.sum(0)
        count = len(self.x_NF)
        loss = total / count + 0.5 * decay * weight_CF.double().square().sum()
        return loss, slope_CF / count + decay * weight_CF, slope_C / count


def settings_text(probe: LinearProbe, seed: int) -> str:
    """The settings of the fitted probe, for its protocol."""
    chosen = (
        f"weight decay {probe.decay:g} of {', '.join(f'{decay:g}' for decay in DECAYS)} chosen on a stratified "
        f"{HELD_OUT:.0%} of the bank (seed {seed})"
        if np.isfinite(probe.held_out)
        else f"weight decay {probe.decay:g}, the bank being too small to choose"
    )
    return (
        "features L2-normalised, standardised by mean and sqrt(var + 1e-5) of the bank, one linear layer with bias, "
        f"L-BFGS, {chosen}"
    )


def linear_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """The linear probe, solved instead of trained."""
    probe = fit(features.bank_NF, features.bank_labels_N, seed=features.seed)
    words = f"linear probe, {settings_text(probe, features.seed)}"
    return [features.score("linear", None, probe.predict(features.query_QF), words)]


def logistic_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """The logistic regression of t-ReX's transfer."""
    probe, chosen = fit_logistic(features.bank_NF, features.bank_labels_N, seed=features.seed)
    search = (
        f"C = {chosen:.3g} of {len(STRENGTHS)} from {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}, evenly spaced in their "
        f"logarithm, chosen on a stratified {STRENGTHS_HELD_OUT:.0%} of the bank (seed {features.seed})"
        if chosen is not None
        else "C = 1, the bank being too small to choose"
    )
    words = f"logistic regression, features L2-normalised, L-BFGS, {search}"
    return [features.score("logistic", None, probe.predict(features.query_QF), words)]


def draws(labels: NDArray[np.int64], settings: ProbeSettings, seed: int) -> list[tuple[str, str, NDArray[np.int64]]]:
    """The draws of train images: the name, description and positions of each."""
    if settings.labels_per_class:
        return [
            (f"{k} labels per class", f"{k} images of each class (seed {seed})", per_class(labels, k, seed))
            for k in settings.labels_per_class
        ]
    return [
        (f"{100 * share:g}% of the labels", f"a stratified {100 * share:g} % of the bank (seed {seed})", rows)
        for share in settings.label_shares
        for rows in [share_of(labels, share, seed)]
    ]


def label_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Semi-supervised scores on frozen features: the linear probe of each draw of a few of the labels."""
    scores = []
    for name, described, rows in draws(features.bank_labels_N.cpu().numpy(), settings, features.seed):
        index = torch.from_numpy(rows).to(features.bank_NF.device)
        probe = fit(features.bank_NF[index], features.bank_labels_N[index], seed=features.seed)
        words = f"linear probe of {described}, {len(rows):,} labels, {settings_text(probe, features.seed)}"
        scores.append(features.score("labels", None, probe.predict(features.query_QF), words, variant=name))
    return scores
