"""Colours, blur, solarise, normalise in their order, against the same steps taken one by one with torchvision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from likewise.views import Solarise, crop_and_flip, draw, photometric, strong, weak

MEAN, STD = (0.45, 0.5, 0.4), (0.25, 0.2, 0.3)
POLICY = strong(32, mean=MEAN, std=STD, solarise=0.3)


def finished(policy, image, step=0):
    sizes = torch.full((len(image), 2), 32)
    look = draw(policy, sizes, seed=0, step=step, role="any").look
    return photometric(image, look, policy), look


@pytest.fixture
def image(small: Tensor) -> Tensor:
    return small.permute(0, 3, 1, 2) / 255.0


def normalised(image: Tensor) -> Tensor:
    return tv.normalize(image, list(MEAN), list(STD))


def test_weak_views_are_only_normalised(image):
    views, _ = finished(weak(32, mean=MEAN, std=STD), image)
    torch.testing.assert_close(views, normalised(image))
    assert views.is_contiguous(memory_format=torch.channels_last)


def test_solarise_equals_torchvision(image):
    policy = replace(weak(32, mean=MEAN, std=STD), solarise=Solarise(probability=0.4, threshold=0.6))
    views, look = finished(policy, image)
    assert 0 < int(look.solarise.sum()) < len(image)
    for one, view, chosen in zip(image, views, look.solarise.tolist(), strict=True):
        torch.testing.assert_close(view, normalised(tv.solarize(one, 0.6) if chosen else one))


def test_the_same_parameters_through_torchvision_give_the_same_images(image):
    """Step by step with torchvision's functions, hue in HSV and one clamp per step: means and spreads agree."""
    views, look = finished(POLICY, image)
    views = views * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    theirs = []
    for row, one in enumerate(image):
        factors = [float(part[row]) for part in look if part is not None]
        out = tv.adjust_brightness(one, factors[0])
        out = tv.adjust_saturation(tv.adjust_contrast(out, factors[1]), factors[2])
        out = tv.adjust_hue(out, factors[3])
        out = tv.rgb_to_grayscale(out, 3) if factors[4] else out
        out = tv.gaussian_blur(out, [13, 13], [factors[5]] * 2) if factors[5] else out
        theirs.append(tv.solarize(out, 0.5) if factors[6] else out)
    plain = ~look.solarise  # beside the threshold a small difference becomes a large one
    for of_image in (lambda out: out.mean(dim=(2, 3)), lambda out: out.std(dim=(2, 3))):
        ours, others = of_image(views)[plain], of_image(torch.stack(theirs))[plain]
        assert float((ours - others).abs().mean()) < 0.02
        assert float(torch.corrcoef(torch.stack([ours.flatten(), others.flatten()]))[0, 1]) > 0.98


@pytest.mark.parametrize("transforms", [v1, v2], ids=["v1", "v2"])
def test_strong_views_have_the_statistics_of_torchvision(small, transforms):
    """Whole recipe, own randomness: moments over many images. The standard errors are about 0.004."""
    recipe = transforms.Compose([
        transforms.RandomResizedCrop(32, scale=(0.2, 1.0), antialias=True),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomApply([transforms.GaussianBlur(13, sigma=(0.1, 2.0))], p=0.5),
        transforms.RandomHorizontalFlip(),
    ])  # fmt: skip
    images = small.permute(0, 3, 1, 2) / 255.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.stack([recipe(one) for _ in range(4) for one in images])
    policy = strong(32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    ours = []
    for step in range(4):
        one = draw(policy, torch.full((len(small), 2), 32), seed=0, step=step, role="any")
        ours.append(photometric(crop_and_flip(small, one.geometry, 32), one.look, policy))
    for moment in (
        lambda out: out.mean(dim=(0, 2, 3)),  # level of each channel
        lambda out: out.std(dim=(2, 3)).mean(dim=0),  # spread within images
        lambda out: out.mean(dim=(2, 3)).std(dim=0),  # spread between images
        lambda out: (out.amax(dim=1) - out.amin(dim=1)).mean(),  # colourfulness
        lambda out: out.diff(dim=3).abs().mean(),  # sharpness
    ):
        torch.testing.assert_close(moment(torch.cat(ours)), moment(theirs), rtol=0.05, atol=0.006)


def test_the_image_given_is_kept(image):
    before = image.clone()
    finished(POLICY, image)
    assert torch.equal(image, before)


def test_channels_last_images_are_taken_as_well(image):
    views, look = finished(POLICY, image)
    again = photometric(image.contiguous(memory_format=torch.channels_last), look, POLICY)
    torch.testing.assert_close(again, views, rtol=0, atol=1e-5)


def test_results_stay_in_range(image):
    views, _ = finished(replace(POLICY, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), image)
    assert float(views.min()) >= -1e-5
    assert float(views.max()) <= 1 + 1e-5
