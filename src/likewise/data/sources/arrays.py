"""Images in NumPy arrays: .npz and .npy files, arrays and tensors in memory."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.decoding.decode import one_line
from likewise.data.decoding.pixels import from_array
from likewise.data.decoding.ranges import Found, Spans, extremes_of, kept, merged
from likewise.data.fingerprints import digest, digest_array, digest_files, file_facts
from likewise.data.labels import NONE, Labels, Stated, united
from likewise.data.source import BrokenImage, Joined, Pixels, Source
from likewise.data.sources.files import short_name, with_ranges
from likewise.data.splitting.split_finding import column_splits, speaks_of_splits
from likewise.data.splitting.splits import KNOWN, are_splits, in_order, pick_split
from likewise.errors import InputError, unknown

IMAGE_KEYS = ("images", "image", "x", "data", "imgs", "pixels")
LABEL_KEYS = ("labels", "label", "y", "targets", "target")
_BEFORE = re.compile(r"^([a-z]+)_(.+)$")
_AFTER = re.compile(r"^(.+)_([a-z]+)$")
_NARROW = 8
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # ValueError: Python objects, too

Layout = Literal["grey", "channels last", "channels first"]


@dataclass(kw_only=True, eq=False)
class ArraySource(Source):
    """Images in one array."""

    array: NDArray[Any]
    """(N, H, W), (N, H, W, 1|3|4) or (N, 1|3|4, H, W), any numeric type."""
    layout: Layout
    """Which of the three."""
    place: str = ""
    """The file, and the split in it, that the array is from; for people."""

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Convert one image. Raises BrokenImage, which names the row."""
        values = np.asarray(self.array[position])
        turned = values.transpose(1, 2, 0) if self.layout == "channels first" else values
        try:
            return from_array(turned, None if self.spans is None else self.spans.of(values))
        except BrokenImage as error:
            raise BrokenImage(f"row {position} of {self.place or self.name}: {error}") from error


class SplitArrays(NamedTuple):
    """The arrays of one split."""

    images: NDArray[Any]
    labels: NDArray[Any] | None


def layout_of(array: NDArray[Any], what: str) -> Layout:
    """The layout of images in an array. Raises InputError for other shapes."""
    if array.dtype.kind in "biuf" and array.size:
        if array.ndim == 4 and array.shape[3] in {1, 3, 4}:
            return "channels last"
        if array.ndim == 4 and array.shape[1] in {1, 3, 4}:
            return "channels first"
        if array.ndim == 3 and (array.shape[2] not in {3, 4} or array.shape[1] <= _NARROW):
            return "grey"
        if array.ndim == 3:
            raise InputError(f"{what} of shape {array.shape} looks like one image: give (N, H, W, {array.shape[2]})")
    raise InputError(
        f"{what} of shape {array.shape} and type {array.dtype} holds no images: numbers of shape (N, H, W), "
        "(N, H, W, 3) or (N, 3, H, W) are wanted"
    )


def spans_of(arrays: list[NDArray[Any]], fingerprint: str | None) -> Spans:
    """The common range of all splits, from all of their numbers. `fingerprint` of the file that they are from."""

    def find() -> Found:
        return merged(extremes_of(array) for array in arrays)

    found = kept(fingerprint, find) if fingerprint else find()
    return Spans(lambda: found)


# Finding arrays ----------------------------------------------------------------------------------------------------


@contextmanager
def _archive(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """A .npz file, its arrays read when they are asked for. Raises InputError where it is damaged or no such file."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no .npz file")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be read as NumPy arrays: {one_line(error)}") from error


def load_arrays(path: Path) -> Mapping[str, NDArray[Any]]:
    """The arrays of a .npz file, by name; that of a .npy file, memory-mapped, as `images`.

    Raises InputError where the file is damaged or holds Python objects.
    """
    if path.suffix.lower() != ".npy":
        with _archive(path) as arrays:
            return dict(arrays)
    try:
        return {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be read as NumPy arrays: {one_line(error)}") from error


def array_names(path: Path) -> list[str]:
    """The names of the same arrays, without reading them. Raises InputError where the file is damaged."""
    if path.suffix.lower() == ".npy":
        return ["images"]
    with _archive(path) as arrays:
        return list(arrays)


def array_splits(keys: list[str]) -> tuple[str, ...]:
    """Splits that the names of arrays speak of: `train_images`, `x_test`; beside these any other, `extra_images`."""
    known = in_order(split for key in keys if (split := _split_and_rest(key, KNOWN)[0]))
    if not are_splits(known):
        return known
    alike = {rest for key in keys for split, rest in [_split_and_rest(key, KNOWN)] if split and rest in IMAGE_KEYS}
    others = [split for key in keys for split, rest in _ways(key) if rest in alike]
    return in_order([*known, *others])


def _split_and_rest(key: str, splits: Container[str]) -> tuple[str, str]:
    """`train_images` -> train, images; `x_train` -> train, x; `images` -> nothing, images."""
    return next((way for way in _ways(key) if way[0] in splits), ("", key.lower()))


def _ways(key: str) -> Iterator[tuple[str, str]]:
    """What may be the split in the name of an array, and what is the rest then."""
    if speaks_of_splits([key]):  # `is_train` says it of each image
        return
    if match := _BEFORE.match(key.lower()):
        yield match.group(1), match.group(2)
    if match := _AFTER.match(key.lower()):
        yield match.group(2), match.group(1)


def _split_arrays(
    arrays: Mapping[str, NDArray[Any]], split: str, splits: Sequence[str], labels: str | None, what: str
) -> SplitArrays:
    """The images and labels of one of `splits`, or of data without any where it is empty. Raises InputError."""
    keys = {rest: key for key in arrays for own, rest in [_split_and_rest(key, splits)] if rest and own == split}
    place = f"{split!r} of {what}" if split else what
    images = next((keys[name] for name in IMAGE_KEYS if name in keys), None)
    if images is None:
        many = [key for key in keys.values() if arrays[key].ndim >= 3]
        if len(many) != 1:
            raise InputError(f"no array of images in {place}: call it 'images'; found {', '.join(arrays)}")
        images = many[0]
    pixels = arrays[images]
    others = {rest: key for rest, key in keys.items() if key != images}
    if labels is not None and labels not in others and labels not in others.values():
        raise unknown(f"array of labels in {place}", labels, others)
    wanted = labels if labels is None else others.get(labels, labels)
    key = wanted or next((others[name] for name in LABEL_KEYS if name in others), None)
    if key is None and list(arrays) == ["arr_0", "arr_1"]:  # np.savez(file, images, labels)
        key = "arr_1"
    if key is None:
        return SplitArrays(pixels, None)
    found = arrays[key]
    if wanted is None and (found.ndim > 2 or (found.ndim == 2 and found.shape[1] != 1)):
        return SplitArrays(pixels, None)  # several labels an image: of no use here, and not asked for
    if len(found) != len(pixels):
        raise InputError(f"{len(found)} labels for {len(pixels)} images in {place}")
    return SplitArrays(pixels, found)


# Opening -----------------------------------------------------------------------------------------------------------


def open_arrays(
    arrays: Mapping[str, NDArray[Any]],
    *,
    name: str,
    fingerprint: str | None = None,
    split: str | None = None,
    labels: str | None = None,
    place: str = "",
) -> Source:
    """The images in named arrays: `train_images`, `train_labels`, ...; `images`, `labels`; `x`, `y`; or one array.

    Where the names of arrays speak of no splits, an array may, like a column of a table: `split`, `is_train`, ...

    All splits one after the other where `split` is None. `fingerprint` of the file at `place` that they are from;
    without one it is made from the contents. Raises InputError where no images are found, or no such split or array of
    labels.
    """
    parts = _parts(arrays, None if labels == NONE else labels, name)
    splits = tuple(part for part in parts if part)
    chosen = pick_split(split, splits, name)
    found = None if labels == NONE else _labels(parts, name)
    spans = spans_of([part.images for part in parts.values()], fingerprint)
    sources = []
    for number, (part, (images, _)) in enumerate(parts.items()):
        if chosen not in {None, part}:
            continue
        sources.append(
            ArraySource(
                name=name,
                fingerprint=digest(fingerprint, part) if fingerprint else with_ranges(digest_array(images), spans),
                names=[f"{part or 'picture'} {position}" for position in range(len(images))],
                labels=found[number].values if found else None,
                class_names=found[number].names if found else None,
                splits=splits,
                split=part or None,
                split_counts={other: len(arrays.images) for other, arrays in parts.items()} if splits else {},
                spans=spans,
                array=images,
                place=f"{part!r} in {place or name}" if part else place or name,
                layout=layout_of(images, f"array {part or 'images'!r} of {name}"),
            )
        )
    return sources[0] if len(sources) == 1 else Joined.of(sources)


def _parts(arrays: Mapping[str, NDArray[Any]], labels: str | None, name: str) -> dict[str, SplitArrays]:
    """The arrays of each split, by the names of arrays or by an array that says it; those of no split come last."""
    if splits := array_splits(list(arrays)):
        return {split: _split_arrays(arrays, split, splits, labels, name) for split in splits}
    whole = _split_arrays(arrays, "", (), labels, name)
    columns = [key for key, array in arrays.items() if np.shape(array) == (len(whole.images),)]
    marked = column_splits(columns, lambda column: np.asarray(arrays[column]).tolist())
    if marked is None or marked.column == labels:
        return {"": whole}
    words = np.array(marked.words)
    parts = {}
    for split in (*in_order(marked.words), ""):
        rows = np.flatnonzero(np.char.lower(words) == split.lower())
        if len(rows):
            parts[split] = SplitArrays(whole.images[rows], None if whole.labels is None else whole.labels[rows])
    return parts


def _labels(parts: Mapping[str, SplitArrays], name: str) -> list[Labels] | None:
    """The labels of all splits, unknown in one that has none; None where no split has any."""
    if all(part.labels is None for part in parts.values()):
        return None
    return united(
        [
            Stated(np.full(len(images), -1) if labels is None else labels, f"labels of {split or 'all'} in {name}")
            for split, (images, labels) in parts.items()
        ]
    )


def splits_of(keys: Sequence[str], opened: Callable[[], Source]) -> tuple[str, ...]:
    """The splits of arrays called `keys`; they are `opened` only where one of them may say the split of each image."""
    return array_splits(list(keys)) or (opened().splits if speaks_of_splits(keys) else ())


def open_array_file(path: Path, *, split: str | None = None, labels: str | None = None) -> Source:
    """The images in a .npz or .npy file. Raises InputError as `open_arrays` does, and for damaged files."""
    fingerprint = digest("arrays", digest_files([file_facts(path)], [path]))
    how = {"name": short_name(path), "place": str(path), "fingerprint": fingerprint}
    return open_arrays(load_arrays(path), split=split, labels=labels, **how)
