"""Images from Python: a list of images, arrays or paths, or a map-style Dataset."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from likewise.data.decoding.decode import decode, extremes_in, extremes_in_pil, from_pil, look_at, one_line
from likewise.data.decoding.pixels import checked, from_array
from likewise.data.decoding.ranges import Found, Spans, extremes_of, merged
from likewise.data.fingerprints import FileFacts, digest, digest_array, file_facts
from likewise.data.labels import NONE, Labels, as_labels, is_unknown, lines
from likewise.data.source import BrokenImage, ImageInfo, Pixels, Source, is_grey, spread
from likewise.data.sources.files import extremes_of_files, read_bytes
from likewise.data.sources.walking import printable
from likewise.errors import InputError

IMAGE_KEYS = ("image", "img", "pixel_values", "x", "picture")
LABEL_KEYS = ("label", "labels", "fine_label", "target", "y")
_CLASSES = (int, float, str, bytes)
_READ_AGAIN = 8
_LOG = logging.getLogger(__name__)


class SequenceEntry(NamedTuple):
    """One entry, taken apart."""

    image: Any
    """A Pillow image, array, tensor, path, or encoded bytes."""
    label: Any = None
    """Whole number, word, or None."""


def take_apart(entry: Any, labels: str | None = None) -> SequenceEntry:
    """An image alone, (image, label, ...), or a mapping with both. `labels` names the label in a mapping."""
    if isinstance(entry, Mapping) and not _is_encoded(entry):
        image = next((key for key in IMAGE_KEYS if key in entry), None)
        if image is None:
            raise BrokenImage(f"no image among {', '.join(map(str, entry))}")
        wanted = (labels,) if labels else LABEL_KEYS
        return SequenceEntry(entry[image], next((entry[key] for key in wanted if key in entry), None))
    if isinstance(entry, tuple | list) and entry and not isinstance(entry[0], int | float):
        return SequenceEntry(entry[0], entry[1] if len(entry) > 1 else None)
    return SequenceEntry(entry)


def _is_encoded(value: Any) -> bool:
    """Whether a mapping is one image as Hugging Face stores it: {bytes, path}."""
    return isinstance(value, Mapping) and 0 < len(value) <= 2 and set(value) <= {"bytes", "path"}


def to_pixels(image: Any, short_side: int | None = None, spans: Spans | None = None) -> Pixels:
    """Whatever an entry may hold as (H, W, 3) uint8 RGB, in the ranges of its source. Raises BrokenImage."""
    if isinstance(image, Image.Image):
        return from_pil(image, spans)
    image = _plain_image(image)
    if isinstance(image, np.ndarray):
        return from_array(image, spans.of(checked(image)) if spans else None)
    if isinstance(image, str | PathLike):
        return decode(read_bytes(fspath(image)), short_side, spans)
    if isinstance(image, bytes | bytearray):
        return decode(bytes(image), short_side, spans)
    raise BrokenImage(f"{type(image).__name__} is no image: a Pillow image, an array, a tensor or a path is")


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor for NumPy, which has no bfloat16."""
    tensor = tensor.detach().cpu()
    found: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _plain_image(image: Any) -> Any:
    """Tensors as arrays, and the {bytes, path} of Hugging Face as what is in it."""
    if isinstance(image, torch.Tensor):
        return as_array(image)
    if _is_encoded(image):
        return image.get("bytes") or image.get("path")
    return image


@dataclass(kw_only=True, eq=False)
class SequenceSource(Source):
    """Images behind `data[position]`."""

    data: Any
    """The sequence or Dataset."""
    alone: bool
    """Whether entries are taken one at a time: what a Dataset does (one file handle, one decoder) may need that."""

    def __post_init__(self) -> None:
        self._taking = threading.Lock() if self.alone else nullcontext()

    def _image(self, position: int) -> Any:
        with self._taking:
            return entry_at(self.data, position).image

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Convert one entry."""
        return to_pixels(self._image(position), short_side, self.spans)

    def look(self, position: int) -> ImageInfo:
        """What one entry holds."""
        image = _plain_image(self._image(position))
        if isinstance(image, str | PathLike):
            return look_at(read_bytes(fspath(image)), self.spans)
        pixels = to_pixels(image, None, self.spans)
        kind = (image.format or "PIL") if isinstance(image, Image.Image) else "array"
        return ImageInfo(pixels.shape[0], pixels.shape[1], is_grey(pixels), kind)


def entry_at(data: Any, position: int, labels: str | None = None) -> SequenceEntry:
    """`data[position]`, taken apart. Raises BrokenImage for whatever goes wrong in code that is not ours."""
    try:
        return take_apart(data[position], labels)
    except BrokenImage:
        raise
    except Exception as error:
        is_systems = isinstance(error, OSError) and error.errno is not None  # Pillow's own have no number
        raise BrokenImage(f"{type(error).__name__}: {one_line(error)}", passing=is_systems) from error


def open_sequence(data: Any, *, labels: str | None = None) -> SequenceSource:
    """The images of a sequence or map-style Dataset, whose entries `take_apart` understands.

    Everything is read through once, to know the labels and whether anything changed since the cache was made; files
    given by their path are only looked at from outside. Raises InputError where there is nothing in it, where it has no
    length, or where entries are others each time they are read, by a few that are read again.
    """
    if not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
        raise InputError(
            f"{type(data).__name__} cannot be used as data: a path, a name, an array, or a sequence or Dataset with a "
            "length and entries by number can"
        )
    column = None if labels == NONE else labels
    name = "data" if isinstance(data, list | tuple | np.ndarray) else type(data).__name__.lower()
    if len(data) == 0:
        raise InputError(f"{name} holds no images")
    _check_same(data, 0, column, name, _seen(data, 0, column))
    if not isinstance(data, Sequence):
        _LOG.info("reading through the %d entries of %s", len(data), name)
    entries = [_seen(data, position, column) for position in range(len(data))]
    for position in spread(len(data), _READ_AGAIN).tolist():  # a random flip shows in every other entry only
        _check_same(data, position, column, name, entries[position])
    found = None if labels == NONE else _labels(data, [entry.label for entry in entries], column, name)
    extremes = merged([*(entry.extremes for entry in entries), _extremes_of_files(entries)])
    return SequenceSource(
        name=name,
        fingerprint=digest("sequence", *(entry.fingerprint for entry in entries)),
        names=[entry.name for entry in entries],
        spans=Spans(lambda: extremes),
        labels=found.values if found else None,
        class_names=found.names if found else None,
        data=data,
        alone=not isinstance(data, Sequence),
    )


def _check_same(data: Any, position: int, labels: str | None, name: str, before: _Seen) -> None:
    """Raise InputError where an entry is another image than before."""
    if _seen(data, position, labels).fingerprint != before.fingerprint:
        raise InputError(
            f"{name} gives another image each time its entry {position} is read: leave random transforms out"
        )


class _Seen(NamedTuple):
    """What is known of an entry that was looked at."""

    fingerprint: str
    label: Any
    name: str
    extremes: Found
    file: FileFacts | None = None


def _seen(data: Any, position: int, labels: str | None) -> _Seen:
    """One entry; files given by their path are looked at from outside only."""
    name = f"entry {position}"
    label = None
    try:
        image, label = entry_at(data, position, labels)
        image = _plain_image(image)
        if isinstance(image, str | PathLike):
            path = fspath(image)
            facts = file_facts(Path(path), path)
            return _Seen(digest(*facts), label, printable(path), {}, facts)
        fingerprint, extremes = _contents(image)
        return _Seen(fingerprint, label, name, extremes)
    except BrokenImage as broken:
        return _Seen(digest(broken.reason), label, name, {})


def _contents(image: Any) -> tuple[str, Found]:
    """Fingerprint and extremes of an image in memory. Raises BrokenImage where it is none."""
    if isinstance(image, bytes | bytearray):
        return digest_array(np.frombuffer(image, np.uint8)), extremes_in(bytes(image))
    if isinstance(image, np.ndarray):
        checked(image)
        return digest_array(image), extremes_of(image)
    extremes = extremes_in_pil(image) if isinstance(image, Image.Image) else {}
    return digest_array(to_pixels(image)), extremes


def _extremes_of_files(entries: Sequence[_Seen]) -> Found:
    files = [entry.file for entry in entries if entry.file is not None]
    return dict(extremes_of_files([file.name for file in files], files))


def _labels(data: Any, marks: Sequence[Any], wanted: str | None, name: str) -> Labels | None:
    """Labels of the entries, with the names that torchvision or Hugging Face data sets give them."""
    plain = [_plain(mark) for mark in marks]
    if wanted is not None:  # a column that is asked for may hold several texts, which labels found by name may not
        plain = [(lines(mark) or None) if isinstance(mark, list | tuple) else mark for mark in plain]
    known = [None if not isinstance(mark, _CLASSES) and is_unknown(mark) else mark for mark in plain]
    if all(mark is None for mark in known):
        if wanted is not None:
            raise InputError(f"labels={wanted!r}: the entries of {name} have no such label")
        return None
    if not all(mark is None or isinstance(mark, _CLASSES) for mark in known):
        return None  # boxes, masks, captions: targets, but no classes
    names = class_names(data, wanted)
    if names and max((mark for mark in known if isinstance(mark, int)), default=-1) >= len(names):
        names = None
    return as_labels(known, f"labels of {name}", names)


def _plain(mark: Any) -> Any:
    """Scalars of NumPy and torch as Python's own."""
    if isinstance(mark, torch.Tensor):
        mark = mark.detach().cpu().numpy()
    return mark.item() if isinstance(mark, np.ndarray | np.generic) and mark.size == 1 else mark


def class_names(data: Any, column: str | None = None) -> tuple[str, ...] | None:
    """Names of the classes where a Dataset gives them, as `classes` or in the feature of its label column."""
    names = getattr(data, "classes", None)
    features = getattr(data, "features", None)
    if names is None and isinstance(features, Mapping):
        wanted = (column,) if column else LABEL_KEYS
        names = next((getattr(features[key], "names", None) for key in wanted if key in features), None)
    if not isinstance(names, list | tuple) or not names:
        return None
    return tuple(" or ".join(map(str, name)) if isinstance(name, tuple | list) else str(name) for name in names)
