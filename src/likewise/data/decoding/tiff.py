"""TIFF files: any number of bits, signed or floating point, in strips or tiles, in one plane or several.

Pillow unpacks the bytes of each plane, as if they were a grey image; what the bytes mean is worked out here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from likewise.data.decoding.decoded import BrokenImage
from likewise.data.decoding.formats import open_image, within_reason

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIPS = 256, 257, 258, 259, 262, 266, 273
_ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _PREDICTOR, _COLOURS = 274, 277, 278, 279, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _FORMAT, _SUBSAMPLING = 322, 323, 324, 325, 338, 339, 530
_SIZES = {1: "B", 2: "c", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_BYTEWISE = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})  # none, LZW, deflate twice, PackBits, LZMA, Zstandard
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR = 0, 1, 2, 6
_MOST_ENTRIES = 4096
_LONGEST_TAG = 1 << 24

Tags = Mapping[int, tuple[Any, ...]]
"""Values of the tags of a directory."""


@dataclass(frozen=True)
class Layout:
    """How the first image of a TIFF file is stored."""

    order: str
    """`<` or `>`: of the bytes in a number."""
    tags: Tags
    """The directory."""

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return int(self.tags.get(tag, (default,))[0])

    @property
    def width(self) -> int:
        """Columns of pixels as stored."""
        return self.one(_WIDTH, 0)

    @property
    def height(self) -> int:
        """Rows of pixels as stored."""
        return self.one(_HEIGHT, 0)

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return self.one(_BITS, 1)

    @property
    def format(self) -> str:
        """Kind of number, as NumPy has it: u, i, f; c for complex ones."""
        return {2: "i", 3: "f", 5: "c", 6: "c"}.get(self.one(_FORMAT, 1), "u")

    @property
    def samples(self) -> int:
        """Numbers of a pixel."""
        return self.one(_SAMPLES, 1)

    @property
    def orientation(self) -> int:
        """As in EXIF, 1 to 8."""
        return self.one(_ORIENTATION, 1)

    @property
    def is_inverted(self) -> bool:
        """Whether 0 is white."""
        return self.one(_PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO

    @property
    def is_deep(self) -> bool:
        """Whether these are shades in other numbers than whole ones of at most 8 bits, which Pillow reads rightly."""
        grey_or_rgb = self.one(_PHOTOMETRIC, _BLACK_IS_ZERO) in {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB}
        return grey_or_rgb and not (self.format == "u" and self.bits in {1, 2, 4, 8})

    @property
    def misread(self) -> str | None:
        """Why Pillow would give other colours than the file has, for kinds that are not read here either."""
        if not self.is_deep and self.bits == 16 and self.is_planar:
            return "TIFF of 16 bits a channel in planes is read in grey and RGB only"
        if self.one(_PHOTOMETRIC, 0) == _YCBCR and self.one(_COMPRESSION, 1) == 1:
            sampling = self.tags.get(_SUBSAMPLING, (1, 1))
            return None if sampling == (1, 1) else "TIFF of fewer colours than shades, uncompressed, is not read"
        return None

    @property
    def is_planar(self) -> bool:
        """Whether each channel lies in a plane of its own."""
        return self.one(_PLANAR, 1) == 2 and self.samples > 1

    @property
    def colours(self) -> int:
        """Number of values of a pixel that are its shade."""
        return 3 if self.one(_PHOTOMETRIC, _BLACK_IS_ZERO) == _RGB else 1

    @property
    def alpha(self) -> int:
        """The meaning of the value after the shade: 0 not shown, 1 opacity already multiplied in, 2 opacity."""
        return self.one(_EXTRA, 0) if self.samples > self.colours else 0

    @property
    def short_palette(self) -> list[int] | None:
        """The palette as r, g, b, r, g, b, ... where it was written in 8 bits in place of 16, else None."""
        colours = self.tags.get(_COLOURS, ())
        if not colours or max(colours) > 255 or not any(colours):
            return None
        third = len(colours) // 3
        return [int(colours[band * third + entry]) for entry in range(third) for band in range(3)]


def layout_of(file: BinaryIO) -> Layout | None:
    """The layout of the first image in an open file, reading its directory only; None where it is no TIFF file."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 8:
        return None
    version = struct.unpack(f"{order}H", start[2:4])[0]
    try:
        if version == 42:
            return Layout(order, _directory(file, order, struct.unpack(f"{order}I", start[4:8])[0], "HHI4s"))
        if version == 43:
            return Layout(order, _directory(file, order, struct.unpack(f"{order}Q", start[8:16])[0], "QHQ8s"))
    except (struct.error, OverflowError) as error:
        raise BrokenImage("truncated: the directory of the TIFF file is not whole") from error
    return None


def _directory(file: BinaryIO, order: str, place: int, shapes: str) -> Tags:
    number, entry = f"{order}{shapes[0]}", f"{order}H{shapes[1:]}"
    file.seek(place)
    count = struct.unpack(number, file.read(struct.calcsize(number)))[0]
    size = struct.calcsize(entry)
    entries = file.read(size * min(count, _MOST_ENTRIES))
    tags: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(entries) - size + 1, size):
        tag, kind, length, value = struct.unpack_from(entry, entries, start)
        if kind not in _SIZES or kind == 2:
            continue
        shape = f"{order}{length}{_SIZES[kind]}"
        needed = struct.calcsize(f"{order}{_SIZES[kind]}") * length
        if needed > _LONGEST_TAG:
            continue
        if needed > len(value):
            file.seek(struct.unpack(f"{order}{'Q' if len(value) == 8 else 'I'}", value)[0])
            value = file.read(needed)
        tags[tag] = struct.unpack(shape, value[:needed])
    return tags


# Samples -----------------------------------------------------------------------------------------------------------


def samples(data: bytes, layout: Layout) -> NDArray[Any]:
    """The numbers of the first image, (H, W, C), as they are stored. Raises BrokenImage for what cannot be read."""
    _check(layout)
    planes = layout.samples if layout.is_planar else 1
    each = layout.samples // planes
    values = [_plane(data, layout, plane, planes, each) for plane in range(planes)]
    return values[0] if planes == 1 else np.concatenate(values, axis=2)


def _check(layout: Layout) -> None:
    what = f"TIFF of {layout.bits} bits a channel"
    if len({*layout.tags.get(_BITS, (1,))}) > 1 or len({*layout.tags.get(_FORMAT, (1,))}) > 1:
        raise BrokenImage("TIFF whose channels have different numbers of bits")
    sizes = {"u": range(1, 65), "i": (8, 16, 32, 64), "f": (16, 32, 64)}.get(layout.format, ())
    if layout.bits not in sizes or (layout.bits > 16 and layout.bits not in {32, 64}):
        raise BrokenImage(f"{what} of this kind is not read")
    if layout.one(_COMPRESSION, 1) not in _BYTEWISE:
        raise BrokenImage(f"{what}, compressed by method {layout.one(_COMPRESSION, 1)}, is not read")
    if layout.samples not in {layout.colours, layout.colours + 1} and layout.colours != 3:
        raise BrokenImage(f"TIFF of {layout.samples} channels: 1, 3 or 4 can be read")
    if layout.samples < layout.colours:
        raise BrokenImage(f"RGB in a TIFF of {layout.samples} channels")


def _plane(data: bytes, layout: Layout, plane: int, planes: int, each: int) -> NDArray[Any]:
    """One plane as (H, W, each)."""
    tiled = _TILES in layout.tags
    width = layout.one(_TILE_WIDTH, 0) if tiled else layout.width
    across = -(-layout.width // width) if width else 0
    if not across:
        raise BrokenImage("no pixels: TIFF without a width")
    row_bytes = -(-width * each * layout.bits // 8)  # every row starts at a whole byte
    rows = -(-layout.height // layout.one(_TILE_HEIGHT, 1)) * layout.one(_TILE_HEIGHT, 1) if tiled else layout.height
    grey = _unpacked(data, layout, plane, planes, across * row_bytes, rows, row_bytes if tiled else None)
    blocks = grey.reshape(rows * across, row_bytes)
    numbers = _numbers(blocks, layout, width, each)
    return numbers.reshape(rows, across * width, each)[: layout.height, : layout.width]


def _unpacked(
    data: bytes, layout: Layout, plane: int, planes: int, width: int, height: int, tile: int | None
) -> NDArray[np.uint8]:
    """The bytes of one plane, (height, width): the file with another directory, which says that they are grey."""
    offsets, counts = (_TILES, _TILE_BYTES) if tile else (_STRIPS, _STRIP_BYTES)
    found: list[tuple[int, ...]] = []
    for tag in (offsets, counts):
        values = layout.tags.get(tag, ())
        share = len(values) // planes
        found.append(values[plane * share : (plane + 1) * share])
    if not found[0]:
        raise BrokenImage("TIFF without pixels")
    tags: dict[int, tuple[int, ...]] = {
        _WIDTH: (width,),
        _HEIGHT: (height,),
        _BITS: (8,),
        _COMPRESSION: (layout.one(_COMPRESSION, 1),),
        _PHOTOMETRIC: (_BLACK_IS_ZERO,),
        _FILL_ORDER: (layout.one(_FILL_ORDER, 1),),
        _SAMPLES: (1,),
        _PLANAR: (1,),
        offsets: found[0],
    }
    if found[1]:
        tags[counts] = found[1]
    if tile:
        tags |= {_TILE_WIDTH: (tile,), _TILE_HEIGHT: (layout.one(_TILE_HEIGHT, 1),)}
    else:
        tags[_ROWS] = (min(layout.one(_ROWS, height), height),)
    with within_reason(layout.width, layout.height):
        image = open_image(_with_directory(data, tags))
        image.load()
        return np.asarray(image)


def _with_directory(data: bytes, tags: Mapping[int, tuple[int, ...]]) -> bytes:
    """A little-endian TIFF file with the bytes of `data` where they were, and `tags` as its directory."""
    place = len(data) + len(data) % 2
    entries, tail = b"", b""
    after = place + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(packed) > 4:
            tail, packed = tail + packed, struct.pack("<I", after + len(tail))
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", place) + data[8:] + bytes(len(data) % 2) + directory + tail


def _numbers(rows: NDArray[np.uint8], layout: Layout, width: int, each: int) -> NDArray[Any]:
    """Rows of bytes as numbers, (rows, width, each), with what the compression took from neighbours put back."""
    predictor, bits = layout.one(_PREDICTOR, 1), layout.bits
    if predictor == 3 and layout.format == "f":
        size = bits // 8
        summed = np.cumsum(rows.reshape(len(rows), -1, each), axis=1, dtype=np.uint8).reshape(len(rows), size, -1)
        whole = np.ascontiguousarray(summed.transpose(0, 2, 1))  # the first plane holds the highest bytes
        return whole.view(f">f{size}").reshape(len(rows), width, each)
    if predictor not in {1, 2} or (predictor == 2 and bits % 8):
        raise BrokenImage(f"TIFF with predictor {predictor} for {bits} bits is not read")
    if bits % 8:
        ones = np.unpackbits(rows, axis=1)[:, : width * each * bits].reshape(len(rows), width, each, bits)
        return ones @ (1 << np.arange(bits - 1, -1, -1)).astype(np.uint16)
    shape = f"{layout.order}{layout.format}{bits // 8}"
    if predictor == 2:
        differences = np.ascontiguousarray(rows).view(f"{layout.order}u{bits // 8}").reshape(len(rows), width, each)
        summed = np.cumsum(differences, axis=1, dtype=differences.dtype.newbyteorder("="))
        return summed.view(f"{layout.format}{bits // 8}")
    return np.ascontiguousarray(rows).view(shape).reshape(len(rows), width, each)
