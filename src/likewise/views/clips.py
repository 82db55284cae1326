"""Views of clips: one draw of a view for all frames of a clip, so that only the scene moves.

Shapes: B videos, C clips of each, F frames of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.views.devices import onto
from likewise.views.drawing import Draw, Look, draw
from likewise.views.making import rendered
from likewise.views.policies.policy import ViewPolicy
from likewise.views.view import View


@torch.no_grad()
def make_clip_views(
    policies: Mapping[str, ViewPolicy],
    pixels_BCFHWC: Tensor,
    sizes_BCF2: Tensor,
    *,
    seed: int,
    step: int,
    rank: int = 0,
    world: int = 1,
) -> dict[str, View]:
    """One view of a clip of every video for each role: the first role sees the first clip, and so on, again from there.

    Pixels are uint8, as `likewise.views.make_views` takes them, with two more dimensions; random parameters are the
    same pure function. An image is (B, 3, F, S, S), or (B, 3, S, S) where a clip is a single frame; box and flip are
    those of all its frames, or of the first where the policy draws for each frame.

    Raises InputError where the frames of a clip differ in size, and for policies that make images one by one.
    """
    sizes_BCF2 = sizes_BCF2.to("cpu", torch.int64)
    if bool((sizes_BCF2 != sizes_BCF2[:, :, :1]).any()):
        raise InputError("the frames of a clip have different sizes: all frames of a video need the same")
    clips, frames = pixels_BCFHWC.shape[1:3]
    views = {}
    for number, (role, policy) in enumerate(policies.items()):
        if policy.per_sample is not None:
            raise InputError(f"view {role!r} is made image by image, which clips cannot be")
        clip = number % clips
        place: dict[str, Any] = {"seed": seed, "step": step, "rank": rank, "world": world}
        sizes_B2, whole = sizes_BCF2[:, clip, 0], pixels_BCFHWC[:, clip]
        drawn = draw(policy, sizes_B2, role=role, **place)
        if policy.each_frame:
            each = [drawn, *(draw(policy, sizes_B2, role=f"{role}/{frame}", **place) for frame in range(1, frames))]
            parts = [
                rendered({role: policy}, {role: own}, whole[:, frame].contiguous())[role]
                for frame, own in enumerate(each)
            ]
            image = torch.stack(parts, 1).flatten(0, 1)
        else:
            image = rendered({role: policy}, {role: _for_frames(drawn, frames)}, whole.flatten(0, 1))[role]
        if frames > 1:
            image = image.view(-1, frames, *image.shape[1:]).transpose(1, 2).contiguous()
        box_B4, flip_B = (onto(part, image.device) for part in (drawn.geometry.fractions(), drawn.geometry.flip))
        views[role] = View(image, box=box_B4, flip=flip_B)
    return views


def _for_frames(drawn: Draw, frames: int) -> Draw:
    """The draw of each clip for each of its frames."""
    geometry = drawn.geometry
    repeated = geometry._replace(
        box=geometry.box.repeat_interleave(frames, 0),
        flip=geometry.flip.repeat_interleave(frames, 0),
        sizes=geometry.sizes.repeat_interleave(frames, 0),
        shift=None if geometry.shift is None else geometry.shift.repeat_interleave(frames, 0),
    )
    look = Look._make(None if part is None else part.repeat_interleave(frames, 0) for part in drawn.look)
    return Draw(repeated, look)
