"""Eidolons as published: images disarrayed over a Gaussian scale space (Koenderink et al., Journal of Vision 2017).

Reproduces the stimuli of the model-vs-human benchmark, its slips included: blurs wrap from row to row, and a noise
plane loses its mean over its deviation rather than its mean. Shapes: H x W of the padded plane, N scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from likewise.errors import InputError

Plane = NDArray[np.float64]

FIRST_SCALE = 1 / math.sqrt(2)
"""Deviation of the finest blur in pixels; each next one is sqrt(2) times as wide."""


def luma(image_HW3: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(h, w) 8-bit luma of an image whose longer side is brought to `size` (Lanczos)."""
    from PIL import Image

    image = Image.fromarray(image_HW3)
    scale = size / max(image.size)
    if scale != 1.0:
        wide, high = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((wide, high), Image.Resampling.LANCZOS)
    return np.asarray(image.convert("L"))


def _side(length: int) -> int:
    return 1 << math.ceil(math.log2(1.5 * length))


def padded(grey_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image in a plane of powers of two from 1.5 times its sides on, the margins filled by mirroring."""
    height, width = grey_hw.shape
    plane_height, plane_width = _side(height), _side(width)
    left, top = (plane_width - width) // 2, (plane_height - height) // 2
    across = np.pad(grey_hw, ((0, 0), (left, plane_width - width - left)), mode="symmetric")
    return np.pad(across, ((top, plane_height - height - top), (0, 0)), mode="symmetric")


def scales(size: int) -> list[float]:
    """Deviations of the blurs for an image whose longer side is `size`."""
    count = math.ceil(2 * math.log2(size / 4))
    return [FIRST_SCALE * math.sqrt(2) ** number for number in range(count)]


@lru_cache(maxsize=32)
def _kernel(height: int, width: int, std: float) -> NDArray[np.complex128]:
    """Spectrum of the blur's kernel, its rows put end to end."""

    def sampled(length: int) -> Plane:
        offset = np.concatenate([np.arange(length // 2 + 1), -np.arange(length // 2 - 1, 0, -1)]).astype(float)
        return np.asarray(np.exp(-(offset**2) / (2 * std**2)) / (math.sqrt(2 * math.pi) * std), dtype=np.float64)

    found: NDArray[np.complex128] = fft.rfft(np.outer(sampled(height), sampled(width)).ravel())
    return found


def blurred(plane_HW: Plane, std: float) -> Plane:
    """The plane under a Gaussian of `std` pixels, as ONE circular convolution of its rows put end to end."""
    found: Plane = _blurs(plane_HW, [std])[0]
    return found


def _blurs(plane_HW: Plane, stds: list[float]) -> Plane:
    """(len(stds), H, W) blurs of one plane."""
    spectrum = fft.rfft(plane_HW.ravel())
    products = np.stack([spectrum * _kernel(*plane_HW.shape, std) for std in stds])
    found: Plane = fft.irfft(products, plane_HW.size).reshape(-1, *plane_HW.shape)
    return found


def slices(plane_HW: Plane, stds: list[float]) -> Plane:
    """(N, H, W) differences of neighbouring blurs, the last the coarsest blur itself: they sum to the finest blur."""
    found = _blurs(plane_HW, stds)
    found[:-1] -= found[1:]
    return found


def _noise(field_HW: Plane, std: float) -> Plane:
    field = np.clip(field_HW * (127.5 / np.abs(field_HW).max()), -127.0, 127.0)
    field = blurred(field, std)
    found: Plane = field - field.mean() / field.std()
    return found


@dataclass(frozen=True, kw_only=True)
class Eidolon:
    """How far, how coherently and how coarsely an image is disarrayed."""

    reach: float
    """Displacement in units of the noise planes' deviation; 0 leaves the finest blur of the image."""
    coherence: float = 1.0
    """1: all scales move together (eidolon I); 0: each by itself (III); .3: eidolon II."""
    grain: float = 10.0
    """Blur of the incoherent displacement in pixels."""

    def __post_init__(self) -> None:
        if self.reach < 0 or not 0 <= self.coherence <= 1 or self.grain <= 0:
            raise InputError(f"{self}: allowed are a reach from 0, a coherence of 0 to 1, and a grain above 0")


def eidolon(image_HW3: NDArray[np.uint8], how: Eidolon, seed: int, *, size: int = 256) -> NDArray[np.uint8]:
    """(h, w) 8-bit eidolon of an image, whose longer side becomes `size`; the same seed gives the same eidolon."""
    grey_hw = luma(image_HW3, size)
    plane = padded(grey_hw).astype(np.float64)
    layers = slices(plane, scales(size))
    height, width = plane.shape
    moves = _displacements(height, width, how.coherence, how.grain, size, seed)
    top, left = (height - grey_hw.shape[0]) // 2, (width - grey_hw.shape[1]) // 2
    inside = slice(top, top + grey_hw.shape[0]), slice(left, left + grey_hw.shape[1])
    rows, columns = np.mgrid[inside]  # the margin is looked into and never looked at
    moved = np.zeros(grey_hw.shape)
    for layer, (down, right) in zip(layers, moves, strict=True):
        y = np.clip(rows + how.reach * down[inside], 0, height - 1).astype(int)
        x = np.clip(columns + how.reach * right[inside], 0, width - 1).astype(int)
        moved += layer[y, x]
    return np.clip(moved, 0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def _displacements(
    height: int, width: int, coherence: float, grain: float, size: int, seed: int
) -> list[tuple[Plane, Plane]]:
    """Displacement of the rows and columns of each slice, drawn in the published order."""
    random = np.random.RandomState(seed)  # the published stimuli are made of its numbers
    stds = scales(size)

    def drawn(std: float, *, used: bool) -> Plane:
        field = random.normal(0.0, 1.0, (height, width))
        return _noise(field, std) if used else field  # drawn also where coherence leaves nothing of it

    coherent = []
    for _ in range(2):
        planes = np.stack([drawn(std, used=coherence > 0) * (std / (size / 4)) for std in stds])
        coherent.append(planes[::-1].cumsum(0)[::-1])  # at each scale the sum of it and of all coarser ones
    moves = []
    for level in range(len(stds)):
        both = []
        for axis in range(2):
            alone = drawn(grain, used=coherence < 1)
            both.append((1.0 - coherence) * alone + coherence * coherent[axis][level])
        moves.append((both[0], both[1]))
    return moves
