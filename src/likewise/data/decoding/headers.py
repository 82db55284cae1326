"""Broken files of a source, recognised by their first and last bytes; checks all files, not a sample."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from likewise.data.source import Broken, BrokenImage, Joined, Part, Source, spread
from likewise.data.sources.files import FileSource

MOST = 100_000
"""Files that are looked at; of more, an even sample."""
_WORKERS = 8
_END = 1024
"""Bytes at the end among which the last mark of a whole file stands: programs hang some of their own behind it."""
_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "JPEG2000": b"\xff\xd9", "PNG": b"IEND"}
_STRIPS = ((273, 279), (324, 325))
"""Tags of TIFF with the places and the lengths of strips and of tiles."""


class Checked(NamedTuple):
    """The state of a source's files, by their headers and ends."""

    looked: int
    """Files that were looked at; 0 where the images are no files of their own."""
    broken: tuple[Broken, ...]
    """Those that cannot be read."""


def check_headers(source: Source) -> Checked:
    """Look at the header and the end of every file of `source`, and decode those that do not look whole.

    A file that is damaged in its middle is not noticed.
    """
    paths = _paths(source)
    if paths is None:
        return Checked(0, ())
    positions = [int(position) for position in spread(len(paths), MOST)]

    def check(position: int) -> Broken | None:
        try:
            if not _looks_whole(Path(paths[position])):
                source.look(position)
        except BrokenImage as error:
            return Broken(source.names[position], error.reason)
        return None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # no pixel is decoded here
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(check, positions))
    return Checked(len(positions), tuple(broken for broken in found if broken is not None))


def _paths(source: Source) -> Sequence[str] | None:
    """Where the images of a source are, if each is a file."""
    if isinstance(source, FileSource):
        return source.paths
    if isinstance(source, Part):
        whole = _paths(source.whole)
        return None if whole is None else [whole[position] for position in source.index]
    if isinstance(source, Joined):
        parts = [_paths(part) for part in source.parts]
        return None if None in parts else [path for part in parts if part is not None for path in part]
    return None


def _looks_whole(path: Path) -> bool:
    """Whether a file begins and ends as its format wants it; False also where that cannot be told."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _END))
            end = file.read()
            file.seek(0)
            start = file.read(12)
            file.seek(0)
            with Image.open(file) as image:
                return _ends(image, start, end, size)
    except Exception:  # noqa: BLE001  # whatever is wrong, decoding tells it in words
        return False


def _ends(image: Any, start: bytes, end: bytes, size: int) -> bool:
    """Whether the file that an image was opened from, of `size` bytes, goes on to where its format wants it to end.

    `start` are its first bytes, `end` its last.
    """
    if image.format in _MARKS:
        return _MARKS[image.format] in end
    if image.format == "GIF":
        return end.rstrip(b"\0").endswith(b";")
    if image.format == "WEBP":
        return int.from_bytes(start[4:8], "little") + 8 <= size
    if image.format == "TIFF":
        tags = image.tag_v2
        places = [(tags[place], tags[length]) for place, length in _STRIPS if place in tags and length in tags]
        return all(begins + count <= size for pair in places for begins, count in zip(*pair, strict=True))
    return bool(image.tile) and all(int(tile[2]) + _least(image, tile) <= size for tile in image.tile)


def _least(image: Any, tile: Any) -> int:
    """Bytes that the pixels of a tile take at least: all of them where they are not compressed."""
    if tile[0] != "raw":
        return 1
    stride = tile[3][1] if isinstance(tile[3], tuple) and len(tile[3]) > 1 else 0
    bits = 1 if image.mode == "1" else 8 * len(image.getbands())
    return int(image.height * (stride or image.width * bits // 8))
