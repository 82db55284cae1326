"""Embedding by several processes: each takes a part of the data, and the last to finish joins the parts."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.index.index import Index, create, open_index
from likewise.index.space import Space
from likewise.index.stores.local import LocalStore
from likewise.index.stores.protocol import Rows

_MERGED_ROWS = 16384


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str | None) -> Shard | None:
        """`3/16`. Raises InputError for anything else."""
        if text is None:
            return None
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"shard {text!r}: write 3/16 for the third of 16 parts")
        return cls(int(found[1]), int(found[2]))

    def positions(self, count: int) -> NDArray[np.int64]:
        """Which of `count` images it has."""
        return np.arange(self.number - 1, count, self.count)

    def target(self, whole: Path) -> Path:
        """The index of this part, beside the whole one. Raises InputError for files."""
        if whole.suffix in {".parquet", ".npz"}:
            raise InputError(f"--shard is for an index, and {whole} is a file: embed into {whole.stem}.index")
        return whole.with_name(f"{whole.name}.part-{self.number:0{len(str(self.count))}}-of-{self.count}")

    def others(self, whole: Path) -> list[Index]:
        """The whole index of an earlier call, where there is one."""
        return [open_index(whole)] if (whole / "manifest.json").is_file() else []

    def merge(self, whole: Path, space: Space, data: tuple[str, str], *, dtype: str) -> int | None:
        """Put the parts into the whole where all are finished, and return its rows; else None.

        `data` are the address and the fingerprint of the data: a part of what the data was before is none of it.
        """
        address, fingerprint = data
        parts = [Shard(number, self.count).target(whole) for number in range(1, self.count + 1)]
        try:
            indices = [open_index(part) for part in parts]
        except InputError:  # one was not begun, or was put together by another process
            return None
        if any(_manifest_sources(one).get(address) != fingerprint for one in indices):
            return None
        try:
            index = self.others(whole)[0] if self.others(whole) else create(whole, space, dtype=dtype)
            with index.writing():
                if not all(part.is_dir() for part in parts):  # another process was first
                    return None
                number = index.number_of(space)
                for part in indices:
                    if part.spaces[-1].has_encoder and part.spaces[-1].encoder is None:
                        index.keep_encoder(part.encoder(), number, part.run())
                    index.keep_ranges(part.ranges(0), number)
                    table, vectors = part.store.table(), part.vectors()
                    for start in range(0, len(table), _MERGED_ROWS):
                        some = slice(start, start + _MERGED_ROWS)
                        index.store.write(Rows.of(table.slice(start, _MERGED_ROWS), vectors[some]), number)
                for folder in parts:
                    shutil.rmtree(folder, ignore_errors=True)
        except InputError as error:
            # Another process is as late as this one, and does the same, or has just done it.
            if "another process is busy" in str(error) or f"{whole} exists" in str(error):
                return None
            raise
        return len(index)


def _manifest_sources(index: Index) -> dict[str, str]:
    assert isinstance(index.store, LocalStore)
    return index.store.manifest.sources
