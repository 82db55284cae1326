"""Real images for the tests of the views: two colour photographs that come with scikit-learn, cut into patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

import likewise._torchvision  # noqa: F401  (before any test imports torchvision)


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Two photographs, (427, 640, 3) uint8."""
    return list(load_sample_images().images)


@pytest.fixture(scope="session")
def patches(photos: list[np.ndarray]) -> Tensor:
    """(260, 64, 64, 3) uint8: overlapping squares of the two photographs."""
    squares = [
        photo[top : top + 64, left : left + 64]
        for photo in photos
        for top in range(0, 427 - 64, 37)
        for left in range(0, 640 - 64, 45)
    ]
    return torch.from_numpy(np.stack(squares))


@pytest.fixture(scope="session")
def small(patches: Tensor) -> Tensor:
    """(260, 32, 32, 3) uint8: every second pixel of the patches."""
    return patches[:, ::2, ::2].contiguous()


@pytest.fixture(scope="session")
def ragged(photos: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Images of different sizes as a loader pads them: (6, 90, 120, 3) uint8 and their sizes (6, 2)."""
    sizes = [(90, 120), (30, 40), (64, 17), (5, 3), (1, 1), (88, 120)]
    pixels = np.zeros((len(sizes), 90, 120, 3), dtype=np.uint8)
    for row, (height, width) in enumerate(sizes):
        pixels[row, :height, :width] = photos[row % 2][100 : 100 + height, 50 : 50 + width]
    return torch.from_numpy(pixels), torch.tensor(sizes)
