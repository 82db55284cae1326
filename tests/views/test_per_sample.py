"""Views by a plain function of one image: seeded per image, nothing disturbed, results checked."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1

from likewise.errors import InputError
from likewise.views import from_callable, make_views


def noise(image: Image.Image) -> torch.Tensor:
    """One number from each source of randomness."""
    numbers = [torch.rand(()).item(), np.random.random(), random.random()]  # noqa: NPY002
    return torch.tensor(numbers).view(3, 1, 1).expand(3, 2, 2)


def made(pixels, function=noise, size=2, seed=0, step=0, role="own", **place):
    sizes = torch.tensor([pixels.shape[1:3]] * len(pixels))
    return make_views({role: from_callable(function, size)}, pixels, sizes, seed=seed, step=step, **place)[role].image


@pytest.fixture
def pixels(small):
    return small[:12]


def test_every_image_has_its_own_numbers_and_they_repeat(pixels):
    one = made(pixels)
    assert torch.equal(one, made(pixels))
    assert one.is_contiguous(memory_format=torch.channels_last)
    for source in range(3):
        assert len(one[:, source, 0, 0].unique()) == len(pixels)
        for other in (made(pixels, seed=1), made(pixels, step=1), made(pixels, role="second")):
            assert not torch.isclose(one, other)[:, source].any()


def test_processes_make_the_views_of_one(pixels):
    whole = made(pixels)
    for rank in range(3):
        assert torch.equal(made(pixels[rank::3], rank=rank, world=3), whole[rank::3])


def test_global_randomness_goes_on_as_if_nothing_had_been(pixels):
    def three():
        return torch.rand(2).tolist(), np.random.random(2).tolist(), [random.random() for _ in range(2)]  # noqa: NPY002

    for during in (lambda: None, lambda: made(pixels)):
        torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
        during()
        after = three()
        if during() is None:
            undisturbed = after
    assert after == undisturbed


def test_state_is_put_back_even_where_the_transform_fails(pixels):
    def fails(image: Image.Image) -> torch.Tensor:
        raise ZeroDivisionError

    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        made(pixels, fails)
    assert torch.equal(torch.get_rng_state(), state)


def test_transforms_of_torchvision_work_as_they_are(pixels):
    recipe = v1.Compose([v1.RandomResizedCrop(16), v1.RandomHorizontalFlip(), v1.ToTensor()])
    views = made(pixels, recipe, size=16)
    assert views.shape == (12, 3, 16, 16)
    assert torch.equal(views, made(pixels, recipe, size=16))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda image: image, "returned Image, needed is a float tensor of shape (3, 2, 2)"),
        (lambda image: torch.zeros(3, 4, 4), "returned float32 (3, 4, 4), needed is"),
        (lambda image: torch.zeros(3, 2, 2, dtype=torch.uint8), "returned uint8 (3, 2, 2), needed is"),
    ],
)
def test_other_results_are_refused_in_one_line(pixels, function, says):
    with pytest.raises(InputError) as caught:
        made(pixels, function)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
