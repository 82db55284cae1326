"""Colours as one matrix and one offset: equal to torchvision's steps where nothing is clamped, close where it is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from likewise.views.colours.colour import GREY, adjust_colour, colour_matrices, hue_matrices
from likewise.views.drawing import Look


def look(count: int, **changed: Tensor) -> Look:
    """Nothing changes except what is given."""
    ones, zeros = torch.ones(count), torch.zeros(count)
    none = zeros.bool()
    return Look(ones, ones, ones, zeros, none, zeros, none)._replace(**changed)


def applied(image: Tensor, **changed: Tensor) -> Tensor:
    return adjust_colour(image, *colour_matrices(look(len(image), **changed)))


def greys(image: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", image, torch.tensor(GREY))


def hue_angles(image: Tensor) -> Tensor:
    """(B,) direction of the mean colour in the plane at right angles to the grey axis, in shares of the circle."""
    red, green, blue = image.mean(dim=(2, 3)).double().unbind(1)
    return torch.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue) / (2 * math.pi)


@pytest.fixture
def image(small: Tensor) -> Tensor:
    return small.permute(0, 3, 1, 2) / 255.0


@pytest.fixture
def mild(image: Tensor) -> Tensor:
    """Images that no jitter drives out of [0, 1]."""
    return 0.4 + 0.1 * image


@pytest.fixture
def factors() -> Tensor:
    return torch.linspace(0.6, 1.4, 260)[torch.randperm(260, generator=torch.Generator().manual_seed(0))]


STEPS = {"brightness": tv.adjust_brightness, "contrast": tv.adjust_contrast, "saturation": tv.adjust_saturation}


@pytest.mark.parametrize("name", STEPS)
def test_each_step_equals_torchvision(mild, factors, name):
    ours = applied(mild, **{name: factors})
    theirs = torch.stack([STEPS[name](one, float(factor)) for one, factor in zip(mild, factors, strict=True)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)  # their weights of grey sum to 0.9999


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)))
def test_every_order_of_torchvision_gives_the_same_matrix(mild, factors, order):
    three = {"brightness": factors, "contrast": factors.flip(0), "saturation": factors.roll(50)}
    ours = applied(mild, **three)
    for row in range(0, 260, 13):
        one = mild[row]
        for name in order:
            one = STEPS[name](one, float(three[name][row]))
        torch.testing.assert_close(ours[row], one, rtol=0, atol=5e-4)


def test_hue_commutes_with_the_other_steps(mild, factors):
    hue, three = (factors - 1) / 4, {"brightness": factors, "contrast": factors.flip(0), "saturation": factors.roll(50)}
    together = applied(mild, hue=hue, **three)
    torch.testing.assert_close(applied(applied(mild, hue=hue), **three), together, rtol=0, atol=1e-5)
    torch.testing.assert_close(applied(applied(mild, **three), hue=hue), together, rtol=0, atol=1e-5)


def test_grey_comes_last_and_equals_torchvision(image, factors):
    ours = applied(image, grey=torch.ones(260, dtype=torch.bool), saturation=factors, hue=(factors - 1) / 4)
    torch.testing.assert_close(ours, tv.rgb_to_grayscale(image, 3), rtol=0, atol=2e-4)


def test_neutral_images_stay_as_they_are(image):
    torch.testing.assert_close(applied(image), image, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", STEPS)
def test_factor_and_effect_hang_together_as_in_torchvision(image, factors, name):
    """On full-range photographs: the one clamp at the end changes hardly anything of a single step."""
    effect = {
        "brightness": lambda out: greys(out).mean(dim=(1, 2)) / greys(image).mean(dim=(1, 2)),
        "contrast": lambda out: greys(out).std(dim=(1, 2)) / greys(image).std(dim=(1, 2)),
        "saturation": lambda out: (
            (out - greys(out)[:, None]).square().mean(dim=(1, 2, 3)).sqrt()
            / (image - greys(image)[:, None]).square().mean(dim=(1, 2, 3)).sqrt()
        ),
    }[name]
    ours = effect(applied(image, **{name: factors}))
    theirs = effect(torch.stack([STEPS[name](one, float(f)) for one, f in zip(image, factors, strict=True)]))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)
    assert float(torch.corrcoef(torch.stack([factors, ours]))[0, 1]) > 0.9


def test_hue_turns_by_the_drawn_angle_in_the_direction_of_torchvision(image, factors):
    coloured = image[(image - greys(image)[:, None]).abs().mean(dim=(1, 2, 3)) > 0.1]
    hue = ((factors - 1) / 4)[: len(coloured)]
    assert len(coloured) > 50
    theirs = torch.stack([tv.adjust_hue(one, float(turn)) for one, turn in zip(coloured, hue, strict=True)])
    before = hue_angles(coloured)
    turned = [(hue_angles(out) - before + 0.5) % 1 - 0.5 for out in (applied(coloured, hue=hue), theirs)]
    for turn in turned:
        assert float(torch.corrcoef(torch.stack([hue.double(), turn]))[0, 1]) > 0.95
    assert float((turned[0] - turned[1]).abs().mean()) < 0.02


def test_hue_keeps_grey_values_and_turns_full_circle():
    turns = torch.linspace(-0.5, 0.5, 11)
    matrices = hue_matrices(turns)
    white = torch.ones(3, dtype=torch.float64)
    weights = torch.tensor(GREY, dtype=torch.float64)
    torch.testing.assert_close(matrices @ white, white.expand(11, 3))
    torch.testing.assert_close(weights @ matrices, weights.expand(11, 3))
    torch.testing.assert_close(matrices @ hue_matrices(-turns), torch.eye(3, dtype=torch.float64).expand(11, 3, 3))
    torch.testing.assert_close(matrices[0], matrices[-1])


def test_result_is_clamped_once_at_the_end(image):
    bright = applied(image, brightness=torch.full((260,), 1.4), contrast=torch.full((260,), 0.6))
    assert float(bright.max()) <= 1
    darkened_again = applied(image, brightness=torch.full((260,), 1.4), contrast=torch.full((260,), 0.0))
    wanted = (1.4 * greys(image).mean(dim=(1, 2))).clamp(max=1)
    torch.testing.assert_close(darkened_again.mean(dim=(1, 2, 3)), wanted, rtol=0, atol=1e-5)
