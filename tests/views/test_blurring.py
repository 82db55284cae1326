"""Gaussian blur: equal to its definition and to Pillow's, the same by both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy import ndimage
from torch import Tensor

from likewise.views.colours import blurring
from likewise.views.colours.blurring import blur, blur_matrices, kernels


@pytest.fixture(params=["matrices", "shifts"])
def way(request, monkeypatch):
    monkeypatch.setattr(blurring, "_MATRIX_LIMIT", {"matrices": 10_000, "shifts": 0}[request.param])


def as_floats(pixels_BHWC: Tensor) -> Tensor:
    return pixels_BHWC.permute(0, 3, 1, 2).contiguous() / 255.0


def kernel_of(deviation: float) -> np.ndarray:
    """The definition: a box with fractional ends that has a third of the variance, three times in a row."""
    variance = deviation**2 / 3
    side = max(n for n in range(99) if n * (n + 1) / 3 <= variance)  # a plain box of 2 n + 1 pixels has n (n + 1) / 3
    last = (2 * side + 1) * (variance - side * (side + 1) / 3) / (2 * ((side + 1) ** 2 - variance))
    box = np.array([last, *[1.0] * (2 * side + 1), last])
    return np.convolve(np.convolve(box, box), box) / box.sum() ** 3


def smooth(image_CHW: Tensor, deviation: float) -> np.ndarray:
    """Its kernel along both axes, border pixels going on."""
    rows = ndimage.convolve1d(image_CHW.double().numpy(), kernel_of(deviation), axis=1, mode="nearest")
    return ndimage.convolve1d(rows, kernel_of(deviation), axis=2, mode="nearest")


@pytest.mark.usefixtures("way")
def test_equals_its_definition(patches):
    image = as_floats(patches[:40])[:, :, :50]  # not square
    sigma = torch.linspace(0.11, 3.2, 40)
    for before, after, deviation in zip(image, blur(image, sigma), sigma.tolist(), strict=True):
        np.testing.assert_allclose(after.numpy(), smooth(before, deviation), atol=5e-6)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3)])
def test_images_smaller_than_the_kernel(shape):
    image = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    for before, after, deviation in zip(image, blur(image, torch.tensor([0.5, 4.1])), (0.5, 4.1), strict=True):
        np.testing.assert_allclose(after.numpy(), smooth(before, deviation), atol=5e-6)


@pytest.mark.usefixtures("way")
def test_input_is_kept(patches):
    image = as_floats(patches[:4])
    before = image.clone()
    blur(image, torch.full((4,), 1.0))
    assert torch.equal(image, before)


@pytest.mark.parametrize("deviation", [0.3, 0.5, 0.8, 1.0, 1.3, 1.7, 2.0, 3.5])
def test_equals_pillow_to_its_rounding(photos, deviation):
    """Pillow rounds to 8 bits six times on the way and takes each box over the border anew."""
    photo = photos[0][:200, :300]
    ours = blur(as_floats(torch.from_numpy(photo.copy())[None]), torch.tensor([deviation]))[0].permute(1, 2, 0) * 255
    theirs = np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(deviation)), dtype=np.float64)
    difference = np.abs(ours.numpy() - theirs)
    assert difference.mean() < 0.6
    assert difference[12:-12, 12:-12].max() < 3
    assert difference.max() < 20
    energy = [sum(np.square(np.diff(out, axis=axis)).mean() for axis in (0, 1)) for out in (ours.numpy(), theirs)]
    assert energy[0] == pytest.approx(energy[1], rel=0.03)


def test_wide_kernels_are_gaussians():
    weights = kernels(torch.tensor([4.0]))[0]
    gauss = torch.exp(-(torch.arange(len(weights)) ** 2) / 32)
    torch.testing.assert_close(weights, gauss / (2 * gauss.sum() - 1), rtol=0, atol=0.006)


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.5, 1.0, 1.4142, 1.99, 2.0, 7.0])
def test_every_deviation_has_its_variance(sigma):
    weights = kernels(torch.tensor([0.7, sigma, 3.0]))[1].double()
    variance = 2 * (weights * torch.arange(len(weights)) ** 2).sum()
    assert float(variance) == pytest.approx(sigma**2, rel=2e-3)


def test_kernels_and_matrices_sum_to_one():
    half = kernels(torch.tensor([0.1, 0.7, 2.0, 9.0]))
    torch.testing.assert_close(2 * half.sum(dim=1) - half[:, 0], torch.ones(4))
    assert bool((half >= 0).all())
    for side in (1, 2, 5, 32):
        matrices = blur_matrices(half, side)
        torch.testing.assert_close(matrices.sum(dim=2), torch.ones(4, side))
        assert bool((matrices >= -1e-6).all())
