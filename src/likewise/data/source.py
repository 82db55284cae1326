"""`Source`: a list of images that knows all of them at once and decodes them one at a time."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.decoding.decoded import BrokenImage, Pixels
from likewise.data.decoding.pixels import Range
from likewise.data.decoding.ranges import Spans
from likewise.data.fingerprints import digest, digest_array
from likewise.data.labels import Stated, united
from likewise.errors import InputError

__all__ = [
    "Broken",
    "BrokenImage",
    "Column",
    "ImageInfo",
    "Joined",
    "Part",
    "Pixels",
    "Source",
    "files_in_words",
    "is_grey",
    "spread",
    "write_broken",
]


@dataclass(frozen=True)
class Broken:
    """An image that was left out."""

    name: str
    """As in `Source.names`."""
    reason: str
    """Why, in one line."""


class Column(NamedTuple):
    """A column of a table beside the label: the scan an image is from, its place in a video, a coarser class."""

    values: NDArray[np.int64]
    """(N,) whole numbers as they are, or the position of a text in `names`; -1 where nothing is said."""
    names: tuple[str, ...] | None = None
    """Each different text, where the column holds texts."""

    def at(self, index: NDArray[np.int64]) -> Column:
        """The column of the images `index`."""
        return Column(self.values[index], self.names)

    def complete(self, name: str) -> Column:
        """The column itself. Raises InputError, with its `name`, where it says nothing of some images."""
        lacking = int((self.values < 0).sum())
        if lacking:
            of = f"{lacking:,} of {len(self.values):,} images"
            raise InputError(f"the column {name!r} says nothing of {of}: all of them need it")
        return self

    def listed(self) -> NDArray[np.int64] | None:
        """The numbers that `names` holds, in its order; None where `values` are the numbers already.

        Numbers that lie far apart, such as milliseconds, are read as class numbers are: `names` then holds their
        digits. Raises InputError where it holds other texts.
        """
        if not self.names:
            return None
        try:
            return np.array([int(name) for name in self.names], np.int64)
        except ValueError:
            raise InputError(f"a column of whole numbers is wanted, and one holds {self.names[0]!r}") from None

    def numbers(self) -> NDArray[np.int64]:
        """(N,) the whole numbers of the column, -1 where nothing is said. Raises InputError where it holds texts."""
        listed = self.listed()
        return self.values if listed is None else np.where(self.values < 0, -1, listed[self.values])


class ImageInfo(NamedTuple):
    """Size, colour and format of one image, for `describe`."""

    height: int
    """Rows of pixels, upright."""
    width: int
    """Columns of pixels, upright."""
    grey: bool
    """Red, green and blue are equal everywhere."""
    stored_as: str
    """File format in Pillow's spelling, or `array`, or `PIL`."""


@dataclass(kw_only=True, eq=False)
class Source(ABC):
    """A source of images. Everything but the pixels is known when it is opened; opening decodes nothing.

    A source of one's own is a subclass with `read`; `open_source` hands such an object back as it is.
    """

    name: str
    """Short, for run names: `cifar10`, `photos`."""
    fingerprint: str
    """Hexadecimal; another one when the data change (paths, sizes and times of files, contents of arrays)."""
    names: Sequence[str]
    """One per image, for people: relative path, `image.path`, or row number."""
    labels: NDArray[np.int64] | None = None
    """(N,) class of each image, -1 where unknown; None where the data has no labels or none were asked for."""
    class_names: tuple[str, ...] | None = None
    """Name of each class where the data names them."""
    splits: tuple[str, ...] = ()
    """All splits of the data that this source was opened from, whichever of them it holds."""
    split: str | None = None
    """The one that it holds; None where it holds all."""
    split_counts: Mapping[str, int] = field(default_factory=dict)
    """Images of each split, of none under an empty name; empty where that is not known without opening them."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What lay beside the images and is none that can be read: number of files by ending, the most frequent first."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    """What else is known of each image, as far as it was asked for."""
    spans: Spans | None = None
    """What is black and white in images of other numbers than 0 to 255: one range for all splits. None: has none."""

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one image to (H, W, 3) uint8 RGB.

        With `short_side` the source may return fewer pixels than it has, as long as the short side keeps at least
        that many: JPEG files are then decoded at a fraction of their size. May be called from several threads.
        Raises BrokenImage.
        """

    def look(self, position: int) -> ImageInfo:
        """Size, colour and format of one image. Raises BrokenImage."""
        pixels = self.read(position)
        return ImageInfo(pixels.shape[0], pixels.shape[1], is_grey(pixels), "array")

    def file(self, position: int) -> str | None:
        """Path of the file that holds this image and no other; None where it lies in something else."""
        return None

    def shown_by(self, wished: Mapping[str, Range]) -> Source:
        """The same images, by the ranges of another data set (`spans`) where these suit, else by their own."""
        if self.spans is None or not wished:
            return self
        other = self.spans.wishing(wished)
        if other.ranges() == self.spans.ranges():
            return self
        return replace(self, spans=other, fingerprint=digest(self.fingerprint, sorted(other.ranges().items())))

    def sample(self, count: int) -> Source:
        """At most `count` of the images, evenly spread over all of them."""
        return self if count >= len(self) else Part.of(self, spread(len(self), count))


@dataclass(kw_only=True, eq=False)
class Part(Source):
    """Some images of another source."""

    whole: Source
    """The other source."""
    index: NDArray[np.int64]
    """(N,) positions in it."""

    @classmethod
    def of(cls, whole: Source, index: NDArray[np.int64]) -> Part:
        """The images `index` of `whole`."""
        return cls(
            name=whole.name,
            fingerprint=digest(whole.fingerprint, digest_array(index)),
            names=[whole.names[position] for position in index],
            labels=None if whole.labels is None else whole.labels[index],
            class_names=whole.class_names,
            splits=whole.splits,
            split=whole.split,
            split_counts=whole.split_counts,
            left_out=whole.left_out,
            columns={name: column.at(index) for name, column in whole.columns.items()},
            spans=whole.spans,
            whole=whole,
            index=index,
        )

    def shown_by(self, wished: Mapping[str, Range]) -> Source:
        """The other source shown so."""
        whole = self.whole.shown_by(wished)
        if whole is self.whole:
            return self
        return replace(self, whole=whole, spans=whole.spans, fingerprint=digest(self.fingerprint, whole.fingerprint))

    def file(self, position: int) -> str | None:
        """As the other source has it."""
        return self.whole.file(int(self.index[position]))

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """As the other source reads it."""
        return self.whole.read(int(self.index[position]), short_side)

    def look(self, position: int) -> ImageInfo:
        """As the other source sees it."""
        return self.whole.look(int(self.index[position]))


@dataclass(kw_only=True, eq=False)
class Joined(Source):
    """Several sources, one after the other, as one."""

    parts: tuple[Source, ...]
    """The sources."""

    @classmethod
    def of(cls, parts: Sequence[Source]) -> Joined:
        """The images of all `parts`; those of parts without labels are unlabelled, where others have some.

        Classes are the same where their names are. Raises InputError where that cannot be said (`united`).
        """
        stated = [
            Stated(
                np.full(len(part), -1) if part.labels is None else part.labels,
                f"labels of {part.name}",
                part.class_names,
            )
            for part in parts
        ]
        found = united(stated) if any(part.labels is not None for part in parts) else None
        splits = [part.split for part in parts]
        return cls(
            name=parts[0].name,
            fingerprint=digest(*(part.fingerprint for part in parts)),
            names=[name for part in parts for name in part.names],
            labels=np.concatenate([part.values for part in found]) if found else None,
            class_names=found[0].names if found else None,
            splits=parts[0].splits,
            split_counts={split: len(part) for split, part in zip(splits, parts, strict=True) if split},
            left_out=parts[0].left_out,
            spans=parts[0].spans,
            parts=tuple(parts),
        )

    def shown_by(self, wished: Mapping[str, Range]) -> Source:
        """Each part shown so."""
        parts = tuple(part.shown_by(wished) for part in self.parts)
        if all(part is before for part, before in zip(parts, self.parts, strict=True)):
            return self
        fingerprint = digest(self.fingerprint, *(part.fingerprint for part in parts))
        return replace(self, parts=parts, spans=parts[0].spans, fingerprint=fingerprint)

    def __post_init__(self) -> None:
        self._ends = np.cumsum([len(part) for part in self.parts])

    def place(self, position: int) -> tuple[Source, int]:
        """The part that holds an image, and its position there."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        return self.parts[number], position - int(self._ends[number]) + len(self.parts[number])

    def file(self, position: int) -> str | None:
        """As the part that holds it has it."""
        part, inside = self.place(position)
        return part.file(inside)

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """As the part that holds it reads it."""
        part, inside = self.place(position)
        return part.read(inside, short_side)

    def look(self, position: int) -> ImageInfo:
        """As the part that holds it sees it."""
        part, inside = self.place(position)
        return part.look(inside)


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` different positions among `count`, evenly spread, in order."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))


def is_grey(pixels: Pixels) -> bool:
    """Whether the three channels of (H, W, 3) pixels are equal."""
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def files_in_words(left_out: Mapping[str, int]) -> str:
    """Files by ending for a person: `14 .heic, 2 .mp4`."""
    return ", ".join(f"{count:,} {ending}" for ending, count in left_out.items())


def write_broken(path: Path, broken: Iterable[Broken]) -> None:
    """Write the images that were left out as a JSON list of {name, reason}."""
    text = json.dumps([asdict(entry) for entry in broken], indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
