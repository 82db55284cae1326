"""Accuracy of discovered classes on old and new ones (GCD, arXiv 2201.02609, section 4).

Shapes: N images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError


class Discovered(NamedTuple):
    """Shares of images in the cluster of their class."""

    all: float
    old: float
    new: float


def matched(true_N: NDArray[np.int64], predicted_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether each image's cluster is matched to its class by the best one-to-one matching."""
    from scipy.optimize import linear_sum_assignment

    size = int(max(true_N.max(initial=0), predicted_N.max(initial=0))) + 1
    table = np.zeros((size, size), np.int64)
    np.add.at(table, (predicted_N, true_N), 1)
    clusters, classes = linear_sum_assignment(table, maximize=True)
    class_of = np.empty(size, np.int64)
    class_of[clusters] = classes
    right: NDArray[np.bool_] = class_of[predicted_N] == true_N
    return right


def discovery_accuracy(
    true_N: NDArray[np.int64], predicted_N: NDArray[np.int64], old_N: NDArray[np.bool_], *, version: int = 2
) -> Discovered:
    """Accuracy of the clusters `predicted_N` over all images, those of old classes and those of new ones.

    Version 2, the one that is reported: ONE matching over all images. Version 1: a matching of its own for old and for
    new images, which is optimistic; `all` is then weighted by their numbers. A share without images is NaN. Raises
    InputError for no images, and other versions.
    """
    if not len(true_N):
        raise InputError("there are no images to score discovered classes on")
    if version == 2:
        right_N = matched(true_N, predicted_N)
    elif version == 1:
        right_N = np.zeros(len(true_N), bool)
        for part in (old_N, ~old_N):
            right_N[part] = matched(true_N[part], predicted_N[part])
    else:
        raise InputError(f"version {version} of the discovery accuracy: allowed are 1 and 2")

    def share(part: NDArray[np.bool_]) -> float:
        return float(right_N[part].mean()) if part.any() else float("nan")

    return Discovered(float(right_N.mean()), share(old_N), share(~old_N))
