"""Orders of images in batches other than plain shuffling (`sampling.Sampler`).

Every order is a pure function of (seed, step): nothing has to be saved to continue, and a batch is that of all
processes together, of which process `rank` of `world` takes the rows `rank`, `rank + world`, ... (`Loader`).

    Sampler       every image once an epoch, or drawn by weights
    Endless       one shuffled pass after the other, also for fewer images than a batch has
    Weighed       every image drawn by its weight, again and again
    Stratified    equally many images of each of some classes, all classes equally often
    Grouped       several images of one group (a scan, a camera) together, every image once an epoch
    Clips         frames of videos, (videos, clips, frames)
    Following     for every image of another order one that a table names: a neighbour, a partner
    Among         any of these, of some of the images

Shapes: N images, B rows of a batch, C classes, K entries of a row of a table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from likewise.data.batches.clips import Law as GapLaw
from likewise.data.batches.clips import shares
from likewise.data.batches.numbers import permutation, uniform
from likewise.data.batches.sampling import Sampler
from likewise.errors import InputError

Ids = NDArray[np.int64]
Law = Callable[[Ids, int, NDArray[np.float64]], Ids]
"""Where clips begin: (lengths (B,) in frames, frames from the first to the last of a clip, uniform numbers
(B, 2 x clips)) -> starts (B, clips), each from 0 to the length - 1."""

_DEALT, _PARTS, _STARTS, _ENTRIES, _PASSES = (0x6F726472 + kind for kind in range(5))
"""Keep these draws apart from each other, and from others made of the same seed."""


class Order(Protocol):
    """The order of images in batches."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch, at least 1."""
        ...

    def batch(self, step: int) -> Ids:
        """(B,) or (B, clips, frames) positions: those of batch `step`, counted over all epochs."""
        ...


class Endless:
    """Shuffled passes end to end, cut into batches: every image as often as any other, however few there are.

    A batch may hold an image twice where a pass ends in it. Raises InputError for counts below 1 and a negative seed.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        _check(count=count, batch_size=batch_size, seed=seed)
        self._count, self._batch_size, self._seed = count, batch_size, seed
        self.steps_per_epoch = max(1, count // batch_size)
        self._latest: tuple[int, Ids] | None = None

    def batch(self, step: int) -> Ids:
        """(batch_size,) positions."""
        place, end = step * self._batch_size, (step + 1) * self._batch_size
        parts = []
        while place < end:
            number, inside = divmod(place, self._count)
            part = self._pass(number)[inside : inside + end - place]
            parts.append(part)
            place += len(part)
        return np.concatenate(parts)

    def _pass(self, number: int) -> Ids:
        """All images in the order of one pass."""
        if self._latest is None or self._latest[0] != number:
            self._latest = number, permutation(self._count, _PASSES, self._seed, number)
        return self._latest[1]


class Weighed:
    """Images drawn independently in proportion to their weights, so that one may come twice in a batch.

    An epoch is as many draws as there are images. Raises InputError as `Sampler` does.
    """

    def __init__(self, weights_N: NDArray[np.float64], batch_size: int, seed: int) -> None:
        self._sampler = Sampler(len(weights_N), batch_size, seed)
        self._sampler.weigh(weights_N)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return self._sampler.steps_per_epoch

    def batch(self, step: int) -> Ids:
        """(batch_size,) positions."""
        return self._sampler.batch(step)


class Among:
    """An order of some of the images: its positions 0 to M - 1 stand for the M positions `ids`."""

    def __init__(self, order: Order, ids_M: Ids) -> None:
        """`order` is made for M images, with the columns of these alone."""
        self._order, self._ids_M = order, np.asarray(ids_M, np.int64)

    @property
    def steps_per_epoch(self) -> int:
        """As the order has it."""
        return self._order.steps_per_epoch

    def batch(self, step: int) -> Ids:
        """The batch of the order, as positions among all images."""
        return self._ids_M[self._order.batch(step)]


class Stratified:
    """`classes` classes with exactly `each` images in every batch (PAWS, arXiv 2104.13963; m per class elsewhere).

    Row b belongs to the same class as row b + `classes`: [a, b, c, a, b, c, ...]. Classes are dealt out shuffled, so
    that all come equally often whatever their size; those of one batch are different. The images of a class are dealt
    out shuffled, too: a batch has `each` different ones, except of a class that has fewer, which repeat. Images with
    label -1 are never drawn. An epoch is as many batches as the labelled images would fill; it does not promise to
    show each of them.

    Raises InputError for counts below 1, more classes than there are, and a negative seed.
    """

    def __init__(self, labels_N: Ids, classes: int, each: int, seed: int) -> None:
        found = np.unique(labels_N[labels_N >= 0])
        _check(classes=classes, each=each, seed=seed)
        if classes > len(found):
            raise InputError(f"batches of {classes} classes are asked for, and the images have labels of {len(found)}")
        self._members = [np.flatnonzero(labels_N == value) for value in found]
        self._classes = Sampler(len(found), classes, seed)
        self._each, self._seed = each, seed
        self.steps_per_epoch = max(1, sum(map(len, self._members)) // (classes * each))
        self._latest: dict[int, tuple[int, Ids]] = {}

    def batch(self, step: int) -> Ids:
        """(classes x each,) positions, the class changing fastest."""
        turn = step // self._classes.steps_per_epoch  # each class comes at most once before all had their turn
        columns = [self._dealt(place, turn) for place in self._classes.batch(step).tolist()]
        return np.stack(columns, axis=1).reshape(-1)

    def _dealt(self, place: int, turn: int) -> Ids:
        """(each,) images of one class: part `turn` of its shuffled passes, each cut into whole parts."""
        members = self._members[place]
        parts = len(members) // self._each
        number, part = divmod(turn, max(1, parts))
        if place not in self._latest or self._latest[place][0] != number:
            order = permutation(len(members), _DEALT, self._seed, place, number)
            self._latest[place] = number, members[order]
        shuffled = self._latest[place][1]
        if parts == 0:
            return np.resize(shuffled, self._each)  # repeats them end to end
        return shuffled[part * self._each : (part + 1) * self._each]


class Grouped:
    """Parts of `each` images of one group, `groups` such parts in a batch; every image at most once an epoch.

    `column_N` says which group each image belongs to: numbers or text. In each epoch every group is shuffled and cut
    into parts of `each`, and these are shuffled; what fills no part, or no batch, is left out, another rest each time.
    So a group comes as often as it is large, and two parts of one may meet in a batch. Row b belongs to the same part
    as row b + `groups`.

    Raises InputError for counts below 1, a negative seed, and groups too small for a single batch.
    """

    def __init__(self, column_N: NDArray[Any], groups: int, each: int, seed: int) -> None:
        _check(groups=groups, each=each, seed=seed)
        _, self._group_N, sizes = np.unique(column_N, return_inverse=True, return_counts=True)
        self._first_N = (np.cumsum(sizes) - sizes)[self._group_N]  # where the group of each image begins, once sorted
        parts = int((sizes // each).sum())
        if parts < groups:
            raise InputError(f"a batch of {groups} groups of {each} is asked for, and the data has {parts} such groups")
        self._groups, self._each, self._seed = groups, each, seed
        self.steps_per_epoch = parts // groups
        self._latest: tuple[int, Ids] | None = None

    def batch(self, step: int) -> Ids:
        """(groups x each,) positions, the part changing fastest."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._latest is None or self._latest[0] != epoch:
            self._latest = epoch, self._parts(epoch)
        return self._latest[1][place * self._groups : (place + 1) * self._groups].T.reshape(-1)

    def _parts(self, epoch: int) -> Ids:
        """(P, each) the parts of one epoch in their order."""
        shuffled = permutation(len(self._group_N), _PARTS, self._seed, epoch, 0)
        sorted_N = shuffled[np.argsort(self._group_N[shuffled], kind="stable")]
        rank_N = np.arange(len(sorted_N)) - self._first_N[sorted_N]
        size_N = np.bincount(self._group_N)[self._group_N[sorted_N]]
        full_N = rank_N < size_N // self._each * self._each
        parts = sorted_N[full_N].reshape(-1, self._each)
        return parts[permutation(len(parts), _PARTS, self._seed, epoch, 1)]


class Clips:
    """Clips of videos: (batch_size, clips, frames) positions of single frames, of different videos in a batch.

    `video_N` says which video each frame belongs to, `frame_N` its place in it; frames are ordered by it. A clip is
    `frames` frames, every `stride`-th; where it reaches past the end, the video begins again. Where clips start is
    drawn by `law`. An epoch shows every video at most once.

    Raises InputError for counts below 1, a negative seed, and a batch of more videos than there are.
    """

    def __init__(
        self, video_N: NDArray[Any], frame_N: NDArray[Any], batch_size: int, *, clips: int, frames: int, seed: int,
        law: Law, stride: int = 1,
    ) -> None:  # fmt: skip
        _check(batch_size=batch_size, clips=clips, frames=frames, stride=stride, seed=seed)
        _, video_N, self._lengths = np.unique(video_N, return_inverse=True, return_counts=True)
        if batch_size > len(self._lengths):
            raise InputError(
                f"a batch of {batch_size} videos is asked for, and there are {len(self._lengths)}: --batch-size counts "
                "videos here, and allowed are as many as there are"
            )
        self._sorted_N = np.lexsort((frame_N, video_N))
        self._first = np.cumsum(self._lengths) - self._lengths
        self._videos = Sampler(len(self._lengths), batch_size, seed)
        self._clips, self._seed, self._law = clips, seed, law
        self._within = stride * np.arange(frames)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the videos."""
        return self._videos.steps_per_epoch

    def batch(self, step: int) -> Ids:
        """(batch_size, clips, frames) positions."""
        videos_B = self._videos.batch(step)
        lengths_B = self._lengths[videos_B]
        numbers = uniform(len(videos_B) * 2 * self._clips, _STARTS, self._seed, step)
        starts_BC = self._law(lengths_B, int(self._within[-1]) + 1, numbers.reshape(len(videos_B), -1))
        frames_BCF = (starts_BC[:, :, None] + self._within) % lengths_B[:, None, None]
        return self._sorted_N[self._first[videos_B][:, None, None] + frames_BCF]


def anywhere(lengths_B: Ids, span: int, uniform_BU: NDArray[np.float64]) -> Ids:
    """The law of independent clips: every start from which the whole clip fits is equally likely.

    In a video that is shorter than a clip, every frame is.
    """
    room_B1 = np.where(lengths_B >= span, lengths_B - span + 1, lengths_B)[:, None]
    clips = uniform_BU.shape[1] // 2
    return np.floor(uniform_BU[:, :clips] * room_B1).astype(np.int64)


def apart(law: GapLaw = "decreasing", power: float = 1.0) -> Law:
    """The law of two clips with a drawn gap between them (CVRL, arXiv 2008.03800, section 3.2).

    With M starts from which a clip fits, the gap g is a share of M by one of `clips.shares`, the first start is uniform
    in [0, M - g), and either of the two comes first. In a video that is too short both are independent. The law raises
    InputError for another number of clips than 2.
    """

    def starts(lengths_B: Ids, span: int, uniform_BU: NDArray[np.float64]) -> Ids:
        if uniform_BU.shape[1] != 4:
            raise InputError(f"this gap is between 2 clips of a video, not {uniform_BU.shape[1] // 2}")
        gap_B, first_B, turn_B, free_B = uniform_BU.T
        fits_B = lengths_B >= span
        room_B = np.where(fits_B, lengths_B - span + 1, lengths_B)
        apart_B = np.minimum(np.floor(room_B * shares(gap_B, law, power)), room_B - 1)
        early_B = np.floor(first_B * (room_B - apart_B))
        pair_B2 = np.stack([early_B, early_B + apart_B], axis=1)
        pair_B2 = np.where((turn_B < 0.5)[:, None], pair_B2, pair_B2[:, ::-1])
        alone_B2 = np.floor(np.stack([first_B, free_B], axis=1) * room_B[:, None])
        return np.where(fits_B[:, None], pair_B2, alone_B2).astype(np.int64)

    return starts


falling_gap = apart()
"""Two clips that are seldom far apart: CVRL's own law."""


class Following:
    """For every row of another order one entry of a table: a neighbour of the image, its partner.

    `table_NK` (or (N,)) holds positions, and -1 for no entry; each entry of a row is equally likely. Raises
    InputError for a row without an entry.
    """

    def __init__(self, lead: Order, table_NK: Ids, seed: int) -> None:
        _check(seed=seed)
        table_NK = table_NK.reshape(len(table_NK), -1)
        none_NK = table_NK < 0
        if none_NK.all(axis=1).any():
            raise InputError(f"image {int(none_NK.all(axis=1).argmax())} has no entry in the table to follow")
        self._lead, self._seed = lead, seed
        self._count_N = (~none_NK).sum(axis=1)
        self._table_NK = np.take_along_axis(table_NK, np.argsort(none_NK, axis=1, kind="stable"), axis=1)

    @property
    def steps_per_epoch(self) -> int:
        """As the order that is followed has it."""
        return self._lead.steps_per_epoch

    def batch(self, step: int) -> Ids:
        """Positions, in the shape of the batch that is followed."""
        ids = self._lead.batch(step)
        numbers = uniform(ids.size, _ENTRIES, self._seed, step).reshape(ids.shape)
        found: Ids = self._table_NK[ids, np.floor(numbers * self._count_N[ids]).astype(np.int64)]
        return found


def _check(*, seed: int, **counts: int) -> None:
    """Refuse counts below 1 and negative seeds. Raises InputError."""
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"{name}={value} must be at least 1")
    if seed < 0:
        raise InputError(f"seed={seed} must not be negative")
