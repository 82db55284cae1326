"""The loader: order, sharing, ending."""

from __future__ import annotations

import gc
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from likewise.data import Images, LoadedBatch, Loader, Sampler, open_source, prepare
from likewise.errors import InputError
from tests.data.images import noise

COUNT, BATCH = 22, 6


@pytest.fixture
def images(cache: Path) -> Images:
    return prepare(
        open_source([(noise(5, 6, seed), seed % 3) for seed in range(COUNT)]), short_side=None, cache_dir=cache
    )


def take(loader: Loader, first: int, count: int) -> list[LoadedBatch]:
    batches = loader.batches(first)
    try:
        return list(islice(batches, count))
    finally:
        batches.close()


def threads() -> int:
    return sum(thread.name == "likewise-loader" for thread in threading.enumerate())


def test_batches_follow_the_sampler(images: Images) -> None:
    sampler = Sampler(COUNT, BATCH, 3)
    for step, batch in enumerate(take(Loader(images, sampler, device="cpu"), 0, 8)):
        np.testing.assert_array_equal(batch.ids.numpy(), sampler.batch(step))
        assert torch.equal(batch.pixels, images.gather(sampler.batch(step))[0])
        assert batch.sizes.tolist() == [[5, 6]] * BATCH
        assert batch.labels is not None
        assert torch.equal(batch.labels, batch.ids % 3)


def test_starting_later_gives_the_same_batches(images: Images) -> None:
    loader = Loader(images, Sampler(COUNT, BATCH, 3), device="cpu")
    for early, late in zip(take(loader, 0, 9)[5:], take(loader, 5, 4), strict=True):
        assert torch.equal(early.ids, late.ids)
        assert torch.equal(early.pixels, late.pixels)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_what_one_would_see(images: Images, world: int) -> None:
    sampler = Sampler(COUNT, BATCH, 0)
    alone = take(Loader(images, sampler, device="cpu"), 2, 5)
    shares = [take(Loader(images, sampler, device="cpu", rank=rank, world=world), 2, 5) for rank in range(world)]
    for step, batch in enumerate(alone):
        together = torch.stack([share[step].pixels for share in shares], dim=1).flatten(0, 1)
        assert torch.equal(together, batch.pixels)
        assert torch.equal(torch.stack([share[step].ids for share in shares], dim=1).flatten(), batch.ids)


def test_no_labels(cache: Path) -> None:
    images = prepare(open_source([noise(), noise()]), short_side=None, cache_dir=cache)
    assert take(Loader(images, Sampler(2, 2, 0), device="cpu"), 0, 1)[0].labels is None


def test_thread_ends_with_the_generator(images: Images) -> None:
    loader = Loader(images, Sampler(COUNT, BATCH, 0), device="cpu", ahead=1)
    batches = loader.batches(0)
    next(batches)
    assert threads() == 1
    batches.close()
    assert threads() == 0
    dropped = loader.batches(0)
    next(dropped)
    del dropped
    gc.collect()
    assert threads() == 0


class Slow(Images):
    """Images that take their time, count their batches, and fail at one of them."""

    seconds = 0.0
    fails_at = -1
    gathered = 0

    def gather(self, index: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        if self.gathered == self.fails_at:
            raise OSError("the disk is gone")
        time.sleep(self.seconds)
        self.gathered += 1
        return super().gather(index)


@pytest.fixture
def slow(images: Images) -> Slow:
    images.__class__ = Slow
    assert isinstance(images, Slow)
    return images


def test_errors_in_the_thread_are_raised_where_batches_are_used(slow: Slow) -> None:
    slow.fails_at = 2
    batches = Loader(slow, Sampler(COUNT, BATCH, 0), device="cpu").batches(0)
    next(batches)
    next(batches)
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    assert threads() == 0


def test_waiting_is_measured(slow: Slow) -> None:
    slow.seconds = 0.03
    loader = Loader(slow, Sampler(COUNT, BATCH, 0), device="cpu")
    take(loader, 0, 4)
    assert 0.06 < loader.waited < 2.0


def test_batches_are_fetched_ahead_and_no_further(slow: Slow) -> None:
    batches = Loader(slow, Sampler(COUNT, BATCH, 0), device="cpu", ahead=3).batches(0)
    next(batches)
    deadline = time.monotonic() + 5
    while slow.gathered < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert slow.gathered == 5  # one used, three waiting, one in the thread's hand
    batches.close()


def test_what_cannot_be_shared_is_refused(images: Images) -> None:
    with pytest.raises(InputError, match="cannot be shared equally by 4 processes"):
        Loader(images, Sampler(COUNT, BATCH, 0), device="cpu", world=4)
    with pytest.raises(InputError, match="draws from 10 images, and there are 22"):
        Loader(images, Sampler(10, 5, 0), device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gets_the_same_batches(images: Images) -> None:
    sampler = Sampler(COUNT, BATCH, 0)
    for here, there in zip(
        take(Loader(images, sampler, device="cpu"), 0, 9),
        take(Loader(images, sampler, device="cuda"), 0, 9),
        strict=True,
    ):
        assert there.pixels.is_cuda
        assert there.ids.is_cuda
        assert not there.sizes.is_cuda
        assert torch.equal(here.pixels, there.pixels.cpu())
        assert torch.equal(here.ids, there.ids.cpu())
