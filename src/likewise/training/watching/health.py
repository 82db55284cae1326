"""Health of a run: collapse, dimensional collapse, flat losses.

Collapse is when every image gets the same embedding. Two numbers show it, both from the student's embedding of one
batch: the spread of the L2-normalised vectors, and how many dimensions they really use. Both start low: an untrained
network gives nearly the same embedding to everything (a spread of 0.05 to 0.2 is usual), so nothing is called collapsed
early in a run, and never on the strength of one batch.

`Health` waits for the device in `report` alone, which is called when numbers are logged anyway. Losses and gradients
that are no numbers are another subject: `likewise.training.finite`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from likewise.methods.method import Progress, Terms

Verdict = Literal["healthy", "at risk", "collapsed"]

ROWS = 256
"""Embeddings looked at in one check; also the largest side of the matrix whose spectrum is taken."""

COLLAPSED_SPREAD, LOW_SPREAD = 0.02, 0.1
COLLAPSED_RANK, LOW_RANK = 1.2, 3.0
RANK_NEEDS = 8
"""An effective rank says something only where at least this many directions were possible."""
UNIFORM_ENTROPY, ONE_HOT_ENTROPY = 0.97, 0.01
STUCK, FLAT = 0.01, 1e-3
_NOISE = 1e-6
"""Share of the energy of unit vectors under which an eigenvalue is rounding of float32."""


# Measures ----------------------------------------------------------------------------------------------------------


def spread(embedding_BD: Tensor) -> Tensor:
    """Mean over dimensions of the deviation of the L2-normalised rows, times sqrt(D); a scalar on the same device.

    1 for vectors uniform on the sphere, 0 when all rows are the same (SimSiam, arXiv 2011.10566, figure 2).
    """
    unit_BD = F.normalize(embedding_BD.float(), dim=1)
    return unit_BD.std(dim=0, correction=0).mean() * math.sqrt(unit_BD.shape[1])


def gram(embedding_BD: Tensor) -> Tensor:
    """The smaller of X X^T and X^T X, (n, n) with n = min(B, D), X the normalised and centred rows; on the device."""
    unit_BD = F.normalize(embedding_BD.float(), dim=1)
    x_BD = unit_BD - unit_BD.mean(dim=0)
    rows, dims = x_BD.shape
    return (x_BD @ x_BD.T if rows <= dims else x_BD.T @ x_BD) / rows


def effective_rank(gram_nn: Tensor) -> float:
    """exp of the entropy of the singular values' shares (RankMe, arXiv 2210.02885, eq. 1), of `gram`'s X.

    Between 1 (all on a line, or all the same) and n. Singular values are roots of the eigenvalues of the Gram matrix;
    what is below the rounding of unit vectors counts as 0, or a perfectly collapsed embedding would look rich.
    """
    matrix = gram_nn.detach().cpu().double()
    if not bool(torch.isfinite(matrix).all()):
        return math.nan
    energy = torch.linalg.eigvalsh(matrix)
    values = energy.where(energy > _NOISE, 0.0).sqrt()
    total = values.sum()
    if total == 0:
        return 1.0
    share = values / total
    return float(torch.special.entr(share).sum().exp())


# The monitor -------------------------------------------------------------------------------------------------------


class _Check(NamedTuple):
    """The values of one check, still on the device."""

    step: int
    fraction: float
    loss: Tensor
    spread: Tensor | None
    gram: Tensor | None
    possible: int
    """Largest effective rank that the batch allowed: min(B - 1, D)."""
    teacher_entropy: Tensor | None
    purity: Tensor | None


@dataclass(frozen=True)
class Reading:
    """The numbers of one check. None where the method does not give them."""

    step: int
    fraction: float
    loss: float
    spread: float | None
    effective_rank: float | None
    possible_rank: int
    teacher_entropy: float | None
    purity: float | None

    @property
    def is_collapsed(self) -> bool:
        """Whether this one batch looks collapsed."""
        narrow = self.spread is not None and self.spread < COLLAPSED_SPREAD
        return narrow or (self._rank_counts and (self.effective_rank or 0.0) < COLLAPSED_RANK)

    @property
    def _rank_counts(self) -> bool:
        known = self.effective_rank is not None and math.isfinite(self.effective_rank)
        return known and self.possible_rank >= RANK_NEEDS

    @property
    def is_low_rank(self) -> bool:
        """Whether this batch uses fewer dimensions than any data could need."""
        return self._rank_counts and (self.effective_rank or 0.0) < LOW_RANK


@dataclass(frozen=True)
class Report:
    """The verdict at one moment."""

    verdict: Verdict
    reason: str
    """One sentence: what was seen and which settings are most likely at fault. Empty when healthy."""
    stop: bool
    """Whether going on would only waste time."""
    spread: float | None
    effective_rank: float | None

    def metrics(self) -> dict[str, float | str | None]:
        """The entries of a line of metrics."""
        return {"spread": self.spread, "effective_rank": self.effective_rank, "health": self.verdict}


class Health:
    """Watches a run: `observe` at every step, `report` when numbers are logged.

    A run is called collapsed after `patience` checks in a row, all of them later than both `grace_steps` and
    `grace_fraction` of the budget, with a spread below 0.02 or an effective rank below 1.2. `stop` is advised after
    twice as many. With several processes each sees its own share of the batch, so only one of them may decide.
    """

    def __init__(
        self,
        *,
        every: int = 25,
        choices: int = 0,
        classes: int = 0,
        settings: Mapping[str, object] | None = None,
        patience: int = 5,
        grace_steps: int = 300,
        grace_fraction: float = 0.1,
    ) -> None:
        """`choices` is K, the rows of the memory or prototypes that the teacher chooses among (0: none or unknown).

        `settings` are the run's settings by name (the method's, `learning_rate`, `batch_size`, ...), so that a reason
        can name those at fault with their values.
        """
        self.every = every
        self.choices = choices
        self.classes = classes
        self.patience = patience
        self.grace_steps = grace_steps
        self.grace_fraction = grace_fraction
        self._settings = dict(settings or {})
        self._observed = -1
        self._pending: deque[_Check] = deque(maxlen=4 * patience)
        self._memory = 2 * patience
        self._window: deque[Reading] = deque(maxlen=self._memory)

    def observe(self, progress: Progress, terms: Terms) -> None:
        """Keep what this step shows, one step in `every`. Queues a little work on the device and waits for nothing.

        Of several forward passes of one step (accumulated gradients) the first is kept.
        """
        if progress.step % self.every == 0 and progress.step != self._observed:
            self._observed = progress.step
            self._pending.append(self._check(progress, terms))

    @torch.no_grad()
    def _check(self, progress: Progress, terms: Terms) -> _Check:
        rows_BD = None if terms.embedding is None else terms.embedding.detach().flatten(1)[:ROWS]
        if rows_BD is not None and len(rows_BD) < 2:
            rows_BD = None
        return _Check(
            step=progress.step,
            fraction=progress.fraction,
            loss=terms.loss.detach().clone(),
            spread=None if rows_BD is None else spread(rows_BD),
            gram=None if rows_BD is None else gram(rows_BD),
            possible=0 if rows_BD is None else min(len(rows_BD) - 1, rows_BD.shape[1]),
            teacher_entropy=terms.parts.get("teacher_entropy"),
            purity=terms.parts.get("purity"),
        )

    def report(self) -> Report:
        """Read what was kept since the last report and judge. This is where the device is waited for."""
        while self._pending:
            self._window.append(_read(self._pending.popleft()))
        if not self._window:
            return Report("healthy", "", stop=False, spread=None, effective_rank=None)
        newest = self._window[-1]
        verdict, reason, stop = self._judge(list(self._window))
        return Report(verdict, reason, stop, newest.spread, newest.effective_rank)

    def _judge(self, window: Sequence[Reading]) -> tuple[Verdict, str, bool]:
        newest = window[-1]
        streak = 0
        for reading in reversed(window):
            if not (reading.is_collapsed and self._out_of_grace(reading)):
                break
            streak += 1
        if streak >= self.patience:
            return "collapsed", self._blame_collapse(newest), streak >= 2 * self.patience
        for reason in self._doubts(window):
            return "at risk", reason, False
        return "healthy", "", False

    def _out_of_grace(self, reading: Reading) -> bool:
        return reading.step >= self.grace_steps and reading.fraction >= self.grace_fraction

    def _doubts(self, window: Sequence[Reading]) -> list[str]:
        """Reasons to look at the run, the most serious first."""
        newest, late = window[-1], self._out_of_grace(window[-1])
        recent = window[-self.patience :]
        settled = late and len(recent) == self.patience
        found: list[str] = []
        if newest.spread is not None and not math.isfinite(newest.spread):
            found.append(f"the embedding holds values that are no numbers{self._name('learning_rate', 'precision')}")
        if len(recent) == self.patience and all(reading.is_collapsed for reading in recent):
            found.append(self._blame_collapse(newest))
        if settled and all(reading.spread is not None and reading.spread < LOW_SPREAD for reading in recent):
            found.append(
                f"the embeddings of different images are almost the same (spread {newest.spread:.3f}, 1 is best)"
                + self._name("predictor", "momentum", "learning_rate", "temperature", "batch_size")
            )
        if settled and all(reading.is_low_rank for reading in recent):
            found.append(
                f"the embeddings use {newest.effective_rank:.1f} of {newest.possible_rank} dimensions"
                + self._name("temperature", "learning_rate", "embedding", "hidden", "batch_size")
            )
        if settled:
            found += self._teacher_doubts(recent) + self._loss_doubts(window)
        return found

    def _teacher_doubts(self, recent: Sequence[Reading]) -> list[str]:
        entropies = [reading.teacher_entropy for reading in recent if reading.teacher_entropy is not None]
        if len(entropies) < self.patience:
            return []
        most = math.log(self.choices) if self.choices > 1 else math.inf
        if min(entropies) > UNIFORM_ENTROPY * most:
            return [
                f"the teacher finds everything equally similar (entropy {entropies[-1]:.2f} of at most {most:.2f}): "
                "its temperature is too high" + self._name("temperature", "momentum", "learning_rate")
            ]
        if max(entropies) < ONE_HOT_ENTROPY:
            return [
                f"the teacher chooses a single neighbour (entropy {entropies[-1]:.4f}): its temperature is too low"
                + self._name("temperature")
            ]
        return []

    def _loss_doubts(self, window: Sequence[Reading]) -> list[str]:
        losses = [reading.loss for reading in window]
        blame = self._name("temperature", "learning_rate", "momentum", "batch_size")
        chance = math.log(self.choices) if self.choices > 1 else 0.0
        if chance and all(abs(loss - chance) < STUCK * chance for loss in losses):
            return [f"the loss stays at chance level (ln {self.choices} = {chance:.2f}){blame}"]
        full = len(losses) == self._memory and window[-1].fraction < 0.8  # later the rate is tiny
        middle = sum(losses) / len(losses)
        if full and max(losses) - min(losses) < FLAT * abs(middle):
            return [f"the loss has not moved from {middle:.4g} for {window[-1].step - window[0].step} steps{blame}"]
        purities = [reading.purity for reading in window if reading.purity is not None]
        if self.classes > 1 and full and len(purities) == len(losses) and max(purities) < 1.1 / self.classes:
            return [f"neighbours in the memory share a class no more often than by chance ({purities[-1]:.3f}){blame}"]
        return []

    def _blame_collapse(self, newest: Reading) -> str:
        seen = f"spread {newest.spread:.3f}" if newest.spread is not None else "no spread"
        if newest.effective_rank is not None:
            seen += f", effective rank {newest.effective_rank:.1f}"
        return f"all images get the same embedding ({seen})" + self._name(
            "predictor", "momentum", "learning_rate", "temperature", "batch_size"
        )

    def _name(self, *suspects: str) -> str:
        """End of a reason: the settings most likely at fault, with their values where they are known."""
        found = [
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for suspect in suspects
            for name, value in self._settings.items()
            if suspect in name
        ]
        named = list(dict.fromkeys(found)) or [suspect.replace("_", " ") for suspect in suspects]
        return "; look first at " + ", ".join(named[:5])


def _read(check: _Check) -> Reading:
    def number(value: Tensor | None) -> float | None:
        return None if value is None else float(value)

    return Reading(
        step=check.step,
        fraction=check.fraction,
        loss=float(check.loss),
        spread=number(check.spread),
        effective_rank=None if check.gram is None else effective_rank(check.gram),
        possible_rank=check.possible,
        teacher_entropy=number(check.teacher_entropy),
        purity=number(check.purity),
    )
