"""Which pictures make up which batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError

_STREAM = 0x736D706C  # keeps these draws apart from others made of the same seed


class Sampler:
    """Shuffled batches of positions, a pure function of (seed, epoch, place in the epoch).

    Each epoch is a permutation of all pictures, cut into full batches; the rest that fills no batch is left out,
    another rest each time. Nothing has to be saved to continue: `batch(step)` is the same in any process at any time.

    Raises InputError where the batch is larger than the data.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} must be at least 1")
        if batch_size > count:
            raise InputError(f"batch_size={batch_size} is larger than the data: there are {count} pictures")
        if seed < 0:
            raise InputError(f"seed={seed} must not be negative")
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self._latest: tuple[int, NDArray[np.int64]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return self.count // self.batch_size

    def batch(self, step: int) -> NDArray[np.int64]:
        """(batch_size,) different positions: those of batch `step`, counted over all epochs from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size].copy()

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The permutation of one epoch."""
        latest = self._latest
        if latest is None or latest[0] != epoch:
            # Sorting raw bits: NumPy promises that the bits of a generator stay the same from version to version, but
            # not what its shuffle makes of them.
            bits = np.random.Philox(np.random.SeedSequence([_STREAM, self.seed, epoch])).random_raw(self.count)
            latest = epoch, np.argsort(bits, kind="stable")
            self._latest = latest
        return latest[1]
