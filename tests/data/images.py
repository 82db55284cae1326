"""Images that the tests of this folder are made of."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def noise(height: int = 12, width: int = 16, seed: int = 0) -> Pixels:
    """(H, W, 3) random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(colour: tuple[int, ...], height: int = 8, width: int = 10) -> Pixels:
    """(H, W, C) pixels of one colour."""
    return np.tile(np.asarray(colour, dtype=np.uint8), (height, width, 1))


def encoded(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    """An array or a Pillow image as the bytes of a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def save(path: Path, pixels: Any = None, **options: Any) -> Path:
    """Write an image (noise, if none is given), and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(noise() if pixels is None else pixels)
    image.save(path, **options)
    return path


def parquet(path: Path, columns: dict[str, Any], *, classes: dict[str, list[str]] | None = None, rows: int = 3) -> Path:
    """Write a Parquet file with the feature types of Hugging Face, in row groups of `rows`."""
    table = pa.table(columns)
    if classes is not None:
        features = {name: {"_type": "ClassLabel", "names": names} for name, names in classes.items()}
        features["image"] = {"_type": "Image"}  # type: ignore[dict-item]
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


def structs(images: list[bytes | None], names: list[str | None] | None = None) -> pa.Array:
    """A Hugging Face column of encoded images."""
    names = names or [f"{number}.png" for number in range(len(images))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": data, "path": name} for data, name in zip(images, names, strict=True)], type=kind)


def png(rows: Any, *, bits: int, kind: int, transparent: tuple[int, ...] | None = None) -> bytes:
    """(H, W, C) numbers as a PNG file of `bits` a channel; `kind`: 0 grey, 2 RGB, 3 palette, 4 and 6 with opacity."""
    values = np.asarray(rows)
    height, width = values.shape[:2]
    if bits < 8:
        ones = (values.reshape(height, width, 1) >> np.arange(bits - 1, -1, -1)) & 1
        lines = [bytes(line) for line in np.packbits(ones.reshape(height, -1).astype(np.uint8), axis=1)]
    else:
        lines = [line.tobytes() for line in values.astype(f">u{bits // 8}")]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))]
    if transparent is not None:
        parts.append(chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    parts.append(chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def tiff(planes: list[bytes], tags: Mapping[int, tuple[int, ...]]) -> bytes:
    """A little-endian TIFF file of one strip a plane; `tags` without those of strips."""
    start, pixels = 8, b"".join(planes)
    offsets = tuple(start + sum(map(len, planes[:n])) for n in range(len(planes)))
    entries = {277: (1,), 278: tags[257], 259: (1,), **tags, 273: offsets, 279: tuple(map(len, planes))}
    place = start + len(pixels)
    after, directory, tail = place + 2 + 12 * len(entries) + 4, struct.pack("<H", len(entries)), b""
    for tag, values in sorted(entries.items()):
        short = tag not in {273, 279}
        packed = struct.pack(f"<{len(values)}{'H' if short else 'I'}", *values)
        if len(packed) > 4:
            packed, tail = struct.pack("<I", after + len(tail)), tail + packed
        directory += struct.pack("<HHI", tag, 3 if short else 4, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", place) + pixels + directory + bytes(4) + tail


def rgb_profile(red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...], gamma: float) -> bytes:
    """An ICC profile of a display: XYZ (D50) of its three colours, and one exponent."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(256 * gamma)) + bytes(2)
    colours = {b"r": red, b"g": green, b"b": blue}
    tags = {name + b"TRC": curve for name in colours}
    tags |= {name + b"XYZ": _xyz(value) for name, value in colours.items()}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def cmyk_profile() -> bytes:
    """An ICC profile of a printer whose cyan, magenta and yellow cannot be seen: its black alone makes greys."""
    straight = bytes(range(256))
    one = struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + one + 4 * straight + 8 * bytes((255, 128, 128, 0, 128, 128))
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table + 3 * straight})


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))


def _profile(kind: bytes, space: bytes, between: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"text" + bytes(4) + b"none\0"
    named = b"desc" + struct.pack(">II", 0, 5) + b"test\0" + bytes(78)
    tags = {b"desc": named, b"cprt": text, b"wtpt": _xyz((0.9642, 1.0, 0.8249)), **tags}
    padded = [value.ljust(-(-len(value) // 4) * 4, b"\0") for value in tags.values()]
    start = 132 + 12 * len(tags)
    entries = b"".join(
        struct.pack(">4sII", name, start + sum(map(len, padded[:place])), len(padded[place]))
        for place, name in enumerate(tags)
    )
    size = start + sum(map(len, padded))
    head = struct.pack(">II", size, 0) + struct.pack(">I", 0x02100000) + kind + space + between
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz((0.9642, 1.0, 0.8249))[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + b"".join(padded)
