"""Views by a plain function of one image, for transforms without a batched version."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from likewise.errors import InputError
from likewise.views.drawing import stream_seed
from likewise.views.policies.policy import PerSample


@contextmanager
def _global_randomness_kept() -> Iterator[None]:
    """Put the CPU generators of torch, numpy and random back as they were."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


def _seed_globally(seed: int) -> None:
    """Seed what a transform may draw from. Generators of accelerators are left alone."""
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def per_sample_views(
    function: PerSample, size: int, pixels_BHWC: Tensor, sizes_B2: Tensor, *, seed: int, step: int, role: str,
    rank: int = 0, world: int = 1,
) -> Tensor:  # fmt: skip
    """Call `function` on each image as a PIL image, seeded per (seed, step, role, global row).

    Returns (B, 3, size, size) float32 in torch.channels_last on the device of the pixels. The state of the global
    generators is the same before and after. Raises InputError where the function returns something else than a float
    tensor (3, size, size).
    """
    views = []
    images = pixels_BHWC.cpu().numpy()
    with _global_randomness_kept():
        for row, (image, (height, width)) in enumerate(zip(images, sizes_B2.tolist(), strict=True)):
            _seed_globally(stream_seed(seed, step, role, row * world + rank))
            views.append(_checked(function(Image.fromarray(image[:height, :width])), size, role))
    return torch.stack(views).to(pixels_BHWC.device, torch.float32).contiguous(memory_format=torch.channels_last)


def _checked(view: object, size: int, role: str) -> Tensor:
    """The view itself where it is one. Raises InputError."""
    wanted = f"a float tensor of shape (3, {size}, {size})"
    if not isinstance(view, Tensor):
        raise InputError(f"the transform of view {role!r} returned {type(view).__name__}, needed is {wanted}")
    if tuple(view.shape) != (3, size, size) or not view.is_floating_point():
        found = f"{view.dtype} {tuple(view.shape)}".removeprefix("torch.")
        raise InputError(f"the transform of view {role!r} returned {found}, needed is {wanted}")
    return view.detach()
