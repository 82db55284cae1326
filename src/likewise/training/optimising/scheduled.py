"""A recipe's values for one step: learning rate, weight decay, and the size of the views."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.errors import unknown
from likewise.methods.method import Optimisation, Progress
from likewise.schedules import ROUNDING, cosine, linear, step
from likewise.views import ViewPolicy

SCHEDULES = ("constant", "cosine", "cosine_epoch", "linear", "step")

LAST_SIZE = 0.8
"""Share of the budget after which views that grow have their last side."""


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
        return cosine(base, _of_curve(optimisation, fraction), final)
    if optimisation.schedule == "cosine_epoch":
        began = fraction if epochs is None else max(progress.epoch / epochs, warmup)
        return cosine(base, _of_curve(optimisation, began), final)
    if optimisation.schedule == "linear":
        return linear(base, final, _of_curve(optimisation, fraction))
    if optimisation.schedule == "step":
        return step(base, fraction, optimisation.milestones, optimisation.step_factor)
    return base


def _of_curve(optimisation: Optimisation, fraction: float) -> float:
    """Share of the cosine or the line that is over, at a `fraction` of the budget after the warm-up."""
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
    if fraction >= LAST_SIZE - ROUNDING:
        return last
    return first if fraction < 0.5 - ROUNDING else (first + last) / 2


def views_at(
    views: Mapping[str, ViewPolicy], optimisation: Optimisation, progress: Progress, *, flip: bool = True
) -> dict[str, ViewPolicy]:
    """The view policies of a method in that step: their size by the schedule, and whether they are flipped."""
    share = view_share(optimisation, progress)
    return {role: (policy if flip else policy.upright()).shrunk(share) for role, policy in views.items()}


def weight_decay(optimisation: Optimisation, progress: Progress) -> float:
    """The weight decay of the step that `progress` stands before (DINO, arXiv 2104.14294, section 3.2)."""
    start, end = optimisation.weight_decay, optimisation.final_weight_decay
    return start if end is None else cosine(start, progress.fraction, end)
