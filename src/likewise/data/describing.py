"""Description of a data set before it is used: its images, labels and problems."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from likewise.data.decoding.pixels import Range
from likewise.data.images import Images
from likewise.data.source import Broken, BrokenImage, ImageInfo, Source, files_in_words, spread
from likewise.data.splitting.splits import in_words
from likewise.errors import InputError

_SHOWN = 3
_NAMED = 20
_WORKERS = 4


class Span(NamedTuple):
    """Smallest, median and largest value."""

    smallest: int
    median: float
    largest: int

    def __str__(self) -> str:
        if self.smallest == self.largest:
            return str(self.smallest)
        return f"{self.smallest} to {self.largest}, median {self.median:g}"


@dataclass(frozen=True, kw_only=True)
class Description:
    """The description of a data set. Sizes, colours, formats and damage are those of a sample."""

    name: str
    """As the source is called."""
    count: int
    """Images in all."""
    splits: tuple[str, ...]
    """Splits of the data that the source was opened from."""
    split: str | None
    """The one that this is of; None where it is of all."""
    split_counts: dict[str, int]
    """Images of each split, of none under an empty name; empty where not known."""
    sample: int
    """Images looked at, evenly spread."""
    height: Span
    """In pixels, upright."""
    width: Span
    """In pixels, upright."""
    side: float
    """Median of the short sides, in pixels."""
    grey_share: float
    """Share, 0 to 1, of images without colour."""
    formats: dict[str, int]
    """How the images are stored: number of images by format, the most frequent first."""
    broken: tuple[Broken, ...]
    """Images that cannot be read, of the sample and of those whose headers were looked at."""
    headers: int = 0
    """Files whose header and end were looked at."""
    classes: tuple[str, ...] | None
    """Names of the classes, or their numbers; None without labels."""
    class_counts: dict[str, int] | None
    """Images of each class in all, the most frequent first; None without labels."""
    unlabelled: int
    """Images without a label in data that has labels."""
    left_out: dict[str, int]
    """What lies beside the images and is none that can be read: number of files by ending."""
    ranges: dict[str, Range]
    """What becomes black and white in images of other numbers than 0 to 255, by their unit."""
    imbalance: float | None
    """Most frequent class over the least frequent one that occurs; 1 where all are equal."""

    def __str__(self) -> str:
        """Some lines for a person."""
        splits = in_words(self.splits, self.split_counts, self.split)
        seen = sum(self.formats.values())
        formats = ", ".join(f"{name} {count / seen:.0%}" for name, count in self.formats.items())
        lines = [
            f"{self.name}: {self.count:,} images; looked at {self.sample:,}",
            *([f"  splits  {splits}"] if splits else []),
            f"  height  {self.height}",
            f"  width   {self.width}",
            f"  colour  {_share(1 - self.grey_share)} in colour, {_share(self.grey_share)} grey",
            f"  format  {formats}",
            f"  labels  {labels_in_words(self.class_counts, self.unlabelled)}",
            f"  broken  {self._broken()}",
        ]
        return "\n".join(lines + [f"  {line}" for line in beside(self)])

    def _broken(self) -> str:
        """All that is broken, a line each, up to a screenful."""
        of = f"of {self.headers:,} whose headers were looked at" if self.headers else f"of {self.sample:,} looked at"
        if not self.broken:
            return f"none {of}"
        named = [f"{entry.name} ({entry.reason})" for entry in self.broken[:_NAMED]]
        more = [f"and {len(self.broken) - _NAMED:,} more"] if len(self.broken) > _NAMED else []
        return "\n          ".join([f"{len(self.broken):,} {of}", *named, *more])


def describe(source: Source, sample: int = 64) -> Description:
    """Look at `sample` images of a source and at all of its labels.

    Raises InputError where none of the images looked at can be read.
    """
    positions = [int(position) for position in spread(len(source), sample)]
    with ThreadPoolExecutor(_WORKERS) as pool:
        looks = list(pool.map(lambda position: _look(source, position), positions))
    seen = [look for look in looks if isinstance(look, ImageInfo)]
    broken = tuple(look for look in looks if isinstance(look, Broken))
    if not seen:
        what = f"{broken[0].name} ({broken[0].reason})" if broken else "there are none"
        raise InputError(f"none of {len(positions)} images of {source.name} can be read: {what}")
    counts = class_counts(source)
    return Description(
        name=source.name,
        count=len(source),
        splits=source.splits,
        split=source.split,
        split_counts=dict(source.split_counts),
        sample=len(positions),
        height=_span([look.height for look in seen]),
        width=_span([look.width for look in seen]),
        side=float(statistics.median(min(look.height, look.width) for look in seen)),
        grey_share=sum(look.grey for look in seen) / len(seen),
        formats=dict(Counter(look.stored_as for look in seen).most_common()),
        broken=broken,
        classes=None if counts is None else source.class_names or tuple(sorted(counts, key=int)),
        class_counts=counts,
        unlabelled=0 if source.labels is None else int((source.labels < 0).sum()),
        left_out=dict(source.left_out),
        ranges={} if source.spans is None else source.spans.known,
        imbalance=None if not counts else max(counts.values()) / min(counts.values()),
    )


def class_counts(source: Source | Images) -> dict[str, int] | None:
    """Images of each class that occurs, the most frequent first; None without labels."""
    if source.labels is None:
        return None
    numbers, counts = np.unique(source.labels[source.labels >= 0], return_counts=True)
    names = source.class_names
    order = np.argsort(-counts, kind="stable")
    return {names[numbers[at]] if names else str(numbers[at]): int(counts[at]) for at in order}


def labels_in_words(counts: Mapping[str, int] | None, unlabelled: int = 0) -> str:
    """The classes with their numbers of images, the most frequent first, for a person."""
    if not counts:
        return "none"
    result = [f"{name} {count:,}" for name, count in counts.items()]
    shown = result if len(result) <= 2 * _SHOWN else [*result[:_SHOWN], "...", *result[-_SHOWN:]]
    unknown = f"; {unlabelled:,} unknown" if unlabelled else ""
    imbalance = max(counts.values()) / min(counts.values())
    classes = "1 class" if len(result) == 1 else f"{len(result)} classes"
    return f"{classes}, imbalance {imbalance:.1f}: {', '.join(shown)}{unknown}"


def beside(found: Description | Images) -> list[str]:
    """Further notes before training: what was left out, and how values other than bytes are shown."""
    left_out = [f"left out: {files_in_words(found.left_out)}"] if found.left_out else []
    return left_out + values_in_words(found.ranges)


def values_in_words(ranges: Mapping[str, Range]) -> list[str]:
    """The values shown as black and white in images of other numbers than bytes."""
    lines = []
    for kind, (low, high) in ranges.items():
        unit = {"whole": "whole numbers", "fraction": "fractions"}.get(kind, kind)
        lines.append(f"values: of {unit}, {low:g} becomes black and {high:g} white, in all images")
    return lines


def remarks(images: Images) -> list[str]:
    """The same for decoded images, after their classes, and with the exact copies among them."""
    unlabelled = 0 if images.labels is None else int((images.labels < 0).sum())
    lines = [f"labels: {labels_in_words(class_counts(images), unlabelled)}"]
    if images.copies:
        lines.append(copies_in_words(images))
    return lines + beside(images)


def copies_in_words(images: Images) -> str:
    """Number of images that are exact copies of another one."""
    verb = "is an exact copy" if images.copies == 1 else "are exact copies"
    return f"copies: {images.copies:,} of {len(images):,} images {verb} of another one"


def _look(source: Source, position: int) -> ImageInfo | Broken:
    try:
        return source.look(position)
    except BrokenImage as error:
        return Broken(source.names[position], error.reason)


def _span(values: Sequence[int]) -> Span:
    return Span(min(values), float(statistics.median(values)), max(values))


def _share(value: float) -> str:
    return f"{value:.0%}"
