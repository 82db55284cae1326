"""Decoding of each image of a source once, into `Images` on disk."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import re
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from likewise.data.caching import store
from likewise.data.caching.locking import exclusive
from likewise.data.caching.places import CACHE_VARIABLE, cache_root
from likewise.data.decoding.pixels import fit
from likewise.data.fingerprints import digest
from likewise.data.images import Images
from likewise.data.source import Broken, BrokenImage, Pixels, Source, spread
from likewise.errors import InputError

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all."""

CROP_MARGIN = 1.15
_MOST_WORKERS = 16
_TASK_BYTES = 8 << 20
_TASK_IMAGES = 64
_SHORT_SECONDS = 0.25e-3
"""Images that are decoded faster than this spend most of it under Python's lock: threads would only slow it down."""
_SPARE_BYTES = 64 << 20
_NAMED = 3
_TRIED = 64
_LOG = logging.getLogger(__name__)


class Size(NamedTuple):
    """The size of a cache."""

    images: int
    """Images in the source."""
    bytes_each: float
    """Mean over a sample."""
    seconds_each: float
    """Time to decode one: median over the sample."""

    @property
    def total(self) -> int:
        """Bytes of all."""
        return math.ceil(self.images * self.bytes_each)


def cached_side(image_size: int) -> int:
    """Short side that images are kept at for an encoder that sees `image_size` pixels: 1.15 times as much.

    Random crops have then something to choose from. Smaller images are never enlarged.
    """
    return math.ceil(CROP_MARGIN * image_size)


def estimate(source: Source, *, short_side: int | None, sample: int = 32) -> Size:
    """The size of the cache of `source`, estimated from an even sample of its images."""
    sizes: list[int] = []
    times: list[float] = []
    for position in spread(len(source), sample):
        began = time.perf_counter()
        with contextlib.suppress(BrokenImage):
            sizes.append(fit(source.read(int(position), short_side), short_side).nbytes)
            times.append(time.perf_counter() - began)
    if not sizes:
        return Size(len(source), 0.0, 0.0)
    return Size(len(source), statistics.fmean(sizes), statistics.median(times))


def prepare(
    source: Source,
    *,
    short_side: int | None,
    cache_dir: Path | None = None,
    max_broken: float = 0.2,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Images:
    """The images of `source`, decoded: from the cache where they are in it, else into it first.

    Images are reduced to `short_side` (Lanczos), never enlarged; None keeps their size. In both cases the long side
    is cut about its centre to three times the short side. The cache lies in `cache_dir`, else where LIKEWISE_CACHE
    says, else in ~/.cache/likewise, under the fingerprint of the source and `short_side`; it appears there only when it
    is complete, and of several processes that want it one writes while the others wait. Labels and names are the
    source's and not part of the cache. `progress` is called while decoding, in threads of which there are `workers`.

    Images that could not be read for a reason that may have passed (`BrokenImage.passing`) are tried again; where one
    can be read now, the cache is made anew.

    Raises InputError where more than the share `max_broken` of the images, or all of them, cannot be read; where the
    disk has no room; and where the cache cannot be written.
    """
    if not len(source):
        raise InputError(f"{source.name} holds no images")
    if short_side is not None and short_side < 1:
        raise InputError(f"short_side={short_side}: images are at least 1 pixel high")
    key = digest(store.FORMAT, source.fingerprint, short_side)
    folder = cache_root(cache_dir) / store.PLACE / f"{_safe(source.name)}-{key}"
    stored = _usable(folder, source, short_side)
    if stored is None:
        with _writing_to(folder.parent), exclusive(folder.parent / f".{key}.lock", source.name) as alone:
            stored = _usable(folder, source, short_side)  # it may have been made while we waited
            if stored is None:
                if alone:
                    store.remove_abandoned(folder)
                _write(source, folder, short_side, max_broken, progress, workers)
                stored = store.load(folder)
    if stored is None:
        raise vanished(folder)
    store.mark_used(folder)
    broken = [Broken(source.names[position], reason) for position, reason in stored.broken]
    _check_broken(source, broken, max_broken)
    whole = not broken
    try:
        return Images(
            name=source.name,
            fingerprint=key if whole else digest(key, [position for position, _ in stored.broken]),
            names=source.names if whole else [source.names[position] for position in stored.positions],
            positions=stored.positions,
            labels=source.labels if whole or source.labels is None else source.labels[stored.positions],
            class_names=source.class_names,
            broken=tuple(broken),
            sizes=stored.sizes,
            offsets=stored.offsets,
            digests=stored.digests,
            ranges=stored.ranges,
            left_out=source.left_out,
            columns=source.columns if whole else {n: one.at(stored.positions) for n, one in source.columns.items()},
            file=stored.pixels,
            length=stored.length,
        )
    except FileNotFoundError as error:
        raise vanished(folder) from error


def _usable(folder: Path, source: Source, short_side: int | None) -> store.Stored | None:
    """The cache in `folder`; None where there is none, or one that lacks an image which can be read by now."""
    stored = store.load(folder)
    for position in () if stored is None else stored.passing[:_TRIED]:
        with contextlib.suppress(BrokenImage):
            source.read(position, short_side)
            return None
    return stored


def vanished(folder: Path) -> InputError:
    """The error for a cache that somebody removes while it is opened."""
    return InputError(f"the cache in {folder} vanished while it was read: another process removes it or makes it anew")


# Writing -----------------------------------------------------------------------------------------------------------


def _write(
    source: Source,
    folder: Path,
    short_side: int | None,
    max_broken: float,
    progress: Progress | None,
    workers: int | None,
) -> None:
    size = estimate(source, short_side=short_side)
    free = shutil.disk_usage(folder.parent).free
    place = f"{folder.parent} ({CACHE_VARIABLE} names another place)"
    if size.total + _SPARE_BYTES > free:
        raise InputError(
            f"{size.images:,} decoded images of {source.name} take about {readable(size.total)}, and there are "
            f"{readable(free)} free in {place}; smaller images take less"
        )
    _LOG.info("decoding %d images of %s, about %s, into %s", *size[:1], source.name, readable(size.total), place)
    workers = workers or (1 if size.seconds_each < _SHORT_SECONDS else processors())
    each = min(_TASK_IMAGES, max(1, int(_TASK_BYTES / max(1.0, size.bytes_each))))
    done = 0
    with store.Writer(folder) as writer:
        for images in _decoded(source, short_side, each, workers):
            for image in images:
                if isinstance(image, BrokenImage):
                    writer.add_broken(done, image)
                else:
                    writer.add(done, image)
                done += 1
            if len(writer.broken) > max_broken * len(source):  # no need to go through all of them to know
                _check_broken(source, [Broken(source.names[at], why) for at, why in writer.broken], max_broken, done)
            if progress is not None:
                progress(done, len(source))
        if len(writer.broken) < done:
            ranges = {} if source.spans is None else source.spans.known
            facts = {"name": source.name, "fingerprint": source.fingerprint, "short_side": short_side, "ranges": ranges}
            writer.commit(facts)
            return
    _check_broken(source, [Broken(source.names[at], why) for at, why in writer.broken], max_broken)


def _decoded(source: Source, short_side: int | None, each: int, workers: int) -> Iterator[list[Pixels | BrokenImage]]:
    """All images in order, `each` at a time, or in place of an image the reason why it cannot be read."""

    def decode(start: int) -> list[Pixels | BrokenImage]:
        found: list[Pixels | BrokenImage] = []
        for position in range(start, min(start + each, len(source))):
            try:
                found.append(fit(source.read(position, short_side), short_side))
            except BrokenImage as broken:
                found.append(broken)
        return found

    waiting: deque[Future[list[Pixels | BrokenImage]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="likewise-decode") as pool:
        try:
            for start in range(0, len(source), each):
                waiting.append(pool.submit(decode, start))
                if len(waiting) > 2 * workers:  # so much is held in memory, and no more
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_broken(source: Source, broken: Sequence[Broken], most: float, seen: int | None = None) -> None:
    """Raise InputError where too many of the images are broken. `seen`: how many have been looked at so far."""
    if len(broken) <= most * len(source) and len(broken) < len(source):
        return
    some = ", ".join(f"{entry.name} ({entry.reason})" for entry in broken[:_NAMED])
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    of = f"the first {seen} of {len(source)}" if seen is not None and seen < len(source) else f"{len(source)}"
    raise InputError(
        f"{len(broken)} of {of} images of {source.name} cannot be read, more than the allowed share of {most:.0%}: "
        f"{some}{more}"
    )


@contextlib.contextmanager
def _writing_to(parent: Path) -> Iterator[None]:
    """Make the folder; what the system says against writing there becomes one line."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        why = "no room is left on the disk" if error.errno == errno.ENOSPC else (error.strerror or str(error)).lower()
        raise InputError(
            f"cannot write decoded images to {parent}: {why}; {CACHE_VARIABLE} names another place"
        ) from error


def processors() -> int:
    """Processors that this process may use, within reason."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, allowed)


def _safe(name: str) -> str:
    """A part of a file name on any system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:64].strip("-.") or "data"


def readable(size: float) -> str:
    """Bytes for people: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
