"""Draws: repeatable, the same for any number of processes, with torchvision's ranges and rates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import ColorJitter

from likewise.views import Blur, Centre, Draw, draw, strong, weak

SIZES = torch.full((4000, 2), 32)
POLICY = strong(32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), solarise=0.2)


def drawn(policy=POLICY, sizes=SIZES, seed=0, step=0, role="student", **place) -> Draw:
    return draw(policy, sizes, seed=seed, step=step, role=role, **place)


def parts(one: Draw) -> list[torch.Tensor]:
    return [part for part in (*one.geometry, *one.look) if isinstance(part, torch.Tensor)]


def same(one: Draw, other: Draw) -> bool:
    return all(torch.equal(a, b) for a, b in zip(parts(one), parts(other), strict=True))


def test_a_draw_depends_on_seed_step_and_role_only():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = drawn()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert same(one, drawn())
    for other in (drawn(seed=1), drawn(step=1), drawn(role="teacher")):
        assert not same(one, other)
        assert not torch.equal(one.geometry.box, other.geometry.box)


def test_numbers_that_read_alike_are_told_apart():
    assert not same(drawn(seed=1, step=12), drawn(seed=11, step=2))


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 1000))
def test_processes_draw_their_rows_of_the_whole_batch(world, each, seed):
    sizes = torch.randint(1, 99, (each * world, 2), generator=torch.Generator().manual_seed(seed))
    whole = drawn(sizes=sizes, seed=seed)
    for rank in range(world):
        share = drawn(sizes=sizes[rank::world], seed=seed, rank=rank, world=world)
        assert all(torch.equal(a, b[rank::world]) for a, b in zip(parts(share), parts(whole), strict=True))


def test_one_setting_does_not_move_the_others():
    one, other = drawn(), drawn(replace(POLICY, blur=None, grey=0.0, solarise=None))
    assert torch.equal(one.geometry.box, other.geometry.box)
    assert torch.equal(one.look.hue, other.look.hue)
    assert torch.equal(one.geometry.flip, drawn(weak(32, mean=POLICY.mean, std=POLICY.std)).geometry.flip)


def test_weak_views_change_no_colours():
    look = drawn(weak(32, mean=POLICY.mean, std=POLICY.std)).look
    for factor in (look.brightness, look.contrast, look.saturation):
        assert bool((factor == 1).all())
    for nothing in (look.hue, look.grey, look.sigma, look.solarise):
        assert not bool(nothing.any())


def test_rates():
    one = drawn()
    jittered = one.look.brightness != 1
    for share, wanted in (
        (one.geometry.flip, 0.5),
        (jittered, 0.8),
        (one.look.grey, 0.2),
        (one.look.sigma > 0, 0.5),
        (one.look.solarise, 0.2),
    ):
        assert float(share.float().mean()) == pytest.approx(wanted, abs=0.025)
    for name in ("contrast", "saturation"):  # all steps of a jitter together or none
        assert torch.equal(getattr(one.look, name) != 1, jittered)
    assert torch.equal(one.look.hue != 0, jittered)


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_rates_of_none_and_all_are_exact(rate, share):
    one = drawn(replace(POLICY, flip=rate, grey=rate, blur=Blur(probability=rate)))
    for coin in (one.geometry.flip, one.look.grey, one.look.sigma > 0):
        assert float(coin.float().mean()) == share


@pytest.mark.parametrize("strength", [0.4, 1.5])
def test_factors_are_distributed_as_in_torchvision(strength):
    policy = strong(32, mean=POLICY.mean, std=POLICY.std, jitter=1.0, brightness=strength, contrast=strength,
                    saturation=strength, hue=0.3)  # fmt: skip
    look = drawn(policy).look
    jitter = ColorJitter(strength, strength, strength, 0.3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = [
            jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)[1:]
            for _ in range(len(SIZES))
        ]
    for column, name in enumerate(("brightness", "contrast", "saturation", "hue")):
        values = [row[column] for row in theirs]
        assert stats.ks_2samp(getattr(look, name).numpy(), values).pvalue > 1e-3


def test_deviations_of_the_blur_are_uniform_and_factors_independent():
    look = drawn(replace(POLICY, blur=Blur(sigma=(0.1, 2.0), probability=1.0))).look
    assert stats.kstest(look.sigma.numpy(), stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    jittered = look.brightness != 1
    columns = torch.stack([look.brightness, look.contrast, look.saturation, look.hue, look.sigma])[:, jittered]
    correlations = torch.corrcoef(columns) - torch.eye(5)
    assert float(correlations.abs().max()) < 0.06


def test_roles_and_steps_are_independent():
    one = drawn().look.brightness
    for other in (drawn(role="teacher"), drawn(step=1), drawn(seed=1)):
        assert abs(float(torch.corrcoef(torch.stack([one, other.look.brightness]))[0, 1])) < 0.05


def test_geometry_in_fractions():
    sizes = torch.tensor([[40, 80], [32, 32]])
    one = drawn(replace(POLICY, crop=Centre(fraction=0.5)), sizes=sizes)
    torch.testing.assert_close(
        one.geometry.fractions(), torch.tensor([[0.25, 0.375, 0.5, 0.25], [0.25, 0.25, 0.5, 0.5]])
    )
    assert torch.equal(one.geometry.rows(slice(1, 2)).box, one.geometry.box[1:])
