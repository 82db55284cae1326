"""Positions of images on the map, and the order of their thumbnails.

t-SNE (van der Maaten and Hinton 2008) by scikit-learn up to 3,000 images. Above that by openTSNE, which interpolates
on a grid (Linderman et al. 2019) and so takes time in proportion to the number of images; it is given the neighbours
that are known already.

Shapes: N images, K neighbours of each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from likewise.errors import InputError, install_command, unknown
from likewise.report.map2d import positions
from likewise.similarity import unit

Layout = Literal["tsne", "pca"]
Points = NDArray[np.float32]
SMALL = 3_000
"""Images up to which scikit-learn's t-SNE is used."""
COARSE = 40
"""Cells along a side, whose first images are kept in the first sheets: they stand for the map when it is far away."""
_EARLY, _LATE = 120, 320
"""Iterations with and without exaggeration."""


def check_layout(layout: str, count: int) -> None:
    """Raise InputError for a layout that does not exist, and where its package is missing."""
    if layout not in get_args(Layout):
        raise unknown("layout", layout, get_args(Layout))
    if layout == "tsne" and count > SMALL and importlib.util.find_spec("openTSNE") is None:
        raise InputError(
            f"a map of {count:,} images needs the package openTSNE: {install_command('explore')}; or take --layout pca"
        )


def place(
    features_NF: Tensor,
    nearest_NK: NDArray[np.int64],
    similarity_NK: NDArray[np.float32],
    *,
    layout: Layout = "tsne",
    threads: int = 2,
) -> Points:
    """(N, 2) places from 0 to 1, the wider direction along the first axis. Deterministic on one machine.

    Raises InputError as `check_layout` does.
    """
    count = len(features_NF)
    check_layout(layout, count)
    if layout == "tsne" and count <= SMALL:
        points = positions(features_NF)
    else:
        x_NF = unit(features_NF).float().numpy()
        points = PCA(n_components=min(2, *x_NF.shape), random_state=0, svd_solver="randomized").fit_transform(x_NF)
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1]))).astype(np.float64)
        if layout == "tsne":
            points = _embedded(points, nearest_NK, similarity_NK, threads)
            points = PCA(n_components=2, random_state=0).fit_transform(points)
    return _in_unit_square(points)


def _embedded(
    start_N2: NDArray[np.float64], nearest_NK: NDArray[np.int64], similarity_NK: NDArray[np.float32], threads: int
) -> NDArray[np.float64]:
    """The places that t-SNE finds from `start_N2`. A perplexity of a third of the known neighbours."""
    from openTSNE import TSNEEmbedding, initialization
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    distance_NK = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * similarity_NK.astype(np.float64)))
    known = PrecomputedNeighbors(nearest_NK, distance_NK)
    start_N2 = initialization.rescale(start_N2)
    start_N2 = start_N2 + 1e-6 * np.random.default_rng(0).standard_normal(start_N2.shape)  # copies must not coincide
    perplexity = max(2.0, nearest_NK.shape[1] / 3)
    with contextlib.redirect_stdout(io.StringIO()):
        affinities = PerplexityBasedNN(perplexity=perplexity, knn_index=known, n_jobs=threads, random_state=0)
        settings: dict[str, Any] = {"negative_gradient_method": "fft", "n_jobs": threads, "random_state": 0}
        found = TSNEEmbedding(start_N2, affinities, **settings)
        found = found.optimize(n_iter=_EARLY, exaggeration=12, momentum=0.5)
        found = found.optimize(n_iter=_LATE, exaggeration=1, momentum=0.8)
    return np.asarray(found, dtype=np.float64)


def _in_unit_square(points_N2: NDArray[np.float64]) -> Points:
    """The same with one scale for both axes, the longer from 0 to 1 and the other in the middle.

    Points far outside, beyond the last thousandth, are drawn in to the edge, so that a few do not shrink the rest.
    """
    low, high = np.quantile(points_N2, [0.001, 0.999], axis=0)
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    size = max(float((high - low).max()), 1e-12)
    centred = (np.clip(points_N2, low, high) - (low + high) / 2) / size + 0.5
    inside: Points = np.clip(centred, 0.0, 1.0).astype(np.float32)
    return inside


def slots(points_N2: Points, seed: int = 0) -> NDArray[np.int64]:
    """(N,) the place of each image's thumbnail in the sheets.

    First one image of each coarse cell of the map, in random order; then the others along a Z curve, so that what is
    looked at together lies in few sheets.
    """
    cells_N2 = np.minimum((points_N2 * COARSE).astype(np.int64), COARSE - 1)
    cell_N = cells_N2[:, 0] * COARSE + cells_N2[:, 1]
    off_N = np.square(points_N2 * COARSE - cells_N2 - 0.5).sum(axis=1)
    order = np.lexsort((off_N, cell_N))
    _, first = np.unique(cell_N[order], return_index=True)
    coarse = np.random.default_rng(seed).permutation(order[first])
    rest = np.setdiff1d(np.arange(len(points_N2)), coarse)
    rest = rest[np.argsort(_z_curve(points_N2[rest]), kind="stable")]
    slot_N = np.empty(len(points_N2), np.int64)
    slot_N[np.concatenate([coarse, rest])] = np.arange(len(points_N2))
    return slot_N


def _z_curve(points_N2: Points) -> NDArray[np.int64]:
    """The number of each point on a curve through the square that keeps near points near (Morton 1966)."""
    scaled = np.minimum((points_N2 * 65_536).astype(np.int64), 65_535)
    number = np.zeros(len(points_N2), np.int64)
    for bit in range(16):
        number |= (scaled[:, 0] >> bit & 1) << (2 * bit) | (scaled[:, 1] >> bit & 1) << (2 * bit + 1)
    return number
