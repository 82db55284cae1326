"""Which pictures an encoder is judged by: those that are classified, and those whose labels the probe knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Images, cached_side, held_out_split, open_source, prepare, split_names, training_split
from likewise.data.splits import check_split
from likewise.errors import InputError
from likewise.training.progress import decoding

HELD_OUT = 0.2
"""Share of the pictures that is held out where the data has no splits."""
_NAMED = 5


@dataclass(frozen=True)
class Rows:
    """The bank and the queries of an evaluation; all of them have labels."""

    bank: Images
    """Pictures whose labels are known to the probe."""
    query: Images
    """Pictures that are classified."""
    split: str
    """What the queries are called in a score."""
    protocol: str
    """Where both come from, in words."""
    notes: tuple[str, ...] = ()
    """What a reader should know."""

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


def open_rows(
    data: Any,
    *,
    image_size: int,
    labels: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Rows:
    """The pictures of `data` to evaluate on, decoded.

    The bank is the training split and the queries the test split, or else the validation split, unless others are
    named. Where the data does not have both, a stratified fifth of the labelled pictures is held out, a pure function
    of `seed`. Raises InputError for splits that do not exist, and for data without labels.
    """
    splits = split_names(data)
    what = str(data) if isinstance(data, str | Path) else "the data"
    for split in (train_split, test_split):
        check_split(split, splits, what)
    bank_split = train_split or training_split(splits)
    query_split = test_split or held_out_split(split for split in splits if split != bank_split)

    def opened(split: str | None) -> Images:
        source = open_source(data, split=split, labels=labels)
        if source.labels is None or not (source.labels >= 0).any():
            raise _unlabelled(source.name, data, labels)
        with decoding(source.name, enabled=not quiet) as progress:
            return prepare(source, short_side=cached_side(image_size), cache_dir=cache_dir, progress=progress)

    if bank_split is None or query_split is None:
        return _held_out(opened(bank_split), bank_split, seed)
    if bank_split == query_split:
        raise InputError(f"bank and queries are both the split {bank_split!r}: every picture would find itself")
    bank, left_out = _labelled(opened(bank_split), bank_split)
    query, also_out = _labelled(opened(query_split), query_split)
    protocol = f"from {bank_split} ({len(bank):,} pictures) to {query_split} ({len(query):,})"
    return Rows(bank, query, query_split, protocol, (*left_out, *also_out, *_strangers(bank, query)))


def _held_out(images: Images, split: str | None, seed: int) -> Rows:
    images, left_out = _labelled(images, split or "the data")
    assert images.labels is not None
    bank_rows, query_rows = stratified(images.labels, HELD_OUT, seed)
    if not len(query_rows):
        raise InputError(
            f"{images.name} has no class with two pictures or more, so none can be held out to be judged on"
        )
    bank, query = images.subset(bank_rows), images.subset(query_rows)
    protocol = (
        f"a stratified {HELD_OUT:.0%} held out of {split or 'all pictures'} (seed {seed}): from {len(bank):,} pictures "
        f"to {len(query):,}, which the encoder may have seen in training, without labels"
    )
    return Rows(bank, query, "held out", protocol, (*left_out, *_strangers(bank, query)))


def stratified(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of a larger and a smaller part, the latter with about `share` of each class, both in rising order.

    Rows labelled -1 are in neither part, and every class with one row or more keeps one in the larger part. A pure
    function of its arguments.
    """
    generator = np.random.default_rng(seed)
    taken = np.zeros(len(labels), dtype=bool)
    for value in np.unique(labels[labels >= 0]):
        rows = generator.permutation(np.flatnonzero(labels == value))
        taken[rows[: min(len(rows) - 1, round(share * len(rows)))]] = True
    return np.flatnonzero((labels >= 0) & ~taken), np.flatnonzero(taken)


def _labelled(images: Images, what: str) -> tuple[Images, list[str]]:
    """The pictures whose label is known, and a note where there are others."""
    assert images.labels is not None
    known = images.labels >= 0
    if known.all():
        return images, []
    if not known.any():
        raise InputError(f"no picture of {what} that can be read has a label")
    missing = int((~known).sum())
    return images.subset(np.flatnonzero(known)), [f"{missing:,} pictures of {what} have no label and were left out"]


def _strangers(bank: Images, query: Images) -> list[str]:
    """A note where queries have classes that the bank lacks: they can only be wrong."""
    assert bank.labels is not None
    assert query.labels is not None
    missing = np.setdiff1d(query.labels, bank.labels)
    if not len(missing):
        return []
    names = [query.class_names[value] if query.class_names else str(value) for value in missing[:_NAMED]]
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    lost = int(np.isin(query.labels, missing).sum())
    told = (
        f"classes {', '.join(names)}{more} are not in the bank, so their {lost:,} pictures count as wrong: "
        "give a bank that has them"
    )
    return [told]


def _unlabelled(name: str, data: Any, labels: str | None) -> InputError:
    """The error for data without labels, with what to do about it."""
    if labels not in {None, "none"}:
        return InputError(f"the labels {labels!r} of {name} are all unknown: name a column or 'folders' that has them")
    is_folder = isinstance(data, str | Path) and Path(data).expanduser().is_dir()
    way = (
        "labels='folders' if its sub-folders are the classes" if is_folder else "labels='COLUMN', the one that has them"
    )
    return InputError(f"{name} has no labels to score by: pass {way}")
