"""Crop, flip and resize: equal to the antialiased resize of PyTorch and of Pillow, box by box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from likewise.views import Crop, ViewPolicy, crop_and_flip, crop_and_flip_flow, crop_and_flip_mask, draw
from likewise.views.drawing import Geometry
from likewise.views.geometry import spatial as spatial_module
from likewise.views.geometry.resampling import axis_weights, by_images, by_matrices

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def geometry_of(sizes, seed=0, scale=(0.05, 1.0)) -> Geometry:
    return draw(ViewPolicy(size=1, crop=Crop(scale=scale)), sizes, seed=seed, step=0, role="any").geometry


def resized(image_HWC, box, flip, size, interpolation):
    """One box by PyTorch's own resize, in float64."""
    top, left, height, width = box.tolist()
    box_1CHW = image_HWC[top : top + height, left : left + width].permute(2, 0, 1)[None].double()
    view = functional.interpolate(box_1CHW, (size, size), mode=interpolation, antialias=True)[0]
    return view.flip(-1) if flip else view


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("size", [1, 7, 24, 64, 150])
def test_matrices_equal_the_antialiased_resize(ragged, interpolation, size):
    pixels, sizes = ragged
    geometry = geometry_of(sizes)
    ours = by_matrices(pixels.permute(0, 3, 1, 2).float(), geometry, size, interpolation)
    for row, image in enumerate(pixels):
        theirs = resized(image, geometry.box[row], geometry.flip[row], size, interpolation)
        torch.testing.assert_close(ours[row].double(), theirs, rtol=0, atol=2e-3)  # of 255


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("size", [1, 24, 150])
def test_images_one_by_one_equal_pillow_to_one_level(ragged, interpolation, size):
    pixels, sizes = ragged
    geometry = geometry_of(sizes, seed=3)
    ours = by_images(pixels, geometry, size, interpolation)
    assert ours.dtype == torch.uint8
    for row, image in enumerate(pixels):
        top, left, height, width = geometry.box[row].tolist()
        part = Image.fromarray(image[top : top + height, left : left + width].numpy())
        theirs = np.asarray(part.resize((size, size), FILTERS[interpolation]), dtype=np.int64)
        theirs = theirs[:, ::-1] if geometry.flip[row] else theirs
        difference = np.abs(ours[row].permute(1, 2, 0).numpy() - theirs)
        assert difference.max() <= (1 if interpolation == "bilinear" else 2)
        assert difference.mean() < 0.3


@pytest.mark.parametrize("interpolation", FILTERS)
def test_both_ways_agree_to_the_rounding(patches, interpolation, monkeypatch):
    geometry = geometry_of(torch.full((len(patches), 2), 64))
    views = []
    for limit in (0, 2**60):
        monkeypatch.setattr(spatial_module, "_MATRIX_LIMIT", limit)
        views.append(crop_and_flip(patches, geometry, 48, interpolation=interpolation))
    difference = (views[0] - views[1]).abs() * 255
    assert float(difference.mean()) < 0.4
    # Between the two axes 8-bit values are cut off where the cubic overshoots, as in Pillow; floats are not.
    assert float((difference > 1.01).float().mean()) <= (0.0 if interpolation == "bilinear" else 1e-3)
    assert float(views[1].min()) >= 0
    assert float(views[1].max()) <= 1 + 1e-6


def test_size_and_device_decide_the_way():
    sizes, here = torch.tensor([[32, 32], [256, 256]]), torch.device("cpu")
    assert spatial_module.matrices_are_faster(sizes, 32, here).tolist() == [True, False]
    assert spatial_module.matrices_are_faster(sizes, 224, torch.device("meta")).all()


@pytest.mark.parametrize("interpolation", FILTERS)
def test_an_image_looks_the_same_whatever_is_beside_it(ragged, interpolation):
    pixels, sizes = ragged
    geometry = geometry_of(sizes)._replace(shift=torch.full((len(sizes), 2), 0.25, dtype=torch.float64))
    together = crop_and_flip(pixels, geometry, 32, interpolation=interpolation)
    for row, (height, width) in enumerate(sizes.tolist()):
        one = slice(row, row + 1)
        alone = crop_and_flip(pixels[one, :height, :width], geometry.rows(one), 32, interpolation=interpolation)
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-6)


def test_chunks_change_nothing(small, monkeypatch):
    geometry = geometry_of(torch.full((len(small), 2), 32))
    whole = crop_and_flip(small, geometry, 32)
    monkeypatch.setattr(spatial_module, "_CACHE_BYTES", 1)
    torch.testing.assert_close(crop_and_flip(small, geometry, 32), whole, rtol=0, atol=1e-6)


def test_padding_never_shows(ragged):
    pixels, sizes = ragged
    geometry = geometry_of(sizes)
    before = [crop_and_flip(pixels, geometry, size) for size in (16, 150)]
    noisy = pixels.clone()
    for row, (height, width) in enumerate(sizes.tolist()):
        noisy[row, height:], noisy[row, :, width:] = 255, 255
    for size, view in zip((16, 150), before, strict=True):
        assert torch.equal(crop_and_flip(noisy, geometry, size), view)


def test_flip_mirrors(small):
    geometry = geometry_of(torch.full((len(small), 2), 32))
    mirrored = geometry._replace(flip=~geometry.flip)
    there, back = crop_and_flip(small, geometry, 32), crop_and_flip(small, mirrored, 32)
    torch.testing.assert_close(there, back.flip(-1), rtol=0, atol=1e-6)


def test_the_whole_image_at_its_own_size_is_itself(small):
    count = len(small)
    whole = torch.tensor([[0, 0, 32, 32]] * count)
    geometry = Geometry(whole, torch.zeros(count, dtype=torch.bool), torch.full((count, 2), 32))
    torch.testing.assert_close(crop_and_flip(small, geometry, 32), small.permute(0, 3, 1, 2) / 255.0)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 20), st.booleans(), st.sampled_from(list(FILTERS)))
def test_weights_sum_to_one_and_stay_within_the_box(length, size, start, mirror, interpolation):
    weights = axis_weights(
        torch.tensor([start]),
        torch.tensor([length]),
        start + length + 5,
        size,
        mirror_B=torch.tensor([mirror]),
        interpolation=interpolation,
    )[0]
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(size))
    assert not weights[:, :start].any()
    assert not weights[:, start + length :].any()


def test_masks_go_where_the_image_goes(patches):
    mask = (patches[..., 0] > 128).float()
    geometry = geometry_of(torch.full((len(patches), 2), 64))
    as_svg = crop_and_flip(mask[..., None].repeat(1, 1, 1, 3), geometry, 24)
    as_mask = crop_and_flip_mask(mask, geometry, 24)
    assert as_mask.shape == (len(patches), 1, 24, 24)
    torch.testing.assert_close(as_mask, as_svg[:, :1])
    assert float(as_mask.min()) >= 0
    assert float(as_mask.max()) <= 1


def test_flow_still_points_to_the_same_place():
    """A flow that everywhere points to the middle of the image, still points to it in every view."""
    middle = 31.5
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    flow = torch.stack([middle - columns, middle - rows]).expand(50, -1, -1, -1)
    geometry = geometry_of(torch.full((50, 2), 64), scale=(0.2, 1.0))
    view = crop_and_flip_flow(flow, geometry, 40)
    inner = torch.arange(4.0, 36.0)  # at the border a resized ramp is flat
    goal_x = inner + view[:, 0, 20, 4:36]
    goal_y = inner + view[:, 1, 4:36, 20]
    top, left, height, width = geometry.box.unbind(1)
    seen_x = (middle + 0.5 - left) / width * 40 - 0.5
    seen_x = torch.where(geometry.flip, 39 - seen_x, seen_x)
    seen_y = (middle + 0.5 - top) / height * 40 - 0.5
    # A widened triangle sampled at whole pixels keeps a ramp only to a tenth of a pixel.
    torch.testing.assert_close(goal_x, seen_x[:, None].expand(-1, 32), rtol=0, atol=0.1)
    torch.testing.assert_close(goal_y, seen_y[:, None].expand(-1, 32), rtol=0, atol=0.1)
