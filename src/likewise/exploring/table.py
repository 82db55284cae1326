"""The collection as a Parquet table for other viewers.

Shapes: N images, F features, K neighbours of each.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from likewise.exploring.collection import Collection, written
from likewise.exploring.relations import Relations
from likewise.files import write_aside

NAMES = frozenset(
    {"id", "name", "filepath", "image", "x", "y", "neighbors", "embedding", "cluster", "prediction", "distance"}
)
"""Columns that no other may be called like."""
SIDE = 128
"""Pixels of the images in the table at most."""
_ROWS = 2048
_NEIGHBOURS = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_table(path: Path, collection: Collection, relations: Relations, points_N2: NDArray[np.float32]) -> int:
    """Write the table, in row groups, and return its size in bytes.

    Columns: `id` (row), `name`, `filepath` (null where the image is not a file of its own), `image` (bytes of a JPEG
    and its name, as Hugging Face writes images), `x` and `y` (map), `neighbors` (ids and cosine distances, as
    embedding-atlas reads them), `embedding` (F numbers), and every column of the relations: words or numbers.
    """
    schema = _schema(collection, relations)
    with write_aside(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _batches(collection, relations, points_N2, schema):
            writer.write_batch(rows)
    return path.stat().st_size


def _schema(collection: Collection, relations: Relations) -> pa.Schema:
    width = collection.features_NF.shape[1]
    known = [
        (column.name, pa.string() if column.categories is not None else pa.from_numpy_dtype(column.values_N.dtype))
        for column in relations.columns
    ]
    return pa.schema(
        [
            ("id", pa.int64()),
            ("name", pa.string()),
            ("filepath", pa.string()),
            ("image", _IMAGE),
            ("x", pa.float32()),
            ("y", pa.float32()),
            ("neighbors", _NEIGHBOURS),
            ("embedding", pa.list_(pa.float32(), width)),
            *known,
        ]
    )


def _batches(
    collection: Collection, relations: Relations, points_N2: NDArray[np.float32], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    count, width = collection.features_NF.shape
    side = min(SIDE, collection.shortest_side())
    words = {
        column.name: column.texts() if column.categories is not None else column.values_N
        for column in relations.columns
    }
    for start in range(0, count, _ROWS):
        rows = range(start, min(count, start + _ROWS))
        part = slice(rows.start, rows.stop)
        flat = collection.features_NF[part].float().contiguous().numpy().reshape(-1)
        distance = 1 - relations.similarity_NK[part]
        near = [
            {"ids": ids, "distances": far}
            for ids, far in zip(relations.nearest_NK[part].tolist(), distance.tolist(), strict=True)
        ]
        arrays = [
            pa.array(rows, pa.int64()),
            pa.array(collection.names[part], pa.string()),
            pa.array([None if path is None else written(path) for path in collection.paths[part]], pa.string()),
            pa.array([{"bytes": _jpeg(collection, at, side), "path": collection.names[at]} for at in rows], _IMAGE),
            pa.array(points_N2[part, 0], pa.float32()),
            pa.array(points_N2[part, 1], pa.float32()),
            pa.array(near, _NEIGHBOURS),
            pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), width),
            *(pa.array(values[part], schema.field(name).type) for name, values in words.items()),
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _jpeg(collection: Collection, position: int, side: int) -> bytes:
    buffer = io.BytesIO()
    collection.thumbnail(position, side).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
