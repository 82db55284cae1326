"""Views of clips, draws for each frame, and flow as a view shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from likewise.errors import InputError
from likewise.views import make_clip_views, make_views, strong
from likewise.views.geometry.flows import flow_map, read_flow

POLICY = strong(12, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=(0.3, 0.8))


def clips(videos: int = 4, frames: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """The same image in all frames of each clip."""
    generator = torch.Generator().manual_seed(0)
    still = torch.randint(256, (videos, 2, 1, 16, 16, 3), dtype=torch.uint8, generator=generator)
    return still.repeat(1, 1, frames, 1, 1, 1), torch.full((videos, 2, frames, 2), 16)


def test_all_frames_of_a_clip_have_one_draw() -> None:
    pixels, sizes = clips()
    views = make_clip_views({"a": POLICY, "b": POLICY}, pixels, sizes, seed=1, step=2)
    for view in views.values():
        assert view.image.shape == (4, 3, 3, 12, 12)
        torch.testing.assert_close(view.image[:, :, 0], view.image[:, :, 2])
    alone = make_views({"b": POLICY}, pixels[:, 1, 0], sizes[:, 1, 0], seed=1, step=2)["b"]
    torch.testing.assert_close(views["b"].image[:, :, 0], alone.image)


def test_frames_can_have_a_draw_of_their_own_which_two_processes_make_as_one() -> None:
    pixels, sizes = clips()
    policy = {"a": replace(POLICY, each_frame=True)}
    whole = make_clip_views(policy, pixels, sizes, seed=1, step=2)["a"]
    assert (whole.image[:, :, 0] - whole.image[:, :, 1]).abs().amax((1, 2, 3)).min() > 0.01
    for rank in range(2):
        part = make_clip_views(policy, pixels[rank::2], sizes[rank::2], seed=1, step=2, rank=rank, world=2)["a"]
        torch.testing.assert_close(part.image, whole.image[rank::2])


def test_frames_of_different_sizes_are_refused() -> None:
    pixels, sizes = clips()
    sizes[0, 1, 2, 0] = 12
    with pytest.raises(InputError, match="frames of a clip have different sizes"):
        make_clip_views({"a": POLICY}, pixels, sizes, seed=0, step=0)


def test_flow_is_turned_and_stretched_as_the_view_is() -> None:
    field = torch.zeros(2, 3, 16, 16)
    field[:, 0], field[:, 1] = 2.0, 1.0  # cells of the grid, to the right and down
    field[:, 2] = 1.0
    box = torch.tensor([[0.0, 0.0, 0.5, 0.25], [0.25, 0.5, 1.0, 0.5]])
    flip = torch.tensor([False, True])
    points = torch.tensor([[[0.0, 0.0], [7.0, 3.0]]]).expand(2, -1, -1)
    flow, known = read_flow(field, box, flip, points, 8)
    torch.testing.assert_close(flow[0], torch.tensor([[4.0, 1.0]]).expand(2, -1))  # 8 px are 4 cells wide, 8 high
    torch.testing.assert_close(flow[1], torch.tensor([[-2.0, 0.5]]).expand(2, -1))
    assert known.all()


def test_flow_is_read_where_the_pixels_of_the_view_come_from() -> None:
    field = torch.zeros(1, 3, 16, 16)
    field[0, 0, :, :8] = 1.0
    box = torch.tensor([[0.0, 0.25, 1.0, 0.5]])
    whole = flow_map(field, box, torch.tensor([False]), 16)[0, 0]
    assert (whole[:, :7] > 0).all()
    assert not whole[:, 9:].any()
    mirrored = flow_map(field, box, torch.tensor([True]), 16)[0, 0]
    torch.testing.assert_close(mirrored, -whole.flip(1))
