"""Batches on the device, fetched by a thread while the model works on the one before."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Generator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.images import Images
from likewise.data.sampling import Sampler
from likewise.errors import InputError

_LOOK_SECONDS = 0.1


class LoadedBatch(NamedTuple):
    """The pictures of one step, as they are in the cache."""

    pixels: Tensor
    """(B, H, W, 3) uint8 on the device, smaller pictures filled up with zeros at the bottom and at the right."""
    sizes: Tensor
    """(B, 2) int64 on the CPU: true height and width of each picture."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """(B,) int64 on the device: position of each picture in the `Images`."""
    labels: Tensor | None
    """(B,) int64 on the device, -1 where unknown; None where the data has no labels."""
    masks: Tensor | None = None
    """(B, H, W) uint8 on the device, 255 on the object, padded like the pixels; None where nobody asked for them."""
    regions: Tensor | None = None
    """(B, R, 4) on the CPU, boxes around objects as `likewise.views.regions` takes them; None likewise."""


class Marks(Protocol):
    """Where masks and regions come from; `likewise.localisation.masks.Masks` is one."""

    def gather(self, index: NDArray[np.int64], height: int, width: int) -> Tensor:
        """Masks (B, H, W) uint8 of the images at positions `index`, of that height and width."""
        ...

    def regions(self, index: NDArray[np.int64]) -> Tensor | None:
        """Their boxes (B, R, 4), or None."""
        ...


class Loader:
    """Endless batches of `images` in the order of `sampler`, at most `ahead` of them fetched before they are asked for.

    Process `rank` of `world` gets every world-th picture of each batch, from picture `rank` on, so that all of them
    together see what one process would. For CUDA, batches are fetched into page-locked memory and copied without
    waiting.

    Raises InputError where the batch cannot be shared equally.
    """

    def __init__(
        self,
        images: Images,
        sampler: Sampler,
        *,
        device: torch.device | str,
        rank: int = 0,
        world: int = 1,
        ahead: int = 2,
        marks: Marks | None = None,
    ) -> None:
        if sampler.batch_size % world:
            raise InputError(f"batch_size={sampler.batch_size} cannot be shared equally by {world} processes")
        if sampler.count != len(images):
            raise InputError(f"the sampler draws from {sampler.count} pictures, and there are {len(images)}")
        self.images = images
        self.sampler = sampler
        self.device = torch.device(device)
        self.rank = rank
        self.world = world
        self.ahead = max(1, ahead)
        self.marks = marks
        self.waited = 0.0
        """Seconds that `batches` has waited for data so far, over all calls."""
        self._labels = None if images.labels is None else torch.from_numpy(np.array(images.labels, dtype=np.int64))

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
                batch = self._fetch(self.sampler.batch(step)[self.rank :: self.world])
                if not _put(waiting, batch, ended):
                    return
        except BaseException as error:  # noqa: BLE001  # raised again by who waits for the batch
            _put(waiting, error, ended)

    def _fetch(self, index: NDArray[np.int64]) -> LoadedBatch:
        pixels, sizes = self.images.gather(index)
        positions = torch.from_numpy(index)
        labels = None if self._labels is None else self._labels[positions]
        masks = None if self.marks is None else self.marks.gather(index, *pixels.shape[1:3])
        regions = None if self.marks is None else self.marks.regions(index)
        if self.device.type == "cuda":
            pixels, positions = pixels.pin_memory(), positions.pin_memory()
            labels, masks = (None if part is None else part.pin_memory() for part in (labels, masks))
        return LoadedBatch(pixels, sizes, positions, labels, masks, regions)

    def _to_device(self, batch: LoadedBatch) -> LoadedBatch:
        if self.device.type == "cpu":
            return batch
        pixels, index = (part.to(self.device, non_blocking=True) for part in (batch.pixels, batch.index))
        labels = None if batch.labels is None else batch.labels.to(self.device, non_blocking=True)
        masks = None if batch.masks is None else batch.masks.to(self.device, non_blocking=True)
        return LoadedBatch(pixels, batch.sizes, index, labels, masks, batch.regions)


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
