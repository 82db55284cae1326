"""Schedules as pure functions: nothing to save, nothing to restore.

`fraction` is the share of the budget used, 0 to 1, whatever the budget is counted in; values outside are clamped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from likewise.errors import unknown

if TYPE_CHECKING:
    from likewise.methods.method import Optimisation, Progress
    from likewise.views import ViewPolicy

SCHEDULES = ("constant", "cosine", "cosine_epoch", "step")

LAST_SIZE = 0.8
"""Share of the budget after which views that grow have their last side."""

_ROUNDING = 1e-9
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
    return float(base * factor ** sum(_clamp(fraction) >= milestone - _ROUNDING for milestone in milestones))


def warmup_cosine(
    base: float, fraction: float, warmup: float = 0.0, *, start: float = 0.0, final: float = 0.0
) -> float:
    """A line from `start` to `base` over the first `warmup` of the budget, then the cosine down to `final`."""
    if fraction < warmup:
        return linear(start, base, fraction / warmup)
    return cosine(base, (fraction - warmup) / (1.0 - warmup) if warmup < 1.0 else 0.0, final)


def byol_learning_rate(step: int, *, base: float, batch_size: int, max_steps: int, warmup_steps: int) -> float:
    """The published rate of BYOL at an optimiser step, counted from 0 (arXiv 2006.07733, section 3.3).

    `base` is for 256 pictures and scaled by `batch_size` / 256; linear from 0 over `warmup_steps`, then cosine to 0.
    """
    return warmup_cosine(base * batch_size / 256, step / max_steps, warmup_steps / max_steps)


def rising_momentum(initial: float, fraction: float) -> float:
    """A teacher's momentum from `initial` to 1: 1 - (1 - initial) (cos(pi fraction) + 1) / 2 (BYOL, section 3.2)."""
    return cosine(initial, fraction, final=1.0)


def momentum_at(initial: float, schedule: Literal["constant", "cosine"], fraction: float) -> float:
    """A teacher's momentum that stays as it is, or rises to 1 along the cosine of `rising_momentum`."""
    return rising_momentum(initial, fraction) if schedule == "cosine" else initial


def learning_rate(optimisation: Optimisation, progress: Progress, epochs: float | None) -> float:
    """The learning rate of the step that `progress` stands before.

    `epochs` is the budget in passes over the data, None where the budget is time. `cosine_epoch` needs the number of
    epochs to know what one epoch is; with a time budget it follows the fraction at every step instead, which is the
    same curve without the stairs. A warm-up rises at every step under all schedules. Raises `InputError` for a
    schedule that does not exist.
    """
    base, warmup, fraction = optimisation.learning_rate, optimisation.warmup, progress.fraction
    final = base * optimisation.final
    if optimisation.schedule not in SCHEDULES:
        raise unknown("schedule", optimisation.schedule, SCHEDULES)
    if fraction < warmup:
        return linear(base * optimisation.warmup_from, base, fraction / warmup)
    if optimisation.schedule == "cosine":
        return cosine(base, _of_cosine(optimisation, fraction), final)
    if optimisation.schedule == "cosine_epoch":
        began = fraction if epochs is None else max(progress.epoch / epochs, warmup)
        return cosine(base, _of_cosine(optimisation, began), final)
    if optimisation.schedule == "step":
        return step(base, fraction, optimisation.milestones, optimisation.step_factor)
    return base


def _of_cosine(optimisation: Optimisation, fraction: float) -> float:
    """Share of the cosine that is over, at a `fraction` of the budget after the warm-up."""
    warmup = optimisation.warmup
    if optimisation.cosine_over == "start":
        return fraction
    if optimisation.cosine_over == "budget":
        return fraction - warmup
    return (fraction - warmup) / (1.0 - warmup) if warmup < 1.0 else 0.0


def view_share(optimisation: Optimisation, progress: Progress) -> float:
    """Side of the views, as a share of the encoder's input, in the step that `progress` stands before.

    `first_size` for the first half of the budget, half way to `last_size` until `LAST_SIZE` of it, then `last_size`.
    Progressive resizing as in EfficientNetV2 (Tan, Le, ICML 2021, arXiv 2104.00298).
    """
    first, last, fraction = optimisation.first_size, optimisation.last_size, progress.fraction
    if fraction >= LAST_SIZE - _ROUNDING:
        return last
    return first if fraction < 0.5 - _ROUNDING else (first + last) / 2


def views_at(
    views: Mapping[str, ViewPolicy], optimisation: Optimisation, progress: Progress, *, flip: bool = True
) -> dict[str, ViewPolicy]:
    """What the views of a method look like in that step: as large as the schedule has it, and mirrored or not."""
    share = view_share(optimisation, progress)
    return {role: (policy if flip else policy.upright()).shrunk(share) for role, policy in views.items()}


def weight_decay(optimisation: Optimisation, progress: Progress) -> float:
    """The weight decay of the step that `progress` stands before (DINO, arXiv 2104.14294, section 3.2)."""
    start, end = optimisation.weight_decay, optimisation.final_weight_decay
    return start if end is None else cosine(start, progress.fraction, end)


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
