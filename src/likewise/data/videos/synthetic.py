"""`synthetic:clips`: drawn videos (`drawing`) as a data source, a frame an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from likewise.data.fingerprints import digest
from likewise.data.labels import NONE
from likewise.data.source import Column, Joined, Pixels, Source
from likewise.data.splitting.splits import check_split
from likewise.data.videos.drawing import ACTIONS, APPEARANCES, LENGTH, USUAL_SIDE, Clip, clip
from likewise.errors import InputError, unknown

NAME = "synthetic:clips"
PLAIN = "plain"
"""Last part of the names of plain videos."""
SPLITS = ("train", "test")
VIDEOS = 2000
"""Training videos; those for tests are a quarter as many, and others."""
LEAST, MOST = 16, 256
_VERSION = 1
_LABELS = ("action", "appearance", "video", "frame")


def is_clips(text: str) -> bool:
    """Whether a name is one of these."""
    return text == NAME or text.startswith(f"{NAME}:")


def parsed(text: str) -> tuple[int, int, bool]:
    """Side, number of training videos and whether they are plain, of `synthetic:clips[:SIDE[:VIDEOS]][:plain]`.

    Raises InputError for other names.
    """
    given = text.removeprefix(NAME).removeprefix(":").split(":") if text != NAME else []
    plain = given[-1:] == [PLAIN]
    given = given[:-1] if plain else given
    whole = all(part.isdigit() for part in given) and len(given) <= 2
    numbers = [int(part) for part in given] if whole else []
    side, videos = (*numbers, *(USUAL_SIDE, VIDEOS)[len(numbers) :])
    if not whole or not (LEAST <= side <= MOST) or videos < 1:
        raise InputError(
            f"{text!r}: a side of {LEAST} to {MOST} pixels may follow, and a number of videos, as in {NAME}:32:500, "
            f"and at last {PLAIN}; nearest is {NAME}:{min(max(side, LEAST), MOST)}"
        )
    return side, videos, plain


def splits_of(text: str) -> tuple[str, ...]:
    """Splits of a name. Raises InputError where there is no such name."""
    parsed(text)
    return SPLITS


def open_clips(text: str, *, split: str | None = None, labels: str | None = None) -> Source:
    """The frames of one split or of both. Labels are the actions, or what `labels` names: `appearance`, for one.

    Raises InputError for other names, splits and labels.
    """
    side, videos, plain = parsed(text)
    check_split(split, SPLITS, text)
    if labels in {None, "label", "labels"}:
        labels = "action"
    if labels not in {*_LABELS, NONE}:
        raise unknown(f"labels of {text}", str(labels), (*_LABELS, NONE))
    parts = [_one(side, videos, each, str(labels), plain=plain) for each in ([split] if split else SPLITS)]
    return parts[0] if len(parts) == 1 else _joined(parts)


def known_of(name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]] | None:
    """Flow (S, S, 2) and mask (S, S) of the frame called so; None for names of other data."""
    head, _, rest = name.partition("/")
    parts = rest.split("/")
    plain = head.endswith(f"-{PLAIN}")
    side = head.removesuffix(f"-{PLAIN}").removeprefix("clips-")
    if (
        not head.startswith("clips-")
        or len(parts) != 3
        or parts[0] not in SPLITS
        or not all(p.isdigit() for p in (side, *parts[1:]))
    ):
        return None
    whole = _drawn(SPLITS.index(parts[0]), int(parts[1]), int(side), plain)
    return whole.flow[int(parts[2])], whole.masks[int(parts[2])]


@lru_cache(maxsize=16)
def _drawn(seed: int, number: int, side: int, plain: bool) -> Clip:
    """A video, kept while its frames are asked for one after the other."""
    return clip(seed, number, side, plain=plain)


@dataclass(kw_only=True, eq=False)
class ClipSource(Source):
    """The frames of all videos of one split, one video after the other."""

    side: int
    """Pixels."""
    plain: bool = False
    """Whether the videos have no textures."""

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """One frame."""
        assert self.split is not None
        number, frame = divmod(position, LENGTH)
        pixels: Pixels = _drawn(SPLITS.index(self.split), number, self.side, self.plain).frames[frame]
        return pixels


def _one(side: int, videos: int, split: str, labels: str, *, plain: bool) -> ClipSource:
    count = videos if split == "train" else max(1, videos // 4)
    number = np.repeat(np.arange(count), LENGTH)
    columns = {
        "video": Column(number + (videos if split == "test" else 0)),  # different in both splits
        "frame": Column(np.tile(np.arange(LENGTH), count)),
        "action": Column(number % len(ACTIONS), ACTIONS),
        "appearance": Column(number // len(ACTIONS) % len(APPEARANCES), APPEARANCES),
    }
    wanted = columns.get(labels)
    kind = f"{side}-{PLAIN}" if plain else str(side)
    return ClipSource(
        name="clips",
        fingerprint=digest("clips", _VERSION, side, count, split, *([PLAIN] if plain else [])),
        names=[f"clips-{kind}/{split}/{video}/{frame}" for video in range(count) for frame in range(LENGTH)],
        labels=None if wanted is None else wanted.values,
        class_names=None if wanted is None else wanted.names,
        splits=SPLITS,
        split=split,
        columns=columns,
        side=side,
        plain=plain,
    )


def _joined(parts: list[ClipSource]) -> Source:
    """Both splits as one, with their columns."""
    whole = Joined.of(parts)
    for name, column in parts[0].columns.items():
        values = np.concatenate([part.columns[name].values for part in parts])
        whole.columns = {**whole.columns, name: Column(values, column.names)}
    return whole
