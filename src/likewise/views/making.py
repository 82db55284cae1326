"""All views of a batch in one call: draw, then crop, then colours, a few images at a time.

Where a method composes images, all crops are made first, handed to it, and then finished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from likewise.errors import InputError, unknown
from likewise.views.colours.photometry import Finisher, photometric
from likewise.views.devices import onto
from likewise.views.drawing import Draw, draw, stream_seed
from likewise.views.geometry.regions import checked_regions
from likewise.views.geometry.spatial import Cropper, crop_and_flip, crop_and_flip_mask, row_chunks, working_pixels
from likewise.views.per_sample import per_sample_views
from likewise.views.policies.policy import ViewPolicy
from likewise.views.view import View

Compose = Callable[[Mapping[str, View], torch.Generator], Mapping[str, Tensor]]
"""What composes images between crop and colours: the crops by role, (B, 3, S, S) in [0, 1], and a generator on the CPU
-> the images by role that take their place; roles that it leaves out keep theirs."""


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
    regions: Tensor | None = None,
    compose: Compose | None = None,
    masks: Tensor | None = None,
) -> dict[str, View]:
    """One view of every image for each role.

    `pixels_BHWC` is uint8 RGB on any device, padded at the bottom and at the right to equal size; `sizes_B2` holds the
    true height and width of each image and is best kept on the CPU, where it is needed. Random parameters are a
    pure function of (`seed`, `step`, role, global row), where row b of process `rank` of `world` is global row
    b x `world` + `rank`. Images are float32, contiguous in torch.channels_last, on the device of the pixels; an
    enclosing autocast does not change them. Roles with a `per_sample` function carry no geometry.

    `regions` are for policies with `within_region`: (B, R, 4) or (B, 4), top, left, height and width as fractions of
    each image; height or width of 0 stands for none. `compose` may put other images into the place of crops, before
    their colours are changed. Its generator follows from (`seed`, `step`), and is the same in all processes: it draws
    for the whole batch, of which this process has the rows `rank`, `rank` + `world`, ....

    Raises InputError where pixels, sizes, regions and masks do not fit together, and where `compose` returns other
    roles or shapes than it was given.
    """
    sizes_B2 = _checked_sizes(pixels_BHWC, sizes_B2)
    place = {"seed": seed, "step": step, "rank": rank, "world": world}
    regions_BR4 = None if regions is None else checked_regions(regions, len(pixels_BHWC))
    batched = {role: policy for role, policy in policies.items() if policy.per_sample is None}
    draws = {
        role: draw(policy, sizes_B2, role=role, regions_BR4=regions_BR4, **place) for role, policy in batched.items()
    }
    cut = {} if masks is None else _masks(batched, draws, _checked_masks(masks, pixels_BHWC))
    if compose is None:
        made = _with_geometry(rendered(batched, draws, pixels_BHWC), draws, cut)
    else:
        generator = torch.Generator().manual_seed(stream_seed(seed, step, "/compose"))
        made = _composed(batched, draws, pixels_BHWC, cut, compose, generator)
    views = {}
    for role, policy in policies.items():
        if policy.per_sample is not None:
            image = per_sample_views(policy.per_sample, policy.size, pixels_BHWC, sizes_B2, role=role, **place)
            views[role] = View(image)
        else:
            views[role] = made[role]
    return views


def _checked_masks(masks_BHW: Tensor, pixels_BHWC: Tensor) -> Tensor:
    """The masks. Raises InputError where they do not belong to the pixels."""
    if masks_BHW.dtype != torch.uint8 or masks_BHW.shape != pixels_BHWC.shape[:3]:
        wanted = tuple(pixels_BHWC.shape[:3])
        raise InputError(f"masks are uint8 of shape {wanted} here, found {masks_BHW.dtype} {tuple(masks_BHW.shape)}")
    return masks_BHW


def _masks(policies: Mapping[str, ViewPolicy], draws: Mapping[str, Draw], masks_BHW: Tensor) -> dict[str, Tensor]:
    """The mask of each view, (B, 1, S, S) in [0, 1]."""
    return {
        role: crop_and_flip_mask(masks_BHW.float() / 255.0, draws[role].geometry, policy.size)
        for role, policy in policies.items()
    }


def _with_geometry(
    images: Mapping[str, Tensor], draws: Mapping[str, Draw], masks: Mapping[str, Tensor]
) -> dict[str, View]:
    """The images with where they came from, and their masks."""
    views = {}
    for role, image in images.items():
        geometry = draws[role].geometry
        box_B4, flip_B = (onto(part, image.device) for part in (geometry.fractions(), geometry.flip))
        views[role] = View(image, box=box_B4, flip=flip_B, mask=masks.get(role))
    return views


def _composed(
    policies: Mapping[str, ViewPolicy],
    draws: Mapping[str, Draw],
    pixels_BHWC: Tensor,
    masks: Mapping[str, Tensor],
    compose: Compose,
    generator: torch.Generator,
) -> dict[str, View]:
    """Views whose crops pass through `compose`. Raises InputError for what does not fit."""
    images = {
        role: crop_and_flip(pixels_BHWC, draws[role].geometry, policy.size, interpolation=policy.interpolation)
        for role, policy in policies.items()
    }
    crops = _with_geometry(images, draws, masks)
    placed = compose(crops, generator)
    for role, image in placed.items():
        if role not in crops:
            raise unknown("role of a composed view", role, crops)
        if image.shape != images[role].shape:
            found, wanted = tuple(image.shape), tuple(images[role].shape)
            raise InputError(f"the composed images of view {role!r} have the shape {found}, needed is {wanted}")
    images |= placed
    return {
        role: view._replace(image=photometric(images[role], draws[role].look, policies[role]))
        for role, view in crops.items()
    }


def rendered(policies: Mapping[str, ViewPolicy], draws: Mapping[str, Draw], pixels_BHWC: Tensor) -> dict[str, Tensor]:
    """The images of all roles. Each group of images passes through all of its views while it is in the cache."""
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
        raise InputError(f"views are made of uint8 images (B, H, W, 3), found {found}")
    if tuple(sizes_B2.shape) != (len(pixels_BHWC), 2):
        count = len(pixels_BHWC)
        raise InputError(f"sizes of {count} images have the shape ({count}, 2), found {tuple(sizes_B2.shape)}")
    sizes_B2 = sizes_B2.to("cpu", torch.int64)
    most_2 = torch.tensor(pixels_BHWC.shape[1:3])
    if bool((sizes_B2 < 1).any()) or bool((sizes_B2 > most_2).any()):
        raise InputError(f"image sizes must lie between 1 and the padded {most_2[0]}x{most_2[1]} pixels")
    return sizes_B2
