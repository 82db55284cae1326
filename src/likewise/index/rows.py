"""The values that duplicates are recognised by, a row for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from likewise.index.index import Index


@dataclass(frozen=True)
class GroupItem:
    """An image of a group."""

    id: str
    path: str
    split: str


class DuplicateRows:
    """The values that duplicates are recognised by, a row for each image."""

    def __init__(
        self,
        ids: Sequence[str],
        paths: Sequence[str],
        splits: Sequence[str],
        content: Sequence[str],
        pixels: Sequence[str],
    ) -> None:
        self.ids, self.paths, self.splits, self.content, self.pixels = ids, paths, splits, content, pixels

    @classmethod
    def of(cls, index: Index) -> DuplicateRows:
        """The rows of an index."""
        table = index.store.table()
        names = ("id", "path", "split", "bytes", "pixels")
        held = (
            [one or "" for one in table[name].to_pylist()] if name in table.column_names else [""] * len(table)
            for name in names
        )
        return cls(*held)

    def item(self, row: int) -> GroupItem:
        """One of them."""
        return GroupItem(self.ids[row], self.paths[row], self.splits[row])
