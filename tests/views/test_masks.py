"""Masks and boxes stay with their pixels through crop, flip, resize, move and several crops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from likewise.errors import InputError
from likewise.views import Crop, ViewPolicy, centre, make_views, multi_crop, padded
from likewise.views.view import View

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def policies(size: int) -> dict[str, ViewPolicy]:
    """Without colours, so that the image of a mask is its mask."""
    bare = ViewPolicy(size=size, crop=Crop(scale=(0.1, 1.0)), colour=None, grey=0.0, blur=None, **PLAIN)
    moved = padded(size, pad=max(1, size // 8), **PLAIN)
    small = replace(bare, size=max(4, size // 2), crop=Crop(scale=(0.05, 0.3)))
    return {
        **multi_crop(bare, small, large_count=2, small_count=2),
        "moved": replace(moved, flip=0.5),
        "cubic": replace(bare, interpolation="bilinear", shared_flip=True),
        "middle": centre(size, fraction=0.7, **PLAIN),
    }


def drawn(sizes: list[tuple[int, int]], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose pixels are their own mask, the masks, and the sizes."""
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(len(sizes), height, width, dtype=torch.uint8)
    for row, (tall, wide) in enumerate(sizes):
        blocks = torch.rand(1, 1, 3, 3, generator=generator)
        masks[row, :tall, :wide] = 255 * (torch.nn.functional.interpolate(blocks, (tall, wide))[0, 0] > 0.5)
    return masks.unsqueeze(3).expand(-1, -1, -1, 3).contiguous(), masks, torch.tensor(sizes)


sides = st.integers(8, 40)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=4), st.sampled_from([8, 12, 16, 24]), st.integers(0, 999))
def test_masks_go_where_their_pixels_go(sizes: list[tuple[int, int]], size: int, seed: int) -> None:
    pixels, masks, sizes_B2 = drawn(sizes, seed)
    views = make_views(policies(size), pixels, sizes_B2, seed=seed, step=1, masks=masks)
    for role, view in views.items():
        assert view.mask is not None
        assert view.mask.shape == (len(sizes), 1, *view.image.shape[2:])
        torch.testing.assert_close(view.mask.expand(-1, 3, -1, -1), view.image, rtol=0, atol=0.01, msg=role)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([0, 255]), st.integers(0, 99))
def test_empty_masks_stay_empty_and_full_ones_full(value: int, seed: int) -> None:
    pixels = torch.randint(0, 256, (3, 20, 28, 3), dtype=torch.uint8)
    masks = torch.full((3, 20, 28), value, dtype=torch.uint8)
    bare = {role: policy for role, policy in policies(16).items() if role != "moved"}  # whose border is filled
    for view in make_views(bare, pixels, torch.tensor([[20, 28]] * 3), seed=seed, step=0, masks=masks).values():
        assert view.mask is not None
        assert torch.allclose(view.mask, torch.full((), value / 255))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999))
def test_crops_within_a_box_show_nothing_else(seed: int) -> None:
    """The object fills its box: a crop within shows it alone, mirrored or not."""
    generator = torch.Generator().manual_seed(seed)
    top, left = (torch.randint(0, 20, (2,), generator=generator) / 32).tolist()
    regions = torch.tensor([[[top, left, 0.25, 0.375], [0.0, 0.0, 0.0, 0.0]]])
    masks = torch.zeros(1, 32, 32, dtype=torch.uint8)
    masks[0, int(top * 32) : int(top * 32) + 8, int(left * 32) : int(left * 32) + 12] = 255
    within = {role: replace(policy, within_region=True) for role, policy in policies(8).items() if role != "moved"}
    pixels = masks.unsqueeze(3).expand(-1, -1, -1, 3).contiguous()
    sizes = torch.tensor([[32, 32]])
    views = make_views(within, pixels, sizes, seed=seed, step=0, regions=regions, masks=masks)
    for view in views.values():
        assert view.mask is not None
        assert float(view.mask.min()) > 0.99
        assert float(view.image.min()) > 0.99


def test_masks_change_nothing_else() -> None:
    pixels, masks, sizes = drawn([(20, 24), (16, 16)], 3)
    plain = make_views(policies(12), pixels, sizes, seed=1, step=2)
    masked = make_views(policies(12), pixels, sizes, seed=1, step=2, masks=masks)
    assert all(plain[role].image.equal(masked[role].image) and plain[role].mask is None for role in plain)


def test_what_composes_sees_the_masks_of_its_crops() -> None:
    pixels, masks, sizes = drawn([(20, 20)] * 2, 3)
    seen: dict[str, View] = {}

    def compose(crops: dict[str, View], generator: torch.Generator) -> dict[str, Tensor]:
        seen.update(crops)
        return {}

    views = make_views(policies(12), pixels, sizes, seed=1, step=2, masks=masks, compose=compose)
    assert all(view.mask is not None and view.mask.equal(seen[role].mask) for role, view in views.items())


def test_masks_of_another_shape_or_kind_are_refused() -> None:
    pixels, masks, sizes = drawn([(20, 20)] * 2, 3)
    for wrong in (masks[:1], masks[:, :10], masks.float()):
        with pytest.raises(InputError, match=r"masks are uint8 of shape \(2, 20, 20\)"):
            make_views(policies(12), pixels, sizes, seed=1, step=2, masks=wrong)
