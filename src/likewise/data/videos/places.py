"""Videos as folders of frames: the folder is the video, and the frame's name gives its time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from likewise.data.source import Column

COLUMNS = ("video", "frame")
_NUMBER = re.compile(r"(\d+)")


def column_of(names: Sequence[str], name: str) -> Column:
    """The column `video` or `frame` of files by their names; in one folder frames are counted in natural order.

    That is the order in which 2 comes before 10.
    """
    folders = [each.rpartition("/")[0] for each in names]
    found = sorted(set(folders), key=natural)
    number = {folder: place for place, folder in enumerate(found)}
    video_N = np.array([number[folder] for folder in folders], np.int64)
    if name == "video":
        return Column(video_N, tuple(folder or "." for folder in found))
    order = sorted(range(len(names)), key=lambda at: (video_N[at], natural(names[at])))
    _, first, length = np.unique(video_N[order], return_index=True, return_counts=True)
    place_N = np.empty(len(names), np.int64)
    place_N[order] = np.arange(len(names)) - np.repeat(first, length)
    return Column(place_N)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key to sort names by, in which whole numbers count as such."""
    parts = _NUMBER.split(name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]
