"""Query images and their nearest neighbours by the encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from likewise.data import Images
from likewise.data.source import spread
from likewise.report.markup import tag, text
from likewise.report.numbers import percent
from likewise.report.thumbnails import image
from likewise.similarity import neighbours, unit

QUERIES, NEIGHBOURS = 12, 6
SIDE = 112
"""Pixels of a thumbnail, for screens with two or more pixels to the point."""


@dataclass(frozen=True)
class ImageNeighbours:
    """The nearest other images of some images."""

    query_Q: npt.NDArray[np.int64]
    """Positions of the images."""
    nearest_QK: npt.NDArray[np.int64]
    """Positions of their neighbours, nearest first; never the image itself."""
    similarity_QK: npt.NDArray[np.float32]
    """Cosine similarities."""


def find(features_NF: Tensor, query_Q: npt.NDArray[np.int64], k: int) -> ImageNeighbours:
    """The `k` nearest others (fewer where there are fewer) of the images at `query_Q`. At least two are needed."""
    k = min(k, len(features_NF) - 1)
    unit_NF = unit(features_NF)
    found = neighbours(unit_NF[torch.from_numpy(query_Q)], unit_NF, k + 1)
    rows, values = found.rows.numpy(), found.similarity.numpy()
    # An image is nearest to itself, but not always first: copies of it are as near.
    other = rows != query_Q[:, None]
    other[other.all(axis=1), -1] = False
    shape = (len(query_Q), k)
    return ImageNeighbours(query_Q, rows[other].reshape(shape), values[other].reshape(shape))


def agreement(images: Images, features_NF: Tensor, k: int = NEIGHBOURS) -> tuple[float, float] | None:
    """Mean share of the `k` nearest others with the image's class, and what chance would give; None unlabelled."""
    if images.labels is None or (images.labels >= 0).sum() < 2:
        return None
    known = np.flatnonzero(images.labels >= 0)
    labels = images.labels[known]
    found = find(features_NF[torch.from_numpy(known)], np.arange(len(known)), k)
    share = float((labels[found.nearest_QK] == labels[:, None]).mean())
    counts = np.bincount(labels)
    chance = float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))
    return share, chance


def choose(images: Images, count: int = QUERIES) -> npt.NDArray[np.int64]:
    """Images to show neighbours of, not picked by hand: one of each class in turn, or an even sample of all."""
    if images.labels is None or not (images.labels >= 0).any():
        return spread(len(images), count)
    generator, labels = np.random.default_rng(0), images.labels
    values = generator.permutation(np.unique(labels[labels >= 0]))
    queues = [list(generator.permutation(np.flatnonzero(labels == value))) for value in values]
    chosen: list[int] = []
    while len(chosen) < count and any(queues):
        chosen += [int(queue.pop()) for queue in queues if queue][: count - len(chosen)]
    return np.array(sorted(chosen, key=lambda position: (labels[position], position)), dtype=np.int64)


def grid(images: Images, features_NF: Tensor) -> str:
    """Rows of an image and its neighbours; empty for fewer than two images."""
    if len(images) < 2:
        return ""
    found = find(features_NF, choose(images), NEIGHBOURS)
    rows = []
    for query, nearest, similarity in zip(found.query_Q, found.nearest_QK, found.similarity_QK, strict=True):
        first = tag("figure", _image(images, int(query)), _caption(images, int(query)), class_="query")
        others = "".join(
            _neighbour(images, int(query), int(position), float(value))
            for position, value in zip(nearest, similarity, strict=True)
        )
        rows.append(tag("li", first, tag("div", others, class_="others")))
    return tag("ul", "".join(rows), class_="neighbours")


def lead(images: Images, features_NF: Tensor) -> str:
    """Description of the grid, with the share of neighbours of the same class."""
    words = f"Each image, and those of {len(images):,} that the encoder finds most like it, with their similarity."
    agreed = agreement(images, features_NF) if len(images) > 2 else None
    if agreed is None:
        return words
    share, chance = agreed
    return (
        f"{words} Green shares its class, dashed red is of the class named below. Of the {NEIGHBOURS} nearest of every "
        f"image {percent(share, 0)} share its class; chance would give {percent(chance, 0)}."
    )


def label(images: Images, position: int) -> str:
    """The class of an image in words; empty where it is not known."""
    if images.labels is None or images.labels[position] < 0:
        return ""
    value = int(images.labels[position])
    return images.class_names[value] if images.class_names and value < len(images.class_names) else f"class {value}"


def _caption(images: Images, position: int) -> str:
    """The class, or else the last part of the name, which is cut where it is too long."""
    name, known = str(images.names[position]), label(images, position)
    short = known or name.replace("\\", "/").rsplit("/", 1)[-1]
    return tag("figcaption", text(short), title=name, class_=None if known else "file")


def _neighbour(images: Images, query: int, position: int, similarity: float) -> str:
    own, other = label(images, query), label(images, position)
    kind = None if not own or not other else "same" if own == other else "differs"
    strange = tag("b", text(other)) if kind == "differs" else ""
    hint = f"{other + ', ' if other else ''}{images.names[position]}, similarity {similarity:.3f}"
    return tag(
        "figure", _image(images, position), tag("figcaption", f"{similarity:.2f}", strange), class_=kind, title=hint
    )


def _image(images: Images, position: int) -> str:
    return image(images, position, SIDE, label(images, position) or str(images.names[position]))
