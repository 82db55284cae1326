"""Points around centres on the sphere, and images whose colour says their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from likewise.similarity import unit

COLOURS = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220], [220, 220, 30], [30, 220, 220], [220, 30, 220]])


def clouds(classes: int, each: int, *, spread: float = 0.15, dim: int = 16, seed: int = 0) -> tuple[Tensor, NDArray]:
    """(N, D) unit points, and (N,) which centre each is near."""
    generator = torch.Generator().manual_seed(seed)
    centres = unit(torch.randn(classes, dim, generator=generator))
    truth = np.arange(classes * each) % classes
    noise = torch.randn(len(truth), dim, generator=generator)
    return unit(centres[torch.from_numpy(truth)] + spread * noise), truth


def some_labels(truth: NDArray, old: int, share: float = 0.5) -> NDArray:
    """Labels of the first part of each of the first `old` classes, -1 elsewhere."""
    labels = np.full_like(truth, -1)
    for value in range(old):
        rows = np.flatnonzero(truth == value)
        labels[rows[: max(1, round(share * len(rows)))]] = value
    return labels


def write_images(folder: Path, classes: int, each: int = 12) -> Path:
    """A folder of images of 16 px in sub-folders `c0`, `c1`, ..., one colour a class, with noise."""
    draw = np.random.default_rng(0)
    for value in range(classes):
        (folder / f"c{value}").mkdir(parents=True)
        for number in range(each):
            pixels = COLOURS[value] + draw.normal(0, 12, (16, 16, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"c{value}" / f"{number:02}.png")
    return folder
