"""Moved views are padded crops; regions; one flip for all views. Masks, flow and boxes go with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as tv

from likewise.errors import InputError
from likewise.views import (
    Crop,
    Shift,
    ViewPolicy,
    crop_and_flip,
    crop_and_flip_flow,
    crop_and_flip_mask,
    draw,
    make_views,
    padded,
    weak,
)
from likewise.views.drawing import Geometry
from likewise.views.geometry.regions import chosen_boxes

NEUTRAL = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
SIZES = torch.full((260, 2), 32)


def shifts(geometry: Geometry, side: int = 32) -> list[list[int]]:
    assert geometry.shift is not None
    return (geometry.shift * side).round().to(torch.int64).tolist()


@pytest.mark.parametrize("fill", ["zero", "reflect"])
def test_a_padded_crop_is_that_of_torchvision(small: Tensor, fill: str) -> None:
    policy = padded(32, pad=4, fill=fill, **NEUTRAL)
    geometry = draw(policy, SIZES, seed=0, step=0, role="a").geometry
    view = make_views({"a": policy}, small, SIZES, seed=0, step=0)["a"]
    image = small.permute(0, 3, 1, 2).float() / 255
    mode = {"zero": "constant", "reflect": "reflect"}[fill]
    for row, (down, right) in enumerate(shifts(geometry)):
        one = tv.hflip(image[row]) if geometry.flip[row] else image[row]
        wanted = tv.crop(tv.pad(one, [4], padding_mode=mode), 4 - down, 4 - right, 32, 32)
        torch.testing.assert_close(view.image[row], wanted, atol=1e-5, rtol=0)
    assert view.image.is_contiguous(memory_format=torch.channels_last)


def test_every_move_is_equally_likely_and_some_images_stay() -> None:
    policy = replace(weak(32, **NEUTRAL), shift=Shift(reach=0.125, probability=0.8))
    geometry = draw(policy, torch.full((20000, 2), 32), seed=0, step=0, role="a").geometry
    down = torch.tensor(shifts(geometry))[:, 0]
    shares = torch.bincount(down + 4, minlength=9) / 20000
    wanted = torch.full((9,), 0.8 / 9)
    wanted[4] += 0.2
    torch.testing.assert_close(shares, wanted, atol=0.01, rtol=0)
    plain = draw(weak(32, **NEUTRAL), torch.full((20000, 2), 32), seed=0, step=0, role="a").geometry
    assert torch.equal(plain.box, geometry.box)
    assert torch.equal(plain.flip, geometry.flip)


@pytest.mark.parametrize(("size", "most"), [(32, 1), (2, 1), (1, 0)])
def test_a_small_reach_is_a_pixel_where_there_is_room(size: int, most: int) -> None:
    policy = replace(weak(size, **NEUTRAL), shift=Shift(reach=0.01))
    geometry = draw(policy, SIZES, seed=0, step=0, role="a").geometry
    assert {down for down, _ in shifts(geometry, size)} == set(range(-most, most + 1))
    assert crop_and_flip(torch.ones(260, 32, 32, 3), geometry, size).shape == (260, 3, size, size)


def test_boxes_say_where_the_corners_lie() -> None:
    box = torch.tensor([[4, 8, 16, 16]] * 2)
    geometry = Geometry(box, torch.tensor([False, True]), torch.tensor([[32, 32]] * 2))
    moved = geometry._replace(shift=torch.tensor([[0.25, 0.5]] * 2, dtype=torch.float64))
    fractions = (moved.fractions() * 32).tolist()
    assert fractions[0] == [0.0, 0.0, 16.0, 16.0]
    assert fractions[1] == [0.0, 16.0, 16.0, 16.0], "a mirrored view moves the other way in its source"
    ramp = torch.arange(32.0).expand(2, 32, 32).unsqueeze(-1)  # each pixel holds its column
    view = crop_and_flip(ramp, moved, 16)
    for row in range(2):
        left = fractions[row][1]
        columns = left + torch.arange(16) if row == 0 else left + 15 - torch.arange(16)
        torch.testing.assert_close(view[row, 0, 5, 8:], columns[8:].float())


def test_masks_and_flow_go_with_the_view(small: Tensor) -> None:
    policy = padded(32, pad=6, **NEUTRAL)
    geometry = draw(policy, SIZES, seed=3, step=0, role="a").geometry
    mask = (small[..., 0] > 100).float()
    view = crop_and_flip_mask(mask, geometry, 32)
    assert torch.equal(view, crop_and_flip(mask.unsqueeze(-1), geometry, 32))
    half = crop_and_flip_mask(mask, geometry, 16)
    assert half.shape == (260, 1, 16, 16)

    # A flow that is the gradient of an image stays so in the view, mirrored border included.
    down, right = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    height = torch.sin(0.3 * right + 0.2 * down).expand(260, 32, 32)
    flow = torch.stack([0.3 * torch.cos(0.3 * right + 0.2 * down), 0.2 * torch.cos(0.3 * right + 0.2 * down)])
    moved_flow = crop_and_flip_flow(flow.expand(260, 2, 32, 32), geometry, 32)
    moved_height = crop_and_flip(height.unsqueeze(-1), geometry, 32)[:, 0]
    across = (moved_height[:, :, 2:] - moved_height[:, :, :-2]) / 2
    along = (moved_height[:, 2:] - moved_height[:, :-2]) / 2
    smooth_across = (across - moved_flow[:, 0, :, 1:-1]).abs() < 0.02
    smooth_along = (along - moved_flow[:, 1, 1:-1]).abs() < 0.02
    assert float(smooth_across.float().mean()) > 0.95, "all but the column of the mirror itself"
    assert float(smooth_along.float().mean()) > 0.95


def test_regions_are_drawn_one_of_several_for_all_roles(small: Tensor) -> None:
    regions = torch.zeros(260, 3, 4)
    regions[:, 0] = torch.tensor([0.0, 0.5, 0.25, 0.5])
    regions[:, 2] = torch.tensor([0.5, 0.0, 0.5, 0.25])
    regions[:5] = float("nan")
    inside = replace(weak(16, **NEUTRAL), crop=Crop(scale=(0.2, 1.0)), within_region=True)
    views = make_views({"a": inside, "b": inside}, small, SIZES, seed=0, step=0, regions=regions)
    first = torch.tensor([0.0, 0.5, 0.25, 1.0])
    second = torch.tensor([0.5, 0.0, 1.0, 0.25])
    which = []
    for view in views.values():
        top, left, height, width = view.box[5:].unbind(1)
        edges = torch.stack([top, left, top + height, left + width], dim=1)
        in_first = (edges[:, :2] >= first[:2] - 1e-6).all(1) & (edges[:, 2:] <= first[2:] + 1e-6).all(1)
        in_second = (edges[:, :2] >= second[:2] - 1e-6).all(1) & (edges[:, 2:] <= second[2:] + 1e-6).all(1)
        assert bool((in_first ^ in_second).all())
        which.append(in_first)
    assert torch.equal(which[0], which[1]), "both views are of one region"
    assert 0.35 < float(which[0].float().mean()) < 0.65
    plain = make_views({"a": replace(inside, within_region=False)}, small, SIZES, seed=0, step=0, regions=regions)
    assert torch.equal(plain["a"].box[:5], views["a"].box[:5]), "images without a region are shown whole"
    assert not torch.equal(plain["a"].box[5:], views["a"].box[5:])


def test_a_region_of_each_image_and_processes(small: Tensor) -> None:
    regions = torch.rand(260, 4, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.01
    inside = replace(weak(16, **NEUTRAL), within_region=True)
    whole = make_views({"a": inside}, small, SIZES, seed=0, step=0, regions=regions)["a"]
    box = whole.box.double() * 32
    begin = (regions[:, :2].double() * 32).round()
    end = ((regions[:, :2].double() + regions[:, 2:].double()) * 32).round()
    assert bool((box[:, :2] >= begin - 1e-4).all())
    assert bool((box[:, :2] + box[:, 2:] <= torch.maximum(end, begin + 1) + 1e-4).all())
    share = make_views({"a": inside}, small[1::2], SIZES[1::2], seed=0, step=0, rank=1, world=2, regions=regions[1::2])
    torch.testing.assert_close(share["a"].image, whole.image[1::2], atol=1e-5, rtol=0)


def test_regions_always_hold_a_pixel_of_the_image() -> None:
    edges = torch.tensor([[0.0, 0.0, 1e-9, 1e-9], [1.0, 1.0, 0.5, 0.5], [-0.5, 0.9, 3.0, 3.0], [0.2, 0.2, -1.0, 0.5]])
    sizes = torch.tensor([[1, 1], [7, 3], [10, 20], [5, 6]])
    for uniform in (0.0, 1.0 - 2**-53):
        box = chosen_boxes(edges.double().unsqueeze(1), torch.full((4,), uniform, dtype=torch.float64), sizes)
        assert bool((box[:, :2] >= 0).all())
        assert bool((box[:, 2:] >= 1).all())
        assert bool((box[:, :2] + box[:, 2:] <= sizes).all())
        assert box[3].tolist() == [0, 0, 5, 6]


def test_one_flip_for_all_views_of_an_image(small: Tensor) -> None:
    shared = replace(weak(16, **NEUTRAL), shared_flip=True)
    policies = {"a": shared, "b": shared, "own": weak(16, **NEUTRAL)}
    views = make_views(policies, small, SIZES, seed=0, step=0)
    assert torch.equal(views["a"].flip, views["b"].flip)
    assert 0.4 < float(views["a"].flip.float().mean()) < 0.6
    assert 0.3 < float((views["a"].flip == views["own"].flip).float().mean()) < 0.7
    assert not torch.equal(views["a"].flip, make_views(policies, small, SIZES, seed=0, step=1)["a"].flip)
    assert not torch.equal(views["a"].box, views["b"].box)
    share = make_views(policies, small[1::2], SIZES[1::2], seed=0, step=0, rank=1, world=2)
    assert torch.equal(share["b"].flip, views["b"].flip[1::2])
    assert not make_views({"a": shared.upright()}, small, SIZES, seed=0, step=0)["a"].flip.any()


@pytest.mark.parametrize("world", [2, 4])
def test_processes_move_the_views_of_one(small: Tensor, world: int) -> None:
    policy = replace(padded(32, pad=4, **NEUTRAL), shared_flip=True)
    whole = make_views({"a": policy}, small, SIZES, seed=0, step=0)["a"]
    for rank in range(world):
        rows = slice(rank, None, world)
        share = make_views({"a": policy}, small[rows], SIZES[rows], seed=0, step=0, rank=rank, world=world)["a"]
        torch.testing.assert_close(share.image, whole.image[rows], atol=1e-5, rtol=0)
        assert torch.equal(share.box, whole.box[rows])


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Shift(reach=0.6), "shift reach 0.6 is no share"),
        (lambda: Shift(fill="mirror"), "unknown fill 'mirror'"),
        (lambda: Shift(probability=-1), "not a probability"),
        (lambda: padded(32, pad=17, **NEUTRAL), "pad 17 is not valid: allowed are whole numbers from 1 to 16"),
        (
            lambda: draw(ViewPolicy(size=8, within_region=True), SIZES, seed=0, step=0, role="query"),
            "view 'query' is cropped within a region",
        ),
        (
            lambda: make_views({}, torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.full((2, 2), 4), seed=0, step=0,
                               regions=torch.zeros(2, 3)),
            r"\(2, R, 4\) or \(2, 4\), found \(2, 3\)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(build, says) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build()
    assert "\n" not in str(caught.value)
