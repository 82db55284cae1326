"""`likewise duplicates`: equal bytes, equal pixels and near duplicates, in an index or in data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from likewise.errors import InputError
from likewise.files import check_file, write_aside
from likewise.index import Index, is_index, open_index
from likewise.index.duplicates import Duplicates, duplicates, grouped
from likewise.index.embedding.embed import embed, row_ids
from likewise.index.embedding.streaming import Stream, open_whole, place_of
from likewise.index.near import FALSE_PAIRS
from likewise.index.remembered import Denied
from likewise.index.rows import DuplicateRows

SIDE = 512
"""Short side that images are compared at where there is no encoder that says one."""
_LOOKED_AT = 256

Progress = Callable[[int, int], None]


def find_duplicates(
    data: Any,
    *,
    encoder: str | Path | None = None,
    split: str | None = None,
    false_pairs: float = FALSE_PAIRS,
    deny: Sequence[str] = (),
    html: str | Path | None = None,
    progress: Progress | None = None,
) -> Duplicates:
    """Groups of duplicates in `data`: an index (near ones too), or what `train` takes (near ones with an `encoder`).

    About `false_pairs` pairs of all are expected to be wrong. `deny` are ids of images of which no two are duplicates,
    which an index remembers. `html` writes a contact sheet. Raises InputError for data that is none, and for ids that
    are not in it.
    """
    if not 0 < false_pairs <= 1000:
        raise InputError(f"false pairs {false_pairs:g}: allowed is above 0 up to 1000, usual is {FALSE_PAIRS}")
    if html is not None:
        check_file(Path(html))
    if isinstance(data, Index) or (isinstance(data, str | Path) and is_index(data)):
        if encoder is not None or split is not None:
            given = "encoder" if encoder is not None else "split"
            raise InputError(f"{given} is for data: an index is looked through whole, by its own vectors")
        found = _in_index(data if isinstance(data, Index) else open_index(data), false_pairs, deny, progress)
    elif deny:
        raise InputError("an index remembers what is no duplicate, and data does not: embed it first")
    elif encoder is None:
        found = _in_data(data, split, progress)
    else:
        with tempfile.TemporaryDirectory() as folder:
            to = Path(folder) / "data.index"
            embed(encoder, data, to=to, split=split, progress=progress)
            found = duplicates(open_index(to), false_pairs=false_pairs)
    if html is not None:
        from likewise.serving.pages import duplicates_page

        with write_aside(Path(html)) as file:
            file.write(duplicates_page(found).encode("utf-8", "replace"))
    return found


def _in_index(index: Index, false_pairs: float, deny: Sequence[str], progress: Progress | None) -> Duplicates:
    if deny:
        known = set(index.ids)
        lost = [one for one in deny if one not in known]
        if lost or len(deny) < 2:
            raise InputError(
                f"{index.path} has no row {lost[0]!r}" if lost else "name two images that are no duplicates"
            )
        Denied(index).add(deny)
    return duplicates(index, false_pairs=false_pairs, progress=progress)


def _in_data(data: Any, split: str | None, progress: Progress | None) -> Duplicates:
    """By bytes and pixels alone."""
    source = open_whole(data, split=split)
    ids, places = row_ids(source), []
    content, pixels = [], []
    with Stream(source, SIDE) as stream:
        for start in range(0, len(source), _LOOKED_AT):
            some = np.arange(start, min(start + _LOOKED_AT, len(source))).tolist()
            for position, facts in zip(some, stream.look(some), strict=True):
                places.append(place_of(source, position))
                content.append("" if facts is None else facts.bytes)
                pixels.append("" if facts is None else facts.pixels)
            if progress is not None:
                progress(len(places), len(source))
    if stream.broken and not any(content):
        first = min(stream.broken.items())[1]
        raise InputError(f"no image of {source.name} can be read, the first {first.name} ({first.reason})")
    rows = DuplicateRows(ids, [one.path for one in places], [one.split for one in places], content, pixels)
    return grouped(rows, how="Near duplicates need an encoder (--encoder), or an index.")
