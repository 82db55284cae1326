"""A map of pictures: similar ones lie close, and none hides another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]

MOST = 800
"""Pictures on a map: more would be too small to see."""
SIDE = 1680
"""Width of the composed picture in pixels, twice what is shown on most screens."""
ROOM, ASPECT = 1.65, 1.5
"""Cells per picture, so that groups stay apart, and width over height of the map."""
LARGEST_CELL = 128
BACKGROUND = (20, 23, 28)
FEW = 8
"""Up to so many pictures are laid out by principal components alone."""


class Grid(NamedTuple):
    """How the map is divided."""

    columns: int
    rows: int
    cell: int
    """Side of a cell in pixels."""


def layout(features_NF: Floats, *, seed: int = 0) -> Floats:
    """Places (N, 2) in the unit square: unit vectors, PCA to at most 30 dimensions, t-SNE to two.

    The same features always give the same map. Features that are all equal have no map: their pictures are placed in
    reading order.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    total = len(features_NF)
    norms = np.linalg.norm(features_NF, axis=1, keepdims=True)
    unit_NF = features_NF / np.maximum(norms, 1e-12)
    dims = min(30, total, features_NF.shape[1])
    if total < 2 or float(unit_NF.std(axis=0).max()) < 1e-6:
        return _reading_order(total)
    reduced_ND = PCA(dims, random_state=seed).fit_transform(unit_NF)
    if total <= FEW or dims < 2:
        flat = np.zeros((total, 2))
        flat[:, : min(2, dims)] = reduced_ND[:, :2]
    else:
        perplexity = min(30.0, (total - 1) / 3)
        flat = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced_ND)
    low, high = np.percentile(flat, [0.5, 99.5], axis=0)
    spans = np.where(high > low, high - low, 1.0)
    places: Floats = np.clip((flat - low) / spans, 0.0, 1.0).astype(np.float64)
    return places


def _reading_order(total: int) -> Floats:
    columns = max(1, math.ceil(math.sqrt(total * ASPECT)))
    place = np.arange(total)
    rows = max(1, math.ceil(total / columns))
    return np.stack([(place % columns + 0.5) / columns, (place // columns + 0.5) / rows], axis=1)


def grid_for(total: int) -> Grid:
    """A grid with room for `total` pictures and some air."""
    columns = max(1, math.ceil(math.sqrt(ROOM * total * ASPECT)))
    rows = max(1, math.ceil(ROOM * total / columns))
    return Grid(columns, rows, min(LARGEST_CELL, SIDE // columns))


def snap(places_N2: Floats, grid: Grid) -> Cells:
    """Cells (N, 2), column and row, each used once, that move the pictures least (sum of squares)."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    column, row = np.meshgrid(np.arange(grid.columns), np.arange(grid.rows))
    cells_C2 = np.stack([column.ravel(), row.ravel()], axis=1)
    wanted_N2 = places_N2 * [grid.columns, grid.rows] - 0.5
    cost_NC = ((wanted_N2[:, None, :] - cells_C2[None]) ** 2).sum(axis=2)
    _, chosen = linear_sum_assignment(cost_NC)
    cells: Cells = cells_C2[chosen].astype(np.int64)
    return cells


def compose(
    thumbnails: Sequence[Image.Image], cells_N2: Cells, grid: Grid, frames: Sequence[str | None]
) -> Image.Image:
    """All thumbnails on one dark sheet, each with a thin frame in its colour where it has one."""
    sheet = Image.new("RGB", (grid.columns * grid.cell, grid.rows * grid.cell), BACKGROUND)
    gap = max(1, grid.cell // 24)
    edge = max(2, grid.cell // 18)
    for thumbnail, (column, row), colour in zip(thumbnails, cells_N2.tolist(), frames, strict=True):
        left, top, side = column * grid.cell + gap, row * grid.cell + gap, grid.cell - 2 * gap
        if colour is not None:
            sheet.paste(colour, (left, top, left + side, top + side))
            left, top, side = left + edge, top + edge, side - 2 * edge
        sheet.paste(thumbnail.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return sheet


def described(cells_N2: Cells, titles: Sequence[str]) -> list[list[Any]]:
    """[column, row, title] of each picture, for the pointer."""
    return [[column, row, title] for (column, row), title in zip(cells_N2.tolist(), titles, strict=True)]
