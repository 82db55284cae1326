"""Columns of rows, read from a table beside the images."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from likewise.errors import InputError
from likewise.index.stores.protocol import RESERVED


@dataclass(frozen=True)
class MetadataTable:
    """A table, and which of its rows belongs to each image."""

    table: pa.Table
    place_N: pa.Array
    """Null where the table does not have the image."""

    @classmethod
    def read(cls, path: Path, ids: Sequence[str]) -> MetadataTable:
        """The CSV or Parquet file at `path`, whose column `id` names images. Raises InputError."""
        try:
            if path.suffix.lower() == ".parquet":
                table = pyarrow.parquet.read_table(path)
            else:
                textual = pyarrow.csv.ConvertOptions(column_types={"id": pa.string()})  # 007 is not 7
                table = pyarrow.csv.read_csv(path, convert_options=textual)
        except FileNotFoundError as error:
            raise InputError(f"there is no file {path} of columns") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} is no CSV or Parquet file: {' '.join(str(error).split())[:120]}") from error
        if "id" not in table.column_names:
            raise InputError(f"{path} has no column 'id' that names images; its columns are {table.column_names}")
        taken = [name for name in table.column_names if name in (RESERVED - {"id"}) | {"label", "split"}]
        if taken:
            raise InputError(f"{path} has a column {taken[0]!r}, which rows have already: give it another name")
        place = {str(one): number for number, one in enumerate(table["id"].to_pylist())}
        if len(place) < len(table):
            twice = collections.Counter(map(str, table["id"].to_pylist())).most_common(1)[0][0]
            raise InputError(f"{path} has the id {twice!r} twice: one row for each image")
        found = [place.get(one) for one in ids]
        if not any(one is not None for one in found):
            raise InputError(f"no id of {path} is that of an image; the first image is {ids[0]!r}")
        return cls(table.drop_columns(["id"]), pa.array(found, pa.int64()))

    def at(self, positions: Sequence[int]) -> dict[str, pa.ChunkedArray]:
        """The values of the images at `positions`, by column."""
        taken = self.table.take(self.place_N.take(pa.array(positions, pa.int64())))
        return {name: taken[name] for name in taken.column_names}
