"""The number of classes by how many images are of unnamed ones.

Labelled images are taken to be a random part of those of their classes, and unnamed classes to be as large on average
as named ones. What share of the unlabelled images is of named classes follows from how labelled and unlabelled images
are told apart: of images that look most like labelled ones nearly all are of named classes, so that no threshold may
leave more of them than that share (best bin: Garg et al., NeurIPS 2021, arXiv 2111.00980). Nothing is clustered, which
is why this holds up where clusters hardly are classes.

Shapes: N images, D dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.discovery.scaling import COMPONENTS, components

RIDGE = 0.3
"""Weight of the squared length of the fit beside the mean squared error, where features have the variance 1."""
HELD = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
"""Shares of the labelled images that thresholds hold. Of fewer the smallest ratio would be one of noise."""
HALVES = 20
"""Random halves of the images that the interval comes from."""


def by_size(
    features_ND: Tensor, known_N: NDArray[np.bool_], old: int, random: np.random.Generator
) -> tuple[float, float, float]:
    """The number of classes, and the 5 % and 95 % quantiles of those of halves of the images.

    `known_N` says which images are labelled; `old` is the number of their classes.
    """
    found_ND = components(features_ND - features_ND.mean(0), COMPONENTS)
    number = old / _share(found_ND, known_N)
    halves = []
    for _ in range(HALVES):
        rows = np.sort(random.permutation(len(known_N))[: max(2, len(known_N) // 2)])
        if known_N[rows].any():
            halves.append(old / _share(found_ND[torch.from_numpy(rows)], known_N[rows]))
    low, high = np.quantile([number, *halves], [0.05, 0.95]).tolist()
    return number, min(low, number), max(high, number)


def _share(features_ND: Tensor, known_N: NDArray[np.bool_]) -> float:
    """Share of all images that are of classes with labelled images, labelled ones included."""
    if known_N.all():
        return 1.0
    alike_N = _alike(features_ND, known_N)
    labelled, others = np.sort(alike_N[known_N])[::-1], alike_N[~known_N]
    limits = labelled[[int(share * len(labelled)) for share in HELD]]
    ratios = [float((others >= limit).mean() / (labelled >= limit).mean()) for limit in limits]
    named = known_N.sum() + min(1.0, *ratios) * len(others)
    return float(named / len(known_N))


def _alike(features_ND: Tensor, known_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) how much each image looks like labelled ones: ridge regression on all images but itself."""
    x_ND = features_ND.double()
    x_ND = x_ND / x_ND.std().clamp_min(1e-12)
    count, dim = x_ND.shape
    one_NE = torch.cat([x_ND, torch.ones(count, 1, dtype=x_ND.dtype)], 1)
    weight_E = torch.full((dim + 1,), RIDGE * count, dtype=x_ND.dtype)
    weight_E[-1] = 0.0  # the constant is free
    target_N = torch.from_numpy(known_N).to(x_ND)
    hat_EN = torch.linalg.solve(one_NE.T @ one_NE + torch.diag(weight_E), one_NE.T)
    own_N = (one_NE * hat_EN.T).sum(1)  # weight of an image in its own fit
    fitted_N = one_NE @ (hat_EN @ target_N)
    alone: NDArray[np.float64] = ((fitted_N - own_N * target_N) / (1.0 - own_N).clamp_min(1e-9)).numpy()
    return alone
