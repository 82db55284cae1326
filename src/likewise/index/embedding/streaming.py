"""Images in batches, decoded on demand and not cached: memory does not grow with their number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import open_source
from likewise.data.caching.cache import processors
from likewise.data.caching.store import digest_of
from likewise.data.decoding.decode import decode
from likewise.data.decoding.decoded import Pixels
from likewise.data.decoding.pixels import fit
from likewise.data.fingerprints import file_facts
from likewise.data.source import Broken, BrokenImage, Joined, Part, Source
from likewise.data.sources.files import FileSource, read_bytes

_BLACK = np.zeros((1, 1, 3), np.uint8)
"""What stands for an image that cannot be read; its row is left out."""


class ImageFacts(NamedTuple):
    """Facts of a decoded image."""

    bytes: str
    """Digest of its file, empty where it has none of its own."""
    pixels: str
    """Digest of its pixels as the encoder is shown them, but for the crop."""
    stamp: str
    """`ImagePlace.stamp` from before it was read: a file that is written meanwhile is looked at again the next time."""


class Looked(NamedTuple):
    """The result of embedding some images."""

    positions: list[int]
    """(B,) in their source."""
    vectors: NDArray[np.float32]
    """(B, F)"""
    facts: list[ImageFacts | None]
    """(B,) None for one that cannot be read, whose vector means nothing."""
    broken: dict[int, str]
    """Why some cannot be read, where that was found elsewhere than by the stream of this process."""


class ImagePlace(NamedTuple):
    """The location of an image."""

    path: str
    """Absolute path of its file; else the name of the data and its place there."""
    split: str
    """Empty where the data has none."""
    stamp: str
    """Size and time of its file, else the fingerprint of its data: while it is the same, the image is."""


def open_whole(data: Any, *, split: str | None = None, labels: str | None = None) -> Source:
    """`open_source`, but of data with splits, all of which are wanted, every image knows its own.

    Raises InputError as that does.
    """
    source = open_source(data, split=split, labels=labels)
    if split is not None or len(source.splits) < 2 or isinstance(data, Source):
        return source
    parts = [open_source(data, split=one, labels=labels) for one in source.splits]
    return Joined.of(parts) if sum(map(len, parts)) == len(source) else source


def within(source: Source, position: int) -> tuple[Source, int]:
    """The source behind parts and joins that holds an image, and its position there."""
    if isinstance(source, Part):
        return within(source.whole, int(source.index[position]))
    if isinstance(source, Joined):
        return within(*source.place(position))
    return source, position


def place_of(source: Source, position: int) -> ImagePlace:
    """The location of the image at `position`."""
    split = source.split or ""
    if isinstance(source, Joined) and not split:
        split = source.place(position)[0].split or ""
    inner, at = within(source, position)
    if isinstance(inner, FileSource):
        path = Path(inner.paths[at]).absolute()
        facts = file_facts(path)
        return ImagePlace(str(path), split, f"{facts.size}:{facts.modified}")
    return ImagePlace(f"{inner.name}#{inner.names[at]}", split, inner.fingerprint)


class Stream:
    """The images of a source at some positions (`likewise.encoders.embedding.ImageSet`), with what is known of each."""

    def __init__(self, source: Source, short_side: int, *, workers: int | None = None) -> None:
        self.source, self.short_side = source, short_side
        self.facts: dict[int, ImageFacts] = {}
        """Of images that were decoded and not asked for yet."""
        self.broken: dict[int, Broken] = {}
        """By position."""
        self._workers = workers or processors()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="likewise-decode")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __len__(self) -> int:
        return len(self.source)

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Pixels (B, H, W, 3), padded to the largest, and sizes (B, 2)."""
        images = list(self._pool.map(self._decoded, index.tolist()))
        sizes = np.array([image.shape[:2] for image in images], np.int64)
        height, width = sizes.max(axis=0)
        pixels = np.zeros((len(images), height, width, 3), np.uint8)
        for row, image in enumerate(images):
            pixels[row, : image.shape[0], : image.shape[1]] = image
        return torch.from_numpy(pixels), torch.from_numpy(sizes)

    def look(self, positions: Sequence[int]) -> list[ImageFacts | None]:
        """Facts of images without embedding them; None for what cannot be read."""
        list(self._pool.map(self._decoded, positions))
        return [self.facts.pop(position, None) for position in positions]

    def _decoded(self, position: int) -> Pixels:
        try:
            source, at = within(self.source, position)
            digest, stamp = "", place_of(self.source, position).stamp
            if isinstance(source, FileSource):
                content = read_bytes(source.paths[at])
                digest = hashlib.blake2b(content, digest_size=16).hexdigest()
                found = decode(content, self.short_side, source.spans)
            else:
                found = source.read(at, self.short_side)
            pixels = fit(found, self.short_side)
        except BrokenImage as broken:
            self.broken[position] = Broken(self.source.names[position], broken.reason)
            return _BLACK
        self.facts[position] = ImageFacts(digest, f"{digest_of(pixels):016x}", stamp)
        return pixels
