"""Batches on the device, fetched by a thread while the model computes the previous one."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Generator, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.batches.orders import Order
from likewise.data.batches.streams import MAIN
from likewise.data.images import Images
from likewise.errors import InputError

_LOOK_SECONDS = 0.1
_LABELS = ""


class LoadedBatch(NamedTuple):
    """The images of one step, as they are in the cache.

    Where the order draws clips, (B, C, F) frames, `pixels`, `sizes` and `ids` have these two dimensions after the
    first; labels and columns are those of the first frame.
    """

    pixels: Tensor
    """(B, H, W, 3) uint8 on the device, smaller images filled up with zeros at the bottom and at the right."""
    sizes: Tensor
    """(B, 2) int64 on the CPU: true height and width of each image."""
    ids: Tensor
    """(B,) int64 on the device: position of each image in the `Images`."""
    labels: Tensor | None
    """(B,) int64 on the device, -1 where unknown; None where the data has no labels."""
    columns: Mapping[str, Tensor] = {}
    """(B,) int64 on the device each: what the columns of the `Images` say."""
    others: Mapping[str, LoadedBatch] = {}
    """The batches of the other streams by name."""
    masks: Tensor | None = None
    """(B, H, W) uint8 on the device, 255 on the object, padded like the pixels; None where nobody asked for them."""
    regions: Tensor | None = None
    """(B, R, 4) on the CPU, boxes around objects as `likewise.views.geometry.regions` takes them; None likewise."""

    def rows(self, rows: slice) -> LoadedBatch:
        """Some of the images of each stream."""
        return LoadedBatch(
            self.pixels[rows],
            self.sizes[rows],
            self.ids[rows],
            None if self.labels is None else self.labels[rows],
            {name: column[rows] for name, column in self.columns.items()},
            {name: other.rows(rows) for name, other in self.others.items()},
            None if self.masks is None else self.masks[rows],
            None if self.regions is None else self.regions[rows],
        )


class Marks(Protocol):
    """A source of masks and regions; `likewise.localisation.masks.Masks` is one."""

    def gather(self, index: NDArray[np.int64], height: int, width: int) -> Tensor:
        """Masks (B, H, W) uint8 of the images at positions `index`, of that height and width."""
        ...

    def regions(self, index: NDArray[np.int64]) -> Tensor | None:
        """Their boxes (B, R, 4), or None."""
        ...


class StreamImages(NamedTuple):
    """Images, the order in which they are drawn, and the roles of the views that are made of them."""

    images: Images
    order: Order
    views: tuple[str, ...] = ()


class Loader:
    """Endless batches of `images` in the order `sampler`, at most `ahead` of them fetched before they are asked for.

    With each come the batches of the same step of `others`. Process `rank` of `world` gets every world-th row of each
    batch, from row `rank` on, so that all of them together see what one process would. For CUDA, batches are fetched
    into page-locked memory and copied without waiting.

    Raises InputError where a batch cannot be shared equally.
    """

    def __init__(
        self,
        images: Images,
        sampler: Order,
        *,
        device: torch.device | str,
        others: Mapping[str, StreamImages] | None = None,
        rank: int = 0,
        world: int = 1,
        ahead: int = 2,
        marks: Marks | None = None,
    ) -> None:
        self.images = images
        self.sampler = sampler
        self.streams = {MAIN: StreamImages(images, sampler), **(others or {})}
        for name, drawn in self.streams.items():
            _check_shares(name, drawn, world)
        self.device = torch.device(device)
        self.rank = rank
        self.world = world
        self.ahead = max(1, ahead)
        self.marks = marks
        self.waited = 0.0
        """Seconds that `batches` has waited for data so far, over all calls."""
        self._columns = {name: _columns_of(drawn.images) for name, drawn in self.streams.items()}

    def batches(self, first_step: int) -> Generator[LoadedBatch, None, None]:
        """Batch `first_step` of the sampler, the next one, and so on without end.

        Close the generator to end its thread; leaving it to the garbage collector does the same. What goes wrong in
        the thread is raised here.
        """
        waiting: queue.Queue[LoadedBatch | BaseException] = queue.Queue(self.ahead)
        ended = threading.Event()
        thread = threading.Thread(
            target=self._fetch_all, args=(first_step, waiting, ended), name="likewise-loader", daemon=True
        )
        thread.start()
        try:
            while True:
                began = time.perf_counter()
                found = waiting.get()
                if isinstance(found, BaseException):
                    raise found
                batch = self._to_device(found)
                self.waited += time.perf_counter() - began
                yield batch
        finally:
            ended.set()
            thread.join()

    def _fetch_all(
        self, first_step: int, waiting: queue.Queue[LoadedBatch | BaseException], ended: threading.Event
    ) -> None:
        """What the thread does: fetch, and put where there is room, until it is told to end."""
        try:
            for step in itertools.count(first_step):
                batch = self._fetch(step)
                if not _put(waiting, batch, ended):
                    return
        except BaseException as error:  # noqa: BLE001  # raised again by who waits for the batch
            _put(waiting, error, ended)

    def _fetch(self, step: int) -> LoadedBatch:
        found = {name: self._fetch_one(name, drawn, step) for name, drawn in self.streams.items()}
        main = found.pop(MAIN)
        return main._replace(others=found)

    def _fetch_one(self, name: str, drawn: StreamImages, step: int) -> LoadedBatch:
        index = drawn.order.batch(step)[self.rank :: self.world]
        pixels, sizes = drawn.images.gather(index.reshape(-1))
        pixels, sizes = (part.reshape(*index.shape, *part.shape[1:]) for part in (pixels, sizes))
        positions = torch.from_numpy(index)
        first = positions.reshape(len(positions), -1)[:, 0]
        columns = {key: column[first] for key, column in self._columns[name].items()}
        if self.device.type == "cuda":
            pixels, positions = pixels.pin_memory(), positions.pin_memory()
            columns = {key: column.pin_memory() for key, column in columns.items()}
        labels = columns.pop(_LABELS, None)
        found = LoadedBatch(pixels, sizes, positions, labels, columns)
        return found if self.marks is None or name != MAIN else self._marked(found, index, self.marks)

    def _marked(self, batch: LoadedBatch, index: NDArray[np.int64], marks: Marks) -> LoadedBatch:
        """The batch of the main stream with the masks and regions of its images."""
        masks = marks.gather(index, *batch.pixels.shape[1:3])
        masks = masks.pin_memory() if self.device.type == "cuda" else masks
        return batch._replace(masks=masks, regions=marks.regions(index))

    def _to_device(self, batch: LoadedBatch) -> LoadedBatch:
        if self.device.type == "cpu":
            return batch
        pixels, index = (part.to(self.device, non_blocking=True) for part in (batch.pixels, batch.ids))
        labels = None if batch.labels is None else batch.labels.to(self.device, non_blocking=True)
        columns = {name: column.to(self.device, non_blocking=True) for name, column in batch.columns.items()}
        others = {name: self._to_device(other) for name, other in batch.others.items()}
        masks = None if batch.masks is None else batch.masks.to(self.device, non_blocking=True)
        return LoadedBatch(pixels, batch.sizes, index, labels, columns, others, masks, batch.regions)


def _check_shares(name: str, drawn: StreamImages, world: int) -> None:
    """Raise InputError where the batches of a stream cannot be shared equally, or are of other images."""
    first = drawn.order.batch(0)
    if len(first) % world:
        which = "batch_size" if name == MAIN else f"the batch size of the stream {name!r}"
        raise InputError(f"{which}={len(first)} cannot be shared equally by {world} processes")
    count = getattr(drawn.order, "count", len(drawn.images))
    if count != len(drawn.images):
        raise InputError(f"the sampler draws from {count} images, and there are {len(drawn.images)}")


def _columns_of(images: Images) -> dict[str, Tensor]:
    """Labels and columns of all images as tensors, the labels under a name that no column has."""
    values = {name: column.values for name, column in images.columns.items()}
    if images.labels is not None:
        values[_LABELS] = images.labels
    return {name: torch.from_numpy(np.array(one, dtype=np.int64)) for name, one in values.items()}


def _put(
    waiting: queue.Queue[LoadedBatch | BaseException], found: LoadedBatch | BaseException, ended: threading.Event
) -> bool:
    """Put into the queue as soon as there is room. Gives False where nobody waits any more."""
    while not ended.is_set():
        try:
            waiting.put(found, timeout=_LOOK_SECONDS)
        except queue.Full:
            continue
        return True
    return False
