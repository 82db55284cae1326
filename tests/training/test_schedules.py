"""Schedules against published numbers, and against their own laws."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from likewise import schedules
from likewise.errors import InputError
from likewise.methods.method import Optimisation, Progress
from likewise.training.optimising import scheduled
from likewise.training.seeding import derived_seed, generator, seed_step

FRACTION = st.floats(0.0, 1.0)

# Official rates of ISD, one an epoch: lr 0.05 over 20 epochs, cosine.
ISD_COSINE = [
    0.05, 0.04969221, 0.04877641, 0.04727516, 0.04522542, 0.04267767, 0.03969463, 0.03634976, 0.03272542, 0.02891086,
    0.025, 0.02108914, 0.01727458, 0.01365024, 0.01030537, 0.00732233, 0.00477458, 0.00272484, 0.00122359, 0.00030779,
]  # fmt: skip

# Official BYOL over 200 steps, 20 of warm-up, base rate 0.2 at batch 4096, first momentum 0.996.
BYOL_STEPS = [0, 1, 5, 10, 50, 100, 150, 199, 200]
BYOL_RATES = [0.0, 0.16, 0.8, 1.6, 2.98564065, 1.87783708, 0.571539825, 2.43687750e-04, 0.0]
BYOL_MOMENTA = [0.996, 0.99600025, 0.99600617, 0.99602462, 0.99658579, 0.998, 0.99941421, 0.99999975, 1.0]


def at(fraction: float, *, step: int = 0, epoch: int = 0) -> Progress:
    return Progress(step, fraction, epoch)


def test_cosine_by_epoch_is_the_official_one() -> None:
    found = [schedules.cosine_by_epoch(0.05, epoch, 20) for epoch in range(20)]
    assert found == pytest.approx(ISD_COSINE, abs=5e-9)


def test_steps_fall_after_the_milestone_epochs() -> None:
    found = [schedules.step(0.01, epoch / 20, (14 / 20, 18 / 20), 0.2) for epoch in range(20)]
    assert found == pytest.approx([0.01] * 14 + [0.002] * 4 + [0.0004] * 2, rel=1e-12)


@pytest.mark.parametrize(("epochs", "per_epoch"), [(200, 7), (33, 13), (20, 195)])
def test_steps_fall_on_the_first_step_of_an_epoch_whatever_its_length(epochs: int, per_epoch: int) -> None:
    """A milestone at an epoch's end is not missed by a rounding of step / steps."""
    total = epochs * per_epoch
    for epoch in range(1, epochs):
        rates = [schedules.step(1.0, step / total, (epoch / epochs,), 0.5) for step in _around(epoch * per_epoch)]
        assert rates == [1.0, 0.5]


def _around(step: int) -> tuple[int, int]:
    return step - 1, step


def test_byol_rate_is_the_official_one() -> None:
    found = [
        schedules.byol_learning_rate(step, base=0.2, batch_size=4096, max_steps=200, warmup_steps=20)
        for step in BYOL_STEPS
    ]
    assert found == pytest.approx(BYOL_RATES, rel=1e-8, abs=1e-12)


def test_byol_momentum_is_the_official_one() -> None:
    found = [schedules.rising_momentum(0.996, step / 200) for step in BYOL_STEPS]
    assert found == pytest.approx(BYOL_MOMENTA, abs=5e-9)


@given(FRACTION)
def test_cosine_runs_from_base_to_final(fraction: float) -> None:
    value = schedules.cosine(0.3, fraction, 0.1)
    assert 0.1 - 1e-12 <= value <= 0.3 + 1e-12
    mirrored = schedules.cosine(0.3, 1.0 - fraction, 0.1)
    assert value + mirrored == pytest.approx(0.4)


@given(FRACTION, st.floats(0.0, 1.0))
def test_warmup_cosine_never_leaves_its_range(fraction: float, warmup: float) -> None:
    value = schedules.warmup_cosine(2.0, fraction, warmup, start=0.5, final=0.1)
    assert 0.1 - 1e-9 <= value <= 2.0 + 1e-9


def test_warmup_cosine_meets_at_its_peak() -> None:
    below = schedules.warmup_cosine(1.0, 0.1 - 1e-9, 0.1)
    assert below == pytest.approx(1.0, abs=1e-6)
    assert schedules.warmup_cosine(1.0, 0.1, 0.1) == 1.0
    assert schedules.warmup_cosine(1.0, 0.55, 0.1) == pytest.approx(0.5)


@pytest.mark.parametrize("fraction", [-0.5, 1.5])
def test_fractions_outside_are_clamped(fraction: float) -> None:
    end = min(max(fraction, 0.0), 1.0)
    assert schedules.linear(1.0, 3.0, fraction) == schedules.linear(1.0, 3.0, end)
    assert schedules.cosine(1.0, fraction) == schedules.cosine(1.0, end)


def test_linear_ramp() -> None:
    assert [schedules.linear(0.04, 0.07, fraction) for fraction in (0.0, 0.5, 1.0)] == pytest.approx(
        [0.04, 0.055, 0.07]
    )


# learning_rate: from an Optimisation ---------------------------------------------------------------------------------


def test_constant_and_cosine() -> None:
    constant = Optimisation(learning_rate=0.1, schedule="constant")
    cosine = Optimisation(learning_rate=0.1, schedule="cosine")
    assert scheduled.learning_rate(constant, at(0.9), 10) == 0.1
    assert scheduled.learning_rate(cosine, at(0.25), 10) == pytest.approx(0.05 * (1 + math.cos(math.pi / 4)))


def test_cosine_epoch_has_stairs_with_epochs_and_none_with_time() -> None:
    optimisation = Optimisation(learning_rate=0.05, schedule="cosine_epoch")
    for epoch, expected in enumerate(ISD_COSINE):
        for within in (0.0, 0.5, 0.99):
            progress = at((epoch + within) / 20, epoch=epoch)
            assert scheduled.learning_rate(optimisation, progress, 20) == pytest.approx(expected, abs=5e-9)
    timed = scheduled.learning_rate(optimisation, at(0.125, epoch=7), None)
    assert timed == pytest.approx(schedules.cosine(0.05, 0.125))


def test_step_schedule_of_the_isd_recipe() -> None:
    optimisation = Optimisation(learning_rate=0.01, schedule="step", milestones=(140 / 200, 180 / 200), step_factor=0.2)
    rates = [scheduled.learning_rate(optimisation, at(epoch / 200, epoch=epoch), 200) for epoch in range(200)]
    assert rates == pytest.approx([0.01] * 140 + [0.002] * 40 + [0.0004] * 20)


def test_the_line_falls_evenly_after_the_warmup() -> None:
    optimisation = Optimisation(learning_rate=0.4, schedule="linear", warmup=0.2, final=0.1)
    rates = [scheduled.learning_rate(optimisation, at(f), 20) for f in (0.2, 0.4, 0.6, 1.0)]
    assert rates == pytest.approx([0.4, 0.31, 0.22, 0.04])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "cosine_epoch", "linear", "step"])
def test_warmup_rises_from_zero_under_every_schedule(schedule: str) -> None:
    optimisation = Optimisation(learning_rate=0.4, schedule=schedule, warmup=0.1)  # type: ignore[arg-type]
    rates = [scheduled.learning_rate(optimisation, at(f, epoch=int(f * 20)), 20) for f in (0.0, 0.05, 0.0999)]
    assert rates == pytest.approx([0.0, 0.2, 0.3996])
    assert scheduled.learning_rate(optimisation, at(0.1, epoch=2), 20) == pytest.approx(0.4)


def test_warmup_may_end_inside_an_epoch() -> None:
    """The stair of the epoch in which the warm-up ends is the peak, not a rate from before the peak."""
    optimisation = Optimisation(learning_rate=0.4, schedule="cosine_epoch", warmup=0.12)
    assert scheduled.learning_rate(optimisation, at(0.13, epoch=2), 20) == pytest.approx(0.4)


def test_byol_recipe_through_an_optimisation() -> None:
    optimisation = Optimisation(learning_rate=3.2, schedule="cosine", warmup=0.1)
    found = [scheduled.learning_rate(optimisation, at(step / 200, step=step), 10) for step in BYOL_STEPS]
    assert found == pytest.approx(BYOL_RATES, rel=1e-8, abs=1e-12)


def test_unknown_schedule_is_refused() -> None:
    optimisation = Optimisation(schedule="cosin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="did you mean 'cosine'"):
        scheduled.learning_rate(optimisation, at(0.1), 10)


# Seeding: randomness as a function of the step -----------------------------------------------------------------------


def test_generators_depend_on_each_part_and_nothing_else() -> None:
    def draw(seed: int, step: int, role: str) -> list[float]:
        return torch.rand(4, generator=generator(seed, step, role)).tolist()

    first = draw(0, 5, "student")
    torch.rand(100)
    assert draw(0, 5, "student") == first
    others = [draw(1, 5, "student"), draw(0, 6, "student"), draw(0, 5, "teacher")]
    assert all(other != first for other in others)


def test_seeds_do_not_confuse_their_parts() -> None:
    seeds = {derived_seed(1, 23), derived_seed(12, 3), derived_seed(123), derived_seed("1", 23), derived_seed("123")}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seed_is_the_same_on_every_machine() -> None:
    assert derived_seed(0, 1, "student") == 2086444575753949274


def test_dropout_repeats_at_the_same_step_and_differs_elsewhere() -> None:
    def dropped(step: int, rank: int) -> torch.Tensor:
        seed_step(0, step, rank)
        return torch.nn.functional.dropout(torch.ones(64), 0.5)

    assert torch.equal(dropped(3, 0), dropped(3, 0))
    assert not torch.equal(dropped(3, 0), dropped(4, 0))
    assert not torch.equal(dropped(3, 0), dropped(3, 1))


@pytest.mark.parametrize("schedule", ["cosine", "cosine_epoch"])
def test_cosines_end_at_the_share_that_is_to_be_left(schedule: str) -> None:
    optimisation = Optimisation(schedule=schedule, learning_rate=0.4, warmup=0.1, final=0.25)  # type: ignore[arg-type]
    assert scheduled.learning_rate(optimisation, at(0.1, epoch=2), 20) == pytest.approx(0.4)
    assert scheduled.learning_rate(optimisation, at(1.0, epoch=20), 20) == pytest.approx(0.1)


def test_a_warm_up_may_start_above_zero() -> None:
    optimisation = Optimisation(learning_rate=4.8, warmup=0.1, warmup_from=0.0625)
    assert scheduled.learning_rate(optimisation, at(0.0), None) == pytest.approx(0.3)
    assert scheduled.learning_rate(optimisation, at(0.05), None) == pytest.approx((0.3 + 4.8) / 2)


def test_the_weight_decay_follows_its_cosine_where_it_has_an_end() -> None:
    moving = Optimisation(weight_decay=0.04, final_weight_decay=0.4)
    assert [scheduled.weight_decay(moving, at(f)) for f in (0.0, 0.5, 1.0)] == pytest.approx([0.04, 0.22, 0.4])
    assert scheduled.weight_decay(Optimisation(weight_decay=0.04), at(0.7)) == 0.04


def test_tables_hold_the_peak_twice_and_stop_before_the_end() -> None:
    table = [schedules.tabulated_cosine(i, base=2.0, steps=10, warmup_steps=4, start=0.5, final=1.0) for i in range(10)]
    assert table[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert table[4:6] == pytest.approx([2.0, schedules.cosine(2.0, 1 / 6, 1.0)])
    assert table[-1] == pytest.approx(schedules.cosine(2.0, 5 / 6, 1.0))


def test_views_grow_in_three_stages() -> None:
    growing = Optimisation(first_size=0.5)
    shares = [scheduled.view_share(growing, Progress(0, fraction / 10, 0)) for fraction in range(11)]
    assert shares == [0.5] * 5 + [0.75] * 3 + [1.0] * 3
    smaller = Optimisation(first_size=0.5, last_size=0.75)
    assert [scheduled.view_share(smaller, at(fraction)) for fraction in (0.0, 0.6, 0.9)] == [0.5, 0.625, 0.75]
    assert scheduled.view_share(Optimisation(), Progress(0, 0.0, 0)) == 1.0


def test_a_cosine_over_the_budget_is_cut_off_and_one_from_the_start_begins_in_the_warm_up() -> None:
    def rate(over: Literal["rest", "budget", "start"], fraction: float) -> float:
        optimisation = Optimisation(learning_rate=1.0, warmup=0.2, cosine_over=over)
        return scheduled.learning_rate(optimisation, Progress(0, fraction, 0), None)

    assert [rate(over, 0.1) for over in ("rest", "budget", "start")] == pytest.approx([0.5] * 3)
    assert rate("budget", 0.2) == 1.0
    assert rate("budget", 0.7) == pytest.approx(0.5)
    assert rate("budget", 1.0) == pytest.approx((1 + math.cos(0.8 * math.pi)) / 2)
    assert rate("start", 0.2) == pytest.approx((1 + math.cos(0.2 * math.pi)) / 2)
    assert rate("start", 0.5) == pytest.approx(0.5)
    assert rate("start", 1.0) == pytest.approx(0.0)
