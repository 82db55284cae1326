"""The map section: a collection in two dimensions, by the similarity of features.

t-SNE (van der Maaten and Hinton 2008) of the features by scikit-learn, then each image moves to a free cell of a
grid near its place. Where a crowd is larger than its cells, images lie on top of each other: the cell says how many.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
from torch import Tensor

from likewise.data import Images
from likewise.report.markup import tag, text
from likewise.report.neighbours import label
from likewise.report.thumbnails import data_uri, sheet
from likewise.similarity import unit

COLUMNS, ROWS = 52, 31
"""Cells of the grid."""
SIDE = 40
"""Pixels of a thumbnail."""
REACH = 2
"""Cells that an image may move away from its place."""
NAMED_CLASSES = 12
"""Classes with a colour of their own."""
LEAST_FOR_TSNE = 30
SOLVER_DIMENSIONS = 50

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MapCells:
    """A cell for every image; in the order in which they are drawn, those on top of a stack last."""

    image_M: npt.NDArray[np.int64]
    """Positions of the images."""
    column_M: npt.NDArray[np.int64]
    row_M: npt.NDArray[np.int64]

    @property
    def stacked(self) -> int:
        """Images that lie under another."""
        return len(self.image_M) - len(np.unique(np.stack([self.column_M, self.row_M]), axis=1).T)


def positions(features_NF: Tensor) -> Points:
    """(N, 2) places in the plane, the wider direction first. By t-SNE, or by PCA for very few images.

    Deterministic on one machine.
    """
    x_NF = unit(features_NF).double().numpy()
    count = len(x_NF)
    # Without it copies of one image, as a collapsed encoder sees them all, would be divided by nothing.
    x_NF = x_NF + 1e-7 * np.random.default_rng(0).standard_normal(x_NF.shape)
    flat = PCA(n_components=min(SOLVER_DIMENSIONS, *x_NF.shape), random_state=0).fit_transform(x_NF)
    if count >= LEAST_FOR_TSNE and flat.shape[1] >= 2:
        perplexity = min(30.0, (count - 1) / 3)
        solver = TSNE(perplexity=perplexity, init="pca", angle=0.8, max_iter=600, random_state=0)
        # So few images are placed faster by one thread: several would mostly wait for each other.
        with threadpool_limits(limits=1, user_api="openmp"):
            placed = solver.fit_transform(flat)
    else:
        placed = np.pad(flat, ((0, 0), (0, max(0, 2 - flat.shape[1]))))[:, :2]
    return np.asarray(PCA(n_components=2).fit_transform(placed), dtype=np.float64)


def snap(points_N2: Points, columns: int = COLUMNS, rows: int = ROWS) -> MapCells:
    """Each image to the nearest free cell within `REACH`; those nearest to their cell's centre choose first.

    An image that finds none goes under the one in the cell nearest to it.
    """
    low, high = np.quantile(points_N2, [0.002, 0.998], axis=0)
    share = np.clip((points_N2 - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
    cells = share * np.array([columns - 1, rows - 1])
    order = np.argsort(np.square(cells - cells.round()).sum(axis=1), kind="stable")
    steps = range(-REACH, REACH + 1)
    around = sorted((math.hypot(x, y), x, y) for x in steps for y in steps)
    taken = np.zeros((columns, rows), dtype=bool)
    found: list[tuple[int, int, int]] = []
    under: list[tuple[int, int, int]] = []
    for image in order:
        home = cells[image]
        middle = home.round().astype(int)
        near = sorted(
            (math.hypot(middle[0] + x - home[0], middle[1] + y - home[1]), middle[0] + x, middle[1] + y)
            for distance, x, y in around
            if distance <= REACH
        )
        for _, column, row in near:
            if 0 <= column < columns and 0 <= row < rows and not taken[column, row]:
                taken[column, row] = True
                found.append((int(image), int(column), int(row)))
                break
        else:
            under.append((int(image), int(middle[0]), int(middle[1])))
    array = np.array(under + found, dtype=np.int64).reshape(-1, 3)
    return MapCells(array[:, 0], array[:, 1], array[:, 2])


def image_map(images: Images, features_NF: Tensor) -> str:
    """The map with its legend; empty for fewer than two images."""
    if len(images) < 2:
        return ""
    columns, rows = _grid_for(len(images))
    placed = snap(positions(features_NF), columns, rows)
    across = max(1, math.ceil(math.sqrt(len(placed.image_M))))
    page = sheet(images, placed.image_M, SIDE, across)
    down = page.height // SIDE
    kinds = _kinds(images)
    where = list(zip(placed.column_M.tolist(), placed.row_M.tolist(), strict=True))
    depth, top = Counter(where), {cell: place for place, cell in enumerate(where)}
    cells = "".join(
        _cell(
            images,
            int(image),
            where[place],
            (place % across, place // across),
            kinds,
            depth[where[place]] if top[where[place]] == place else 1,
        )
        for place, image in enumerate(placed.image_M)
    )
    style = f"--columns:{columns};--rows:{rows};--across:{across};--down:{down};--sheet:url({data_uri(page)})"
    board = f'<div class="map" style="{style}">{cells}</div>'
    more = (
        f" {placed.stacked:,} lie under others: a number in a cell says how many are there." if placed.stacked else ""
    )
    note = tag("p", text(f"{len(placed.image_M):,} images, placed by t-SNE and moved to a grid.{more}"), class_="small")
    return _legend(images, kinds) + tag("div", board, class_="map-frame") + note


def _grid_for(count: int) -> tuple[int, int]:
    """Fewer cells for fewer images, in the same proportion."""
    shrink = min(1.0, math.sqrt(2.2 * count / (COLUMNS * ROWS)))
    return max(8, round(COLUMNS * shrink)), max(5, round(ROWS * shrink))


def _kinds(images: Images) -> dict[int, int]:
    """Class -> number of its colour, for the largest classes."""
    if images.labels is None:
        return {}
    values, counts = np.unique(images.labels[images.labels >= 0], return_counts=True)
    largest = values[np.argsort(-counts, kind="stable")][:NAMED_CLASSES]
    return {int(value): number for number, value in enumerate(sorted(largest))}


def _cell(
    images: Images,
    image: int,
    cell: tuple[int, int],
    place: tuple[int, int],
    kinds: dict[int, int],
    depth: int,
) -> str:
    """An image of the sheet at `place`, in a cell; `depth` images lie there, which the topmost says."""
    kind = kinds.get(int(images.labels[image]), NAMED_CLASSES) if images.labels is not None else None
    words = ", ".join(part for part in (label(images, image), str(images.names[image])) if part)
    kind_class = "" if kind is None else f' class="k{kind}"'
    where = f"--c:{cell[0]};--r:{cell[1]};--x:{place[0]};--y:{place[1]}"
    pile = f' data-n="{depth}"' if depth > 1 else ""
    return f'<i{kind_class} style="{where}" data-t="{text(words)}"{pile}></i>'


def _legend(images: Images, kinds: dict[int, int]) -> str:
    """Chips that pick out one class, and a switch between images and classes; empty without labels."""
    if not kinds:
        return ""
    names = {
        value: images.class_names[value] if images.class_names and value < len(images.class_names) else f"class {value}"
        for value in kinds
    }
    chips = [
        tag("button", tag("i", class_=f"swatch k{number}"), text(names[value]), type="button", data_kind=f"k{number}")
        for value, number in kinds.items()
    ]
    others = len(np.unique(images.labels[images.labels >= 0])) - len(kinds) if images.labels is not None else 0
    if others > 0:
        chips.append(
            tag(
                "button",
                tag("i", class_=f"swatch k{NAMED_CLASSES}"),
                f"{others:,} others",
                type="button",
                data_kind=f"k{NAMED_CLASSES}",
            )
        )
    switch = tag("button", "show classes", type="button", class_="switch", data_other="show images", data_map=True)
    return tag("div", *chips, switch, class_="chips")
