"""Images that a text file lists, matched with the names of the data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError


def listed(names: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Positions of the images that the file at `path` lists, one path a line, in the order of `names`.

    Lines without a dot (titles, class names, as in ISD's D1 to D10) are passed over. A .csv file lists the values of
    its column `name` or `path`, all of them. A line means the image of that name, or else the one whose path ends like
    it, compared by the last two parts. Raises InputError where a listed image is not in the data, or its name could be
    two images.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {path}: {error}") from error
    lines = [line.strip() for line in content.splitlines()]
    wanted = _column(content) if path.suffix.lower() == ".csv" else None
    if wanted is None:
        wanted = [line for line in lines if "." in line]
    if not wanted:
        raise InputError(f"{path} lists no images: one path a line is needed, or a CSV with a column name or path")
    whole = {name: position for position, name in enumerate(names)}
    if len(whole) == len(names) and all(line in whole for line in wanted):
        return np.asarray(sorted({whole[line] for line in wanted}), np.int64)
    places: dict[str, int] = {}
    for position, name in enumerate(names):
        key = _ending(name)
        places[key] = -1 if key in places else position
    missing = [line for line in wanted if _ending(line) not in places]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise InputError(f"{path} lists {missing[0]}{more}, which the data does not have")
    found = {places[_ending(line)] for line in wanted}
    if -1 in found:
        double = next(line for line in wanted if places[_ending(line)] == -1)
        raise InputError(f"{path} lists {double}, and the data has two images called so")
    return np.asarray(sorted(found), np.int64)


def _column(content: str) -> list[str] | None:
    """The values of the column `name` or `path` of a CSV; None where the first line names neither."""
    rows = csv.reader(io.StringIO(content))
    head = [cell.strip().lower() for cell in next(rows, [])]
    at = next((head.index(key) for key in ("name", "path") if key in head), None)
    return None if at is None else [row[at].strip() for row in rows if len(row) > at and row[at].strip()]


def _ending(name: str) -> str:
    """The last two parts of a path, which are class and file in every usual layout."""
    return "/".join(name.replace("\\", "/").strip("/").split("/")[-2:])
