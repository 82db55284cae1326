"""Schedules as pure functions of progress, without state.

`fraction` is the share of the budget used, 0 to 1, whatever the budget is counted in; values outside are clamped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

ROUNDING = 1e-9
"""Slack when a fraction is compared with a milestone: 14 of 20 epochs is 0.7 however it was divided."""


def _clamp(fraction: float) -> float:
    return min(max(fraction, 0.0), 1.0)


def linear(start: float, end: float, fraction: float) -> float:
    """Straight line from `start` to `end`."""
    return start + (end - start) * _clamp(fraction)


def cosine(base: float, fraction: float, final: float = 0.0) -> float:
    """Half a cosine from `base` down (or up) to `final` (SGDR without restarts, arXiv 1608.03983, eq. 5)."""
    return final + (base - final) * 0.5 * (1.0 + math.cos(math.pi * _clamp(fraction)))


def cosine_by_epoch(base: float, epoch: int, epochs: float, final: float = 0.0) -> float:
    """The cosine set once an epoch, with `epoch` passes over the data finished (0 in the first pass).

    ISD and MSF write base (1 + cos(pi (e - 1) / E)) / 2 with e from 1, MoCo the same with e from 0: same numbers.
    """
    return cosine(base, epoch / epochs, final)


def step(base: float, fraction: float, milestones: Sequence[float], factor: float) -> float:
    """`base` times `factor` for each milestone that `fraction` has reached."""
    return float(base * factor ** sum(_clamp(fraction) >= milestone - ROUNDING for milestone in milestones))


def warmup_cosine(
    base: float, fraction: float, warmup: float = 0.0, *, start: float = 0.0, final: float = 0.0
) -> float:
    """A line from `start` to `base` over the first `warmup` of the budget, then the cosine down to `final`."""
    if fraction < warmup:
        return linear(start, base, fraction / warmup)
    return cosine(base, (fraction - warmup) / (1.0 - warmup) if warmup < 1.0 else 0.0, final)


def byol_learning_rate(step: int, *, base: float, batch_size: int, max_steps: int, warmup_steps: int) -> float:
    """The published rate of BYOL at an optimiser step, counted from 0 (arXiv 2006.07733, section 3.3).

    `base` is for 256 images and scaled by `batch_size` / 256; linear from 0 over `warmup_steps`, then cosine to 0.
    """
    return warmup_cosine(base * batch_size / 256, step / max_steps, warmup_steps / max_steps)


def rising_momentum(initial: float, fraction: float) -> float:
    """A teacher's momentum from `initial` to 1: 1 - (1 - initial) (cos(pi fraction) + 1) / 2 (BYOL, section 3.2)."""
    return cosine(initial, fraction, final=1.0)


def momentum_at(initial: float, schedule: Literal["constant", "cosine"], fraction: float) -> float:
    """A teacher's momentum that stays as it is, or rises to 1 along the cosine of `rising_momentum`."""
    return rising_momentum(initial, fraction) if schedule == "cosine" else initial


def tabulated_cosine(
    step: int, *, base: float, steps: int, warmup_steps: int = 0, start: float = 0.0, final: float = 0.0
) -> float:
    """Entry `step`, from 0, of the tables that DINO and SwAV take their rates from.

    The line has both of its ends, so that the peak stands in the table twice, as the last of the line and the first
    of the cosine; the cosine ends one step before `final`. Between the ends it is `warmup_cosine`.
    """
    if step < warmup_steps:
        return linear(start, base, step / max(1, warmup_steps - 1))
    return cosine(base, (step - warmup_steps) / (steps - warmup_steps), final)


def clipped_ramp(fraction: float) -> float:
    """min(1, .75 (1 - cos(pi fraction))): .75 in the middle, 1 from about 61 % on (arXiv 2106.07807)."""
    return min(1.0, 0.75 * (1.0 - math.cos(math.pi * _clamp(fraction))))


def young_momentum(updates: int, momentum: float) -> float:
    """min(m, (1 + n) / (10 + n)) at update n, from 1: a teacher that follows closely at first (OTTER, 2112.09445)."""
    return min(momentum, (1 + updates) / (10 + updates))
