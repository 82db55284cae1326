"""Shuffled batches: the images of each batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.data.batches.numbers import permutation, uniform
from likewise.errors import InputError

_STREAM = 0x736D706C  # keeps these draws apart from others made of the same seed


class Sampler:
    """Shuffled batches of positions, a pure function of (seed, epoch, place in the epoch).

    Each epoch is a permutation of all images, cut into full batches; the rest that fills no batch is left out,
    another rest each time. Nothing has to be saved to continue: `batch(step)` is the same in any process at any time.
    With weights, an epoch is as many independent draws instead, so that an image may come several times or not at all.

    Raises InputError where the batch is larger than the data.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} must be at least 1")
        if batch_size > count:
            raise InputError(f"batch_size={batch_size} is larger than the data: there are {count} images")
        if seed < 0:
            raise InputError(f"seed={seed} must not be negative")
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self._weights: NDArray[np.float64] | None = None
        self._latest: tuple[int, NDArray[np.int64]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return self.count // self.batch_size

    def weigh(self, weights_N: NDArray[np.float64] | None) -> None:
        """From now on draw images in proportion to these weights, none negative; None goes back to permutations.

        Raises InputError where there is not one weight for each image, or none above 0.
        """
        if weights_N is not None and (len(weights_N) != self.count or not weights_N.sum() > 0 or weights_N.min() < 0):
            raise InputError(f"weights to draw {self.count} images by: one for each, none below 0 and one above it")
        self._weights, self._latest = weights_N, None

    def batch(self, step: int) -> NDArray[np.int64]:
        """(batch_size,) positions, all different unless weighed: those of batch `step`, counted over all epochs."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size].copy()

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The images of one epoch in their order."""
        if self._latest is None or self._latest[0] != epoch:
            key = (_STREAM, self.seed, epoch)
            weights = self._weights
            order = permutation(self.count, *key) if weights is None else _drawn(uniform(self.count, *key), weights)
            self._latest = epoch, order
        return self._latest[1]


def _drawn(uniform_N: NDArray[np.float64], weights_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each uniform number the image whose share of the weights, put end to end, it falls into."""
    edges_N = np.cumsum(weights_N)
    drawn_N: NDArray[np.int64] = np.searchsorted(edges_N, uniform_N * edges_N[-1], side="right")
    return drawn_N.clip(max=int(np.flatnonzero(weights_N)[-1]))  # rounding may point past the last image
