"""Pictures that the tests of this folder are made of."""

from __future__ import annotations

import io
import json
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
    """Write a picture (noise, if none is given), and the folders that it lies in."""
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


def structs(pictures: list[bytes | None], names: list[str | None] | None = None) -> pa.Array:
    """A Hugging Face column of encoded pictures."""
    names = names or [f"{number}.png" for number in range(len(pictures))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": data, "path": name} for data, name in zip(pictures, names, strict=True)], type=kind)
