"""Images that a text file lists, found among the names of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError


def listed(names: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Positions of the pictures that the file at `path` lists, one path a line, in the order of `names`.

    Lines without a dot (titles, class names, as in ISD's D1 to D10) are passed over. A line means the picture whose
    path ends like it, compared by the last two parts. Raises InputError where a listed picture is not in the data, or
    its name could be two pictures.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {path}: {error}") from error
    wanted = [line for line in lines if "." in line]
    if not wanted:
        raise InputError(f"{path} lists no pictures: one path a line is needed")
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
        raise InputError(f"{path} lists {double}, and the data has two pictures called so")
    return np.asarray(sorted(found), np.int64)


def _ending(name: str) -> str:
    """The last two parts of a path, which are class and file in every usual layout."""
    return "/".join(name.replace("\\", "/").strip("/").split("/")[-2:])
