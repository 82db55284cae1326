"""Cached arrays with one row per image: features of a teacher, foreground masks, optical flow.

An array is a folder beside the decoded images: `rows.bin` (the rows, one after the other), `done.u8` (one byte a block
of rows, 1 where it is on the disk) and `derived.json` (shape, type, and what it was made of). It is written under
another name and renamed when all rows are there. A writer that was killed leaves its folder, and the next one goes on
behind the last finished block.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.caching.cache import Progress, readable
from likewise.data.caching.locking import exclusive, share
from likewise.data.caching.places import CACHE_VARIABLE, cache_root
from likewise.data.fingerprints import digest
from likewise.data.images import Images
from likewise.errors import InputError
from likewise.files import FULL, write_aside

Compute = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Positions of some images -> their rows (B, ...), whatever images are asked for beside them."""

FORMAT = 1
"""Changed whenever the layout is."""
PLACE = "derived"
"""Folder of all such arrays below the root of what is kept."""
BLOCK = 64
"""Rows that are computed and marked together: what a killed writer loses at most."""
WRITING = ".writing-"
ROWS, _DONE, _FACTS = "rows.bin", "done.u8", "derived.json"
_SPARE_BYTES = 64 << 20
_LOG = logging.getLogger(__name__)


def derive(
    images: Images,
    name: str,
    key: str,
    compute: Compute,
    *,
    block: int = BLOCK,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """The rows (N, ...) that `compute` makes of all images, read-only and memory-mapped: kept ones, else made now.

    `name` says what they are, in a word. `key` has to change with everything that the rows depend on beside the images,
    such as the weights of a teacher; a change of the images is noticed here. `compute` is called for `block`
    neighbouring images at a time and has to return the same shape and type for each. Of several processes that want
    the same array one computes and the others wait. `progress` is called with the rows done and all.

    Raises InputError where the disk has no room or cannot be written, and where `compute` returns rows of another
    number, shape or type than before.
    """
    folder = _folder(images, name, key, cache_dir)
    rows = _mapped(folder, len(images))
    if rows is not None:
        return rows
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(folder.parent / f".{folder.name}.lock", f"{name} of {images.name}"):
            rows = _mapped(folder, len(images))  # it may have been made while we waited
            if rows is None:
                facts = {"name": name, "data": images.name, "images": images.fingerprint, "key": key}
                with _Writer(folder, len(images), block, facts) as writer:
                    writer.fill(compute, progress)
                rows = _mapped(folder, len(images))
    except OSError as error:
        why = "no room is left on the disk" if error.errno in FULL else (error.strerror or str(error)).lower()
        raise InputError(
            f"cannot keep {name} in {folder.parent}: {why}; {CACHE_VARIABLE} names another place"
        ) from error
    if rows is None:
        raise InputError(f"{folder} vanished while it was read: another process removes it")
    return rows


def is_derived(images: Images, name: str, key: str, *, cache_dir: Path | None = None) -> bool:
    """Whether the whole array exists already."""
    return facts_of(_folder(images, name, key, cache_dir)) is not None


def _folder(images: Images, name: str, key: str, cache_dir: Path | None) -> Path:
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{images.name}-{name}")[:64].strip("-.")
    return cache_root(cache_dir) / PLACE / f"{safe}-{digest(FORMAT, images.fingerprint, name, key)}"


def facts_of(folder: Path) -> dict[str, Any] | None:
    """The recorded facts of an array; None where there is none, or one of another version."""
    with contextlib.suppress(OSError, ValueError):
        facts = dict(json.loads((folder / _FACTS).read_text(encoding="utf-8")))
        return facts if facts.get("format") == FORMAT else None
    return None


def _mapped(folder: Path, count: int) -> NDArray[Any] | None:
    """The finished array in `folder`, marked as in use while it lives; None where there is none, or a damaged one."""
    facts = facts_of(folder)
    if facts is None:
        return None
    shape, dtype = (count, *facts["shape"]), np.dtype(facts["dtype"])
    with contextlib.suppress(OSError), (folder / ROWS).open("rb") as file:
        if os.fstat(file.fileno()).st_size == math.prod(shape) * dtype.itemsize:
            share(file)
            rows = np.memmap(file, dtype=dtype, mode="r", shape=shape)
            with contextlib.suppress(OSError):
                os.utime(folder / _FACTS)  # the time of the last use
            return np.asarray(rows)
    return None


class _Writer:
    """Writes an array beside its place, block by block; for who holds its lock."""

    def __init__(self, folder: Path, count: int, block: int, facts: dict[str, Any]) -> None:
        self.folder, self.count, self.block = folder, count, block
        self.aside = folder.parent / f"{WRITING}{folder.name}"
        self.facts = {"format": FORMAT, "block": block, **facts}

    def __enter__(self) -> _Writer:
        left = facts_of(self.aside)
        if left is not None and left.get("block") != self.block:
            left = None
        if left is None:
            shutil.rmtree(self.aside, ignore_errors=True)
            self.aside.mkdir()
        else:
            self.facts = left
        self.done = np.zeros(math.ceil(self.count / self.block), np.uint8)
        with contextlib.suppress(OSError):
            before = np.fromfile(self.aside / _DONE, np.uint8)
            if left is not None and len(before) == len(self.done):
                self.done = before
        return self

    def __exit__(self, *_: object) -> None:
        """What was written stays, for whoever goes on."""

    def fill(self, compute: Compute, progress: Progress | None) -> None:
        """Compute what is missing, mark each block when it is on the disk, and put the array in its place."""
        if self.done.any():
            _LOG.info("going on with %s: %d of %d blocks are there", self.folder.name, self.done.sum(), len(self.done))
        with self._files() as (rows, marks):
            for number in np.flatnonzero(self.done == 0).tolist():
                start, end = number * self.block, min((number + 1) * self.block, self.count)
                made = np.ascontiguousarray(compute(np.arange(start, end, dtype=np.int64)))
                self._check(made, end - start)
                rows.seek(start * made[0].nbytes)
                rows.write(made.data)
                _to_disk(rows)
                marks.seek(number)
                marks.write(b"\1")
                _to_disk(marks)
                if progress is not None:
                    progress(end, self.count)
        shutil.rmtree(self.folder, ignore_errors=True)  # a damaged one
        self.aside.rename(self.folder)

    @contextlib.contextmanager
    def _files(self) -> Iterator[tuple[Any, Any]]:
        """Both files, open to be changed in place."""
        for path in (self.aside / ROWS, self.aside / _DONE):
            path.touch()
        with (self.aside / ROWS).open("r+b") as rows, (self.aside / _DONE).open("r+b") as marks:
            marks.write(self.done.tobytes())
            yield rows, marks

    def _check(self, made: NDArray[Any], count: int) -> None:
        """Hold rows to those before; the first ones say what all are, and whether there is room for them."""
        if len(made) != count:
            raise InputError(f"{self.facts['name']} of {count} images has {len(made)} rows: one an image is needed")
        kind = {"shape": list(made.shape[1:]), "dtype": made.dtype.str}
        if "shape" not in self.facts:
            needed = made[0].nbytes * self.count
            if needed + _SPARE_BYTES > shutil.disk_usage(self.folder.parent).free:
                raise OSError(errno.ENOSPC, f"{readable(needed)} are needed")
            self.facts |= kind
            with write_aside(self.aside / _FACTS) as file:
                file.write(json.dumps(self.facts).encode())
        elif kind != (before := {part: self.facts[part] for part in kind}):
            shapes = f"rows of {tuple(kind['shape'])} {kind['dtype']} after {tuple(before['shape'])} {before['dtype']}"
            raise InputError(f"{self.facts['name']}: {shapes}")


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
