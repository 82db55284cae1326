"""Streams that a method draws batches from: the data, its labelled images, pairs of a group, clips, other data.

A method names its streams (`Method.streams`), the main one as `MAIN`; an epoch is one pass over that. Each stream
draws by an order (`likewise.data.batches.orders`), which is a pure function of seed and step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.batches import orders
from likewise.data.batches.orders import Among, Ids, Law, Order
from likewise.data.batches.sampling import Sampler
from likewise.data.fingerprints import digest
from likewise.data.images import Images
from likewise.data.source import Column
from likewise.errors import InputError, unknown

MAIN = "main"
"""The stream that epochs are counted by."""
Keep = Literal["all", "labelled", "unlabelled"]


class Rows(NamedTuple):
    """The images that a stream draws from, M of them."""

    labels_M: Ids
    """Class of each image, -1 where unknown."""
    columns: Mapping[str, Column]
    """The columns that the method asked for."""

    def column(self, name: str) -> Ids:
        """(M,) the values of a column. Raises InputError where there is none of this name."""
        return self._named(name).values

    def complete(self, name: str) -> Column:
        """A column that says something of every image. Raises InputError where it does not, or there is none."""
        return self._named(name).complete(name)

    def _named(self, name: str) -> Column:
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        return self.columns[name]


Drawing = Callable[[Rows, int, int], Order]
"""(images, images a batch, seed) -> the order of the batches."""


def shuffled(rows: Rows, batch_size: int, seed: int) -> Order:
    """Every image once an epoch, without those that fill no batch."""
    return Sampler(len(rows.labels_M), batch_size, seed)


def endless(rows: Rows, batch_size: int, seed: int) -> Order:
    """Shuffled passes end to end: for streams with fewer images than a batch has."""
    return orders.Endless(len(rows.labels_M), batch_size, seed)


def evenly(rows: Rows, batch_size: int, seed: int) -> Order:
    """Labelled images and others equally often on average, drawn one by one: some images repeat (GCD, PromptCAL).

    Where all images are labelled, or none, each is as likely as any other.
    """
    labelled_M = rows.labels_M >= 0
    count = int(labelled_M.sum())
    others = len(labelled_M) - count
    weight = count / others if count and others else 1.0
    return orders.Weighed(np.where(labelled_M, 1.0, weight), batch_size, seed)


def stratified(classes: int, each: int) -> Drawing:
    """`each` images of each of `classes` classes (fewer where there are not so many), `classes` x `each` a batch."""

    def drawing(rows: Rows, batch_size: int, seed: int) -> Order:
        found = len(np.unique(rows.labels_M[rows.labels_M >= 0]))
        return orders.Stratified(rows.labels_M, min(classes, found), each, seed)

    return drawing


def together(each: int) -> Drawing:
    """Full batches with equally many images, `each` at least, of every class in them; of as many classes as fit.

    As many as fit is the largest number of classes that divides the batch.
    """

    def drawing(rows: Rows, batch_size: int, seed: int) -> Order:
        found = len(np.unique(rows.labels_M[rows.labels_M >= 0]))
        most = max(1, min(found, batch_size // each))
        classes = next(count for count in range(most, 0, -1) if batch_size % count == 0)
        return orders.Stratified(rows.labels_M, classes, batch_size // classes, seed)

    return drawing


def clips(video: str, frame: str, *, count: int, frames: int, stride: int = 1, law: Law) -> Drawing:
    """`count` clips of `frames` frames of each video, videos and places by two columns; a batch counts videos."""

    def drawing(rows: Rows, batch_size: int, seed: int) -> Order:
        return orders.Clips(
            rows.complete(video).values, rows.complete(frame).numbers(), batch_size,
            clips=count, frames=frames, stride=stride, law=law, seed=seed,
        )  # fmt: skip

    return drawing


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The source of some of the views of a step."""

    views: tuple[str, ...] = ()
    """The roles of the views that are made of its images; of the main stream all that no other stream names."""
    keep: Keep = "all"
    """Which images: all, or those whose label may be used, or the others."""
    where: Callable[[Rows], NDArray[np.bool_]] | None = None
    """Which of those, (M,) by their labels and columns: those of some classes, say."""
    of: Literal["data", "beside"] = "data"
    """The data set that is trained on, or the one that is given with --beside."""
    batch_size: int | None = None
    """Images a step over all processes; None: as many as the run has."""
    draw: Drawing = endless
    """In which order."""


def order_of(name: str, stream: Stream, images: Images, batch_size: int, seed: int) -> Order:
    """The order of the stream `name` of `images`. Raises InputError where it has nothing to draw from."""
    labels_N = np.full(len(images), -1) if images.labels is None else np.asarray(images.labels, np.int64)
    kept_N = {"all": np.ones(len(images), bool), "labelled": labels_N >= 0, "unlabelled": labels_N < 0}[stream.keep]
    ids_M = np.flatnonzero(kept_N)
    if stream.where is not None:
        ids_M = ids_M[stream.where(rows_of(images, labels_N, ids_M))]
    if not len(ids_M):
        which = "with a label" if stream.keep == "labelled" else "without a label"
        hint = (
            f"; --{'beside-' if stream.of == 'beside' else ''}labels names them"
            if stream.keep == "labelled"
            else "; --subset labels:perclass:4 keeps a few"
        )
        raise InputError(f"{images.name} has no image {which}, which the stream {name!r} of this method needs{hint}")
    rows = rows_of(images, labels_N, ids_M)
    seed = seed if name == MAIN else int(digest(seed, name)[:12], 16)
    order = stream.draw(rows, stream.batch_size or batch_size, seed)
    return order if len(ids_M) == len(images) else Among(order, ids_M)


def rows_of(images: Images, labels_N: Ids, ids_M: Ids) -> Rows:
    """The labels and columns of the images at these positions."""
    return Rows(labels_N[ids_M], {key: column.at(ids_M) for key, column in images.columns.items()})
