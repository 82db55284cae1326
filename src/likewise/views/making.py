"""All views of a batch in one call: draw, then crop, then colours, a few pictures at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.views.devices import onto
from likewise.views.drawing import Draw, draw
from likewise.views.per_sample import per_sample_views
from likewise.views.photometry import Finisher
from likewise.views.policy import ViewPolicy
from likewise.views.spatial import Cropper, row_chunks, working_pixels
from likewise.views.view import View


@torch.no_grad()
def make_views(
    policies: Mapping[str, ViewPolicy],
    pixels_BHWC: Tensor,
    sizes_B2: Tensor,
    *,
    seed: int,
    step: int,
    rank: int = 0,
    world: int = 1,
) -> dict[str, View]:
    """One view of every picture for each role.

    `pixels_BHWC` is uint8 RGB on any device, padded at the bottom and at the right to equal size; `sizes_B2` holds the
    true height and width of each picture and is best kept on the CPU, where it is needed. Random parameters are a
    pure function of (`seed`, `step`, role, global row), where row b of process `rank` of `world` is global row
    b x `world` + `rank`. Images are float32, contiguous in torch.channels_last, on the device of the pixels; an
    enclosing autocast does not change them. Roles with a `per_sample` function carry no geometry.

    Raises InputError where pixels and sizes do not fit together.
    """
    sizes_B2 = _checked_sizes(pixels_BHWC, sizes_B2)
    place = {"seed": seed, "step": step, "rank": rank, "world": world}
    batched = {role: policy for role, policy in policies.items() if policy.per_sample is None}
    draws = {role: draw(policy, sizes_B2, role=role, **place) for role, policy in batched.items()}
    images = _rendered(batched, draws, pixels_BHWC)
    views = {}
    for role, policy in policies.items():
        if policy.per_sample is not None:
            image = per_sample_views(policy.per_sample, policy.size, pixels_BHWC, sizes_B2, role=role, **place)
            views[role] = View(image)
        else:
            geometry = draws[role].geometry
            box_B4, flip_B = (onto(part, pixels_BHWC.device) for part in (geometry.fractions(), geometry.flip))
            views[role] = View(images[role], box=box_B4, flip=flip_B)
    return views


def _rendered(policies: Mapping[str, ViewPolicy], draws: Mapping[str, Draw], pixels_BHWC: Tensor) -> dict[str, Tensor]:
    """The images of all roles. Each group of pictures passes through all of its views while it is in the cache."""
    batch, height, width, channels = pixels_BHWC.shape
    device = pixels_BHWC.device
    images = {
        role: torch.empty(
            (batch, 3, policy.size, policy.size),
            dtype=torch.float32,
            device=device,
            memory_format=torch.channels_last,
        )
        for role, policy in policies.items()
    }
    if not policies:
        return images
    finishers = {role: Finisher(draws[role].look, policy, device) for role, policy in policies.items()}
    values_each = channels * working_pixels(height, width, [policy.size for policy in policies.values()])
    with torch.autocast(device.type, enabled=False):
        for rows in row_chunks(batch, values_each, device):
            cropper = Cropper(pixels_BHWC[rows])
            for role, policy in policies.items():
                crop = cropper.crop(draws[role].geometry.rows(rows), policy.size, interpolation=policy.interpolation)
                finishers[role].write(crop, rows, images[role])
    return images


def _checked_sizes(pixels_BHWC: Tensor, sizes_B2: Tensor) -> Tensor:
    """Sizes on the CPU as int64. Raises InputError where they cannot belong to the pixels."""
    if pixels_BHWC.dim() != 4 or pixels_BHWC.shape[-1] != 3 or pixels_BHWC.dtype != torch.uint8:
        found = f"{pixels_BHWC.dtype} {tuple(pixels_BHWC.shape)}".removeprefix("torch.")
        raise InputError(f"views are made of uint8 pictures (B, H, W, 3), found {found}")
    if tuple(sizes_B2.shape) != (len(pixels_BHWC), 2):
        count = len(pixels_BHWC)
        raise InputError(f"sizes of {count} pictures have the shape ({count}, 2), found {tuple(sizes_B2.shape)}")
    sizes_B2 = sizes_B2.to("cpu", torch.int64)
    most_2 = torch.tensor(pixels_BHWC.shape[1:3])
    if bool((sizes_B2 < 1).any()) or bool((sizes_B2 > most_2).any()):
        raise InputError(f"picture sizes must lie between 1 and the padded {most_2[0]}x{most_2[1]} pixels")
    return sizes_B2
