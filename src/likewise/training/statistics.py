"""Mean and standard deviation of a data set's channels, which normalise its views."""

from __future__ import annotations

import numpy as np
import torch

from likewise.data import Images

SAMPLE = 2048
"""Images looked at: enough to fix both to about the third digit."""
LEAST_DEVIATION = 0.05
"""Deviations below this are raised to it, so that flat images are not blown up into noise."""

Channels = tuple[float, float, float]


def channel_statistics(images: Images) -> tuple[Channels, Channels]:
    """Means and deviations of red, green and blue on a scale of 0 to 1, over an even sample of the images."""
    index = np.unique(np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(np.int64))
    count = torch.zeros((), dtype=torch.float64)
    total, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for part in np.array_split(index, max(1, len(index) // 64)):
        pixels_BHWC, sizes_B2 = images.gather(part)
        values = pixels_BHWC.double() / 255.0  # padding is zero, so it adds nothing to either sum
        count += sizes_B2.prod(dim=1).sum()
        total += values.sum(dim=(0, 1, 2))
        squares += values.square().sum(dim=(0, 1, 2))
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0.0).sqrt().clamp_min(LEAST_DEVIATION)
    return _channels(mean), _channels(std)


def _channels(values: torch.Tensor) -> Channels:
    red, green, blue = (round(float(value), 4) for value in values)
    return red, green, blue
