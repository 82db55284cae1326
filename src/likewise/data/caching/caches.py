"""Listing and removing cached data sets (decoded images, and arrays derived from them): `likewise cache`."""

from __future__ import annotations

import math
import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from likewise.data.caching import derived, store
from likewise.data.caching.cache import readable
from likewise.data.caching.locking import unused
from likewise.data.caching.places import cache_root
from likewise.errors import InputError, unknown

_DAY = 86400.0
_UNFINISHED = re.compile(rf"^{re.escape(store.WRITING)}(?P<name>.+)-(?P<key>[0-9a-f]{{32}})-[0-9a-f]{{8}}$")
_UNNAMED = "unknown"


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The decoded images of one data set at one size, or an array with a row for each."""

    name: str
    """What it is called: the folder that it lies in."""
    data: str
    """Of which data set."""
    short_side: int | None
    """Pixels that the short side was reduced to; None where images keep their size, and where that is not known."""
    images: int
    """Images in it."""
    holds: str = "images"
    """`images`, or what an array is: `teacher` for vectors of a teacher, `masks`, ..."""
    bytes: int
    """On the disk."""
    used: float
    """Seconds since 1970 of the last use."""
    state: str
    """`ready`, `in use`, `unfinished` (its writer was killed), or `outdated` (of another version, or damaged)."""
    folder: Path
    """Where."""

    @property
    def days(self) -> float:
        """Since the last use."""
        return max(0.0, (time.time() - self.used) / _DAY)


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """The selected caches, and the outcome for each."""

    root: Path
    """Where caches lie."""
    caches: tuple[Cache, ...]
    """Those asked for."""
    removed: tuple[Cache, ...] = ()
    """Those that are gone."""
    others: dict[str, int]
    """What else is kept there and never cleared: bytes by folder."""

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        gone = {cache.name for cache in self.removed}
        rows = [
            {
                "name": cache.name,
                "data": cache.data,
                "holds": cache.holds,
                "short_side": cache.short_side,
                "images": cache.images,
                "bytes": cache.bytes,
                "last_used": datetime.fromtimestamp(cache.used, UTC).isoformat(timespec="seconds"),
                "state": "removed" if cache.name in gone else cache.state,
            }
            for cache in self.caches
        ]
        return {"root": str(self.root), "caches": rows, "others": self.others}

    def to_text(self) -> str:
        """For a person: a line for each cache, and their sum."""
        gone = {cache.name for cache in self.removed}
        rows = [("data set", "holds", "images", "side", "size", "last used", "state", "name")]
        for cache in self.caches:
            when = datetime.fromtimestamp(cache.used, UTC).astimezone().strftime("%Y-%m-%d")
            side = str(cache.short_side or "any") if cache.holds == "images" else "-"
            state = "removed" if cache.name in gone else cache.state
            rows.append(
                (cache.data, cache.holds, f"{cache.images:,}", side, readable(cache.bytes), when, state, cache.name)
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        sum_ = readable(sum(cache.bytes for cache in self.caches))
        result = [*lines, f"{len(self.caches)} caches, {sum_}, in {self.root}"] if self.caches else []
        if not self.caches:
            result.append(f"nothing of that kind is kept in {self.root}")
        if self.removed:
            result.append(f"removed {len(self.removed)}, {readable(sum(cache.bytes for cache in self.removed))}")
        if self.others:
            kept = ", ".join(f"{name} {readable(size)}" for name, size in self.others.items())
            result.append(f"also kept there, and not cleared by this: {kept}")
        return "\n".join(result)


def manage(names: Sequence[str] = (), *, older_than: float | None = None, clear: bool = False) -> Cleared:
    """Decoded images and arrays made of them, those longest unused first; with `clear` they are removed.

    `names` are those of caches (or how one of them begins), or of data sets; all without. `older_than` leaves out what
    was used in the last so many days. A cache that any process reads or writes is never removed; what is removed is
    decoded, or computed, again when it is wanted. Raises InputError for a name that no cache has, and for days below 0.
    """
    if older_than is not None and older_than < 0:
        raise InputError(f"older_than={older_than:g}: a number of days, 0 or more")
    root = cache_root()
    chosen = _chosen(_caches(root), names)
    chosen = [cache for cache in chosen if older_than is None or cache.days >= older_than]
    removed = tuple(cache for cache in chosen if clear and _remove(cache))
    return Cleared(root=root, caches=tuple(chosen), removed=removed, others=_others(root))


def _chosen(caches: list[Cache], names: Sequence[str]) -> list[Cache]:
    for name in names:
        if not any(name == cache.data or cache.name.startswith(name) for cache in caches):
            raise unknown("cache", name, sorted({cache.data for cache in caches}))
    return [c for c in caches if not names or any(name == c.data or c.name.startswith(name) for name in names)]


def _caches(root: Path) -> list[Cache]:
    found = [cache for folder in _folders(root / store.PLACE) if (cache := _cache(folder)) is not None]
    found += [array for folder in _folders(root / derived.PLACE) if (array := _array(folder)) is not None]
    return sorted(found, key=lambda cache: (cache.used, cache.name))


def _folders(place: Path) -> list[Path]:
    try:
        return [folder for folder in place.iterdir() if folder.is_dir()]
    except OSError:
        return []


def _array(folder: Path) -> Cache | None:
    """What lies in the folder of an array; None where it vanishes meanwhile."""
    facts, writing = derived.facts_of(folder), folder.name.startswith((derived.WRITING, store.REMOVING))
    known = facts or {}
    try:
        used = max(file.stat().st_mtime for file in (folder, *folder.iterdir()))
        size = sum(file.stat().st_size for file in folder.iterdir())
        rows = _row_bytes(known)
        free = _is_free(folder)
    except OSError:
        return None
    return Cache(
        name=folder.name,
        data=str(known.get("data", folder.name.removeprefix(derived.WRITING).rpartition("-")[0] or _UNNAMED)),
        short_side=None,
        images=0 if rows == 0 else (folder / derived.ROWS).stat().st_size // rows,
        holds=str(known.get("name", "array")),
        bytes=size,
        used=used,
        state="in use" if not free else "unfinished" if writing else "outdated" if facts is None else "ready",
        folder=folder,
    )


def _row_bytes(facts: Mapping[str, Any]) -> int:
    """Bytes of a row of an array, by what is written down of it; 0 where nothing is."""
    if "shape" not in facts:
        return 0
    return int(math.prod(facts["shape"]) * np.dtype(facts["dtype"]).itemsize)


def _cache(folder: Path) -> Cache | None:
    """What lies in one folder; None where it vanishes meanwhile."""
    facts = store.facts(folder) or {}
    unfinished = _UNFINISHED.match(folder.name)
    try:
        used = max(file.stat().st_mtime for file in (folder, *folder.glob("*.json")))
        size = sum(file.stat().st_size for file in folder.iterdir())
        if not _is_free(folder):
            state = "in use"
        elif unfinished or folder.name.startswith(store.REMOVING):
            state = "unfinished"
        else:
            state = "outdated" if store.load(folder) is None else "ready"
    except OSError:
        return None
    by_name = unfinished["name"] if unfinished else folder.name.rpartition("-")[0] or _UNNAMED
    return Cache(
        name=folder.name,
        data=str(facts.get("name", by_name)),
        short_side=facts.get("short_side"),
        images=int(facts.get("pictures", 0)),
        bytes=size,
        used=used,
        state=state,
        folder=folder,
    )


def _is_free(folder: Path) -> bool:
    with unused(_marked(folder)) as free:
        return free


def _marked(folder: Path) -> Path:
    """The file whose lock says whether a cache is in use: its pixels or rows, or the lock of whoever writes it."""
    if folder.parent.name == derived.PLACE:
        rows = folder / derived.ROWS
        return rows if rows.exists() and not folder.name.startswith(derived.WRITING) else _writers_lock(folder)
    pixels = folder / store.PIXELS
    return pixels if pixels.exists() and not _UNFINISHED.match(folder.name) else _writers_lock(folder)


def _writers_lock(folder: Path) -> Path:
    if folder.parent.name == derived.PLACE:
        return folder.parent / f".{folder.name.removeprefix(derived.WRITING)}.lock"
    unfinished = _UNFINISHED.match(folder.name)
    key = unfinished["key"] if unfinished else folder.name.rpartition("-")[2]
    return folder.parent / f".{key}.lock"


def _remove(cache: Cache) -> bool:
    """Remove a cache unless it is in use. Raises InputError where the system says no."""
    aside = cache.folder.parent / f"{store.REMOVING}{uuid.uuid4().hex}"
    try:
        with unused(_marked(cache.folder)) as free:
            if not free:
                return False
            cache.folder.rename(aside)  # so that nobody finds half a cache
        shutil.rmtree(aside)
        with suppress(FileNotFoundError):
            _writers_lock(cache.folder).unlink()
    except OSError as error:
        raise InputError(f"cannot remove {cache.folder}: {(error.strerror or str(error)).lower()}") from error
    return True


def _others(root: Path) -> dict[str, int]:
    """Bytes of the other folders."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and folder.name not in {store.PLACE, derived.PLACE}:
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                found |= {folder.name: size} if size else {}
    return found
