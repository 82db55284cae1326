"""The train images and the query images of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data import Images, Source, cached_side, open_source, prepare, split_names, training_split
from likewise.data.decoding.pixels import Range
from likewise.data.labels import Stated, united
from likewise.data.splitting.splits import held_out_splits, pick_split
from likewise.data.splitting.subsets import draw
from likewise.data.videos.watching import Videos, Watch
from likewise.errors import InputError
from likewise.evaluation.remarks import remarks
from likewise.training.watching.progress import decoding

HELD_OUT = 0.2
"""Share of the images that is held out where the data has no splits."""


@dataclass(frozen=True)
class Rows:
    """The bank and the queries of an evaluation; all of them have labels."""

    bank: Images
    """Images whose labels are known to the probe."""
    query: Images
    """Images that are classified."""
    split: str
    """What the queries are called in a score."""
    protocol: str
    """Where both come from, in words."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    bank_cameras: NDArray[np.int64] | None = None
    """(N,) camera of each image of the bank, where one was asked for."""
    query_cameras: NDArray[np.int64] | None = None
    """(Q,) the same of the queries."""

    @property
    def bank_labels(self) -> NDArray[np.int64]:
        """(N,) of the bank."""
        assert self.bank.labels is not None
        return self.bank.labels

    @property
    def query_labels(self) -> NDArray[np.int64]:
        """(Q,) of the queries."""
        assert self.query.labels is not None
        return self.query.labels


@dataclass(frozen=True)
class _Part:
    """Images, and the camera of each where cameras are asked for."""

    images: Images
    cameras: NDArray[np.int64] | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        assert self.images.labels is not None
        return self.images.labels

    def keep(self, index: NDArray[np.int64]) -> _Part:
        """The images at these positions."""
        return _Part(self.images.subset(index), None if self.cameras is None else self.cameras[index])

    def of_classes(self, classes: Sequence[int] | None) -> _Part:
        """The images of these classes; all where None."""
        return self if classes is None else self.keep(np.flatnonzero(np.isin(self.labels, classes)))


def open_rows(
    data: Any,
    *,
    image_size: int,
    labels: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    subset: str | None = None,
    subset_seed: int = 0,
    classes: Sequence[int] | Sequence[str] | None = None,
    cameras: str | None = None,
    watch: Watch | None = None,
    columns: Sequence[str] = (),
    needs_labels: bool = True,
    ranges: Mapping[str, Range] | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Rows:
    """The images of `data` to evaluate on, decoded.

    The bank is the training split and the queries the test split, or else the validation split, the first that has
    labels, unless others are named. Where the data does not have both, a stratified fifth of the labelled images is
    held out, a pure function of `seed`. `classes`, numbers or names, leaves all others out. `subset` draws from the
    bank (`likewise.data.splitting.subsets`); where the draw leaves classes out, their queries are left out too.
    `cameras` is a column of the data, `columns` are further ones that the images keep. Without `needs_labels` data
    without any counts as one class. `ranges` are those that the encoder was trained with: images of other numbers than
    0 to 255 are shown by them where they suit, else by the range of `data`, which a note says. With `watch` bank and
    queries are videos, made of the frames that the images are.

    Raises InputError for splits, draws and columns that do not exist, and for data without labels.
    """
    how = {"labels": labels, "train_split": train_split, "test_split": test_split, "needs_labels": needs_labels}
    sources = _found(data, (*columns, *(() if cameras is None else (cameras,))), watch, **how)
    opened = partial(
        _opened,
        short_side=cached_side(image_size),
        classes=classes,
        cameras=cameras,
        watch=watch,
        ranges=ranges or {},
        cache_dir=cache_dir,
        quiet=quiet,
    )
    bank, query, split_name, protocol, notes = _divided(sources, opened, seed)
    protocol += "" if watch is None else f", {watch}"
    words = "" if classes is None else f", {len(np.unique(query.labels))} classes only"
    if subset is not None:
        bank, query, drawn_words = _drawn(bank, query, subset, subset_seed)
        words += drawn_words
    notes += remarks(bank.images, query.images, ranges, needs_labels=needs_labels)
    return Rows(bank.images, query.images, split_name, protocol + words, tuple(notes), bank.cameras, query.cameras)


def _divided(
    sources: _Sources, opened: Callable[[Source], tuple[_Part, list[str]]], seed: int
) -> tuple[_Part, _Part, str, str, list[str]]:
    """Bank and queries, decoded: two splits, or one of which a part is held out; what the second is called, the
    protocol, and notes.
    """
    bank, notes = opened(sources.bank)
    if sources.query is None:
        split_name = "held out"
        bank, query, protocol = _held_out(bank, sources.bank.split, seed)
    else:
        query, also_out = opened(sources.query)
        notes, split_name = [*notes, *also_out], str(sources.query.split)
        protocol = f"from {sources.bank.split} ({len(bank.images):,} images) to {split_name} ({len(query.images):,})"
    if sources.why:
        notes = [f"the images that are classified: {split_name}, {sources.why}; --test-split names others", *notes]
        protocol += f", {sources.why}"
    return bank, query, split_name, protocol, notes


def _found(data: Any, columns: Sequence[str], watch: Watch | None, **how: Any) -> _Sources:
    """`_chosen` with the columns of videos as well. Raises InputError, with a hint where there are none."""
    try:
        return _chosen(data, columns=[*columns, *((watch.video, watch.frame) if watch else ())], **how)
    except InputError as error:
        if watch is None or f"no column {watch.video!r}" not in str(error):
            raise
        raise InputError(f"{error}; the encoder learned from clips, and --clips 0 judges it by images") from error


class _Sources(NamedTuple):
    """The sources of train and query images, not decoded yet."""

    bank: Source
    query: Source | None
    """None where a part of the bank is held out."""
    why: str = ""
    """The reason why the queries are not those that one would expect."""


def _chosen(
    data: Any,
    labels: str | None,
    columns: Sequence[str],
    train_split: str | None,
    test_split: str | None,
    *,
    needs_labels: bool,
) -> _Sources:
    """The splits that are asked for, or the usual ones, of which those without labels are passed over."""
    splits = split_names(data)
    what = str(data) if isinstance(data, str | Path) else "the data"
    bank_split = pick_split(train_split, splits, what) or training_split(splits)
    query_split = pick_split(test_split, splits, what)
    if query_split is not None and bank_split is None:
        raise InputError(f"no split of {what} is called train: name the bank with --train-split, {', '.join(splits)}")
    if query_split is not None and bank_split == query_split:
        raise InputError(f"bank and queries are both the split {bank_split!r}: every image would find itself")

    def checked(split: str | None) -> Source:
        source = open_source(data, split=split, labels=labels, columns=columns)
        if needs_labels and not _is_labelled(source):
            raise _unlabelled(source, data, labels)
        return source

    bank = checked(bank_split)
    if query_split is not None:
        return _Sources(bank, _with_names_of(bank, checked(query_split)))
    passed: list[str] = []
    for split in () if bank_split is None else held_out_splits(name for name in splits if name != bank_split):
        source = open_source(data, split=split, labels=labels, columns=columns)
        if not needs_labels or _is_labelled(source):
            return _Sources(bank, _with_names_of(bank, source), _since(passed))
        passed.append(split)
    return _Sources(bank, None, _since(passed))


def _since(unlabelled: Sequence[str]) -> str:
    verb = "has" if len(unlabelled) == 1 else "have"
    return f"since {' and '.join(unlabelled)} {verb} no labels" if unlabelled else ""


def _is_labelled(source: Source) -> bool:
    return source.labels is not None and bool((source.labels >= 0).any())


def _with_names_of(bank: Source, query: Source) -> Source:
    """The queries, their classes numbered as those of the bank; where both have names, the same names are one class."""
    stated = [
        Stated(source.labels, f"labels of {source.split}", source.class_names)
        for source in (bank, query)
        if source.labels is not None and source.class_names
    ]
    if len(stated) == 2 and bank.class_names != query.class_names:
        for source, found in zip((bank, query), united(stated), strict=True):
            source.labels, source.class_names = found
    return query


def _opened(
    source: Source,
    *,
    short_side: int,
    classes: Sequence[int] | Sequence[str] | None,
    cameras: str | None,
    watch: Watch | None,
    ranges: Mapping[str, Range],
    cache_dir: Path | None,
    quiet: bool,
) -> tuple[_Part, list[str]]:
    """The labelled images of one split and of `classes`, decoded, and notes."""
    source = source.shown_by(ranges)
    with decoding(source.name, enabled=not quiet) as progress:
        images = prepare(source, short_side=short_side, cache_dir=cache_dir, progress=progress)
    if watch is not None:
        images = Videos.of(images, watch)
    if not _is_labelled(source):
        images.labels = np.zeros(len(images), np.int64)
    seen = None if cameras is None else images.columns[cameras].values
    part, notes = _labelled(_Part(images, seen), source.split or "the data")
    part = part.of_classes(_numbers_of(classes, images.class_names))
    if not len(part.images):
        raise InputError(f"no image of {source.split or source.name} is of the {len(classes or ())} classes asked for")
    return part, notes


def _numbers_of(classes: Sequence[int] | Sequence[str] | None, names: Sequence[str] | None) -> list[int] | None:
    """Classes by their number in the data; without those that the data does not name. None for all."""
    if classes is None:
        return None
    number = {name: position for position, name in enumerate(names or ())}
    return [number.get(one, -1) if isinstance(one, str) else one for one in classes]


def _held_out(whole: _Part, split: str | None, seed: int) -> tuple[_Part, _Part, str]:
    bank_rows, query_rows = stratified(whole.labels, HELD_OUT, seed, whole.images.digests)
    if not len(query_rows):
        once = ", exact copies counted once" if whole.images.copies else ""
        raise InputError(
            f"{whole.images.name} has no class with two images or more{once}, so none can be held out to be judged on"
        )
    protocol = (
        f"a stratified {HELD_OUT:.0%} held out of {split or 'all images'} (seed {seed}): from {len(bank_rows):,} "
        f"images to {len(query_rows):,}, which the encoder may have seen in training, without labels"
        + (", exact copies on one side" if whole.images.copies else "")
    )
    return whole.keep(bank_rows), whole.keep(query_rows), protocol


def _drawn(bank: _Part, query: _Part, text: str, seed: int) -> tuple[_Part, _Part, str]:
    """A draw of the bank, the queries of its classes, and its words. Other labels of the bank are those of the draw.

    Where the draw takes labels away, only what keeps one is left in the bank.
    """
    drawn = draw(bank.labels, bank.images.names, text, seed)
    known = drawn.labels >= 0
    kept = bank.keep(drawn.index[known])
    kept.images.labels = drawn.labels[known]
    if drawn.selects_classes:
        query = query.of_classes(drawn.classes)
        if not len(query.images):
            raise InputError(f"no query is of the {len(drawn.classes)} classes that the draw {text!r} leaves")
    return kept, query, f"; the bank is {drawn.protocol}"


def stratified(
    labels: NDArray[np.int64], share: float, seed: int, same: NDArray[Any] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of a larger and a smaller part, the latter with about `share` of each class, both in rising order.

    Rows labelled -1 are in neither part, and every class with one row or more keeps one in the larger part. Rows that
    are equal in `same`, exact copies of one image, come into one part, that of the first of them; a class of nothing
    but copies stays in the larger part. A pure function of its arguments.
    """
    generator = np.random.default_rng(seed)
    taken = np.zeros(len(labels), dtype=bool)
    known = np.flatnonzero(labels >= 0)
    groups = known if same is None else same[known]
    _, first, group, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    firsts = known[first]
    size = np.zeros(len(labels), dtype=np.int64)
    size[firsts] = sizes
    for value in np.unique(labels[firsts]):
        rows = generator.permutation(np.flatnonzero((labels == value) & (size > 0)))
        most = round(share * int((labels == value).sum()))
        fitting = int((np.cumsum(size[rows]) <= most).sum())
        taken[rows[: min(len(rows) - 1, fitting)]] = True
    taken[known] = taken[firsts[group]]
    return np.flatnonzero((labels >= 0) & ~taken), np.flatnonzero(taken)


def _labelled(part: _Part, what: str) -> tuple[_Part, list[str]]:
    """The images whose label is known, and a note where there are others."""
    known = part.labels >= 0
    if known.all():
        return part, []
    if not known.any():
        raise InputError(f"no image of {what} that can be read has a label")
    missing = int((~known).sum())
    return part.keep(np.flatnonzero(known)), [f"{missing:,} images of {what} have no label and were left out"]


def _unlabelled(source: Source, data: Any, labels: str | None) -> InputError:
    """The error for data without labels, with what to do about it."""
    others = [split for split in source.splits if split != source.split]
    named = [split for split in others if _is_labelled(open_source(data, split=split, labels=labels))]
    if source.split is not None and named:
        return InputError(
            f"the split {source.split!r} of {source.name} has no labels to score by, and {', '.join(named)} has: "
            "name the splits with --train-split and --test-split"
        )
    if labels not in {None, "none"}:
        return InputError(
            f"the labels {labels!r} of {source.name} are all unknown: name a column or 'folders' that has them"
        )
    is_folder = isinstance(data, str | Path) and Path(data).expanduser().is_dir()
    way = "--labels folders, if its sub-folders are the classes" if is_folder else "--labels and the column of them"
    return InputError(f"{source.name} has no labels to score by: say where they are with {way}")
