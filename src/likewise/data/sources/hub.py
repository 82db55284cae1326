"""Data sets of the library `datasets`: by name from the Hugging Face hub, saved to a folder, or given from Python."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.compute as pc

from likewise.data.decoding.decode import decode, extremes_in, look_at, one_line
from likewise.data.decoding.ranges import Found, Spans, kept, merged
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.data.labels import LABEL_COLUMNS, NONE, Labels, as_labels, find_column
from likewise.data.source import BrokenImage, ImageInfo, Joined, Pixels, Source
from likewise.data.sources.files import read_bytes, short_name
from likewise.data.sources.sequences import IMAGE_KEYS, open_sequence
from likewise.data.splitting.splits import in_order, pick_split
from likewise.errors import InputError

PREFIX = "hf:"
"""Before the name of a data set of the hub: `hf:owner/name`, or `hf:owner/name:config`."""
_PATIENCE = 3.0
_SAVED = ("dataset_dict.json", "state.json")
_LONGEST = 300

Parts = Mapping[str, Any]
"""Split -> `datasets.Dataset`; under the empty name where there are no splits."""


@dataclass(kw_only=True, eq=False)
class HubSource(Source):
    """Images in a column of a `datasets.Dataset`."""

    data: Any
    """(N rows) with that column alone, not decoded by the library: Pillow would give its upper 8 bits."""
    column: str
    """Its name."""

    def _bytes(self, position: int) -> bytes:
        return _cell(self.data, self.column, position)

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one row."""
        return decode(self._bytes(position), short_side, self.spans)

    def look(self, position: int) -> ImageInfo:
        """What one row holds."""
        return look_at(self._bytes(position), self.spans)


def _cell(data: Any, column: str, position: int) -> bytes:
    """The encoded image of a row. Raises BrokenImage."""
    try:
        held = data[position][column]
    except Exception as error:  # whatever the library raises for a damaged file of its own
        raise BrokenImage(f"{type(error).__name__}: {one_line(error)}") from error
    if held is None:
        raise BrokenImage("no image in this row")
    return bytes(held["bytes"]) if held["bytes"] is not None else read_bytes(held["path"])


# Finding data sets -------------------------------------------------------------------------------------------------


def is_dataset(data: Any) -> bool:
    """Whether an object is a `Dataset` or `DatasetDict` of the library, found without importing it."""
    return any(
        base.__module__.partition(".")[0] == "datasets" and base.__name__ in {"Dataset", "DatasetDict"}
        for base in type(data).__mro__
    )


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / _SAVED[0]).is_file() or ((folder / _SAVED[1]).is_file() and any(folder.glob("*.arrow")))


def parts_of(data: Any) -> Parts:
    """The splits of such an object, train first."""
    return {split: data[split] for split in in_order(data)} if isinstance(data, Mapping) else {"": data}


def split_names(parts: Parts) -> tuple[str, ...]:
    """Their names."""
    return tuple(part for part in parts if part)


def saved(folder: Path) -> Parts:
    """The splits of a folder that `save_to_disk` wrote. Raises InputError where it is damaged."""
    library = _library(f"the folder {folder}")
    try:
        return parts_of(library.load_from_disk(str(folder)))
    except Exception as error:  # the library and pyarrow raise anything for a damaged folder
        raise InputError(f"{folder} cannot be read as a saved data set: {one_line(error)}") from error


@functools.cache
def named(text: str) -> Parts:
    """The splits of `hf:owner/name` or `hf:owner/name:config`, downloaded where they are not there yet.

    Raises InputError where there is no such data set, and within seconds where no network reaches the hub.
    """
    name, _, config = text.removeprefix(PREFIX).partition(":")
    library = _library(text)
    unreachable = None if Path(name).is_dir() else _unreachable(name)
    try:
        with _offline(library, unreachable is not None):
            return parts_of(library.load_dataset(name, config or None))
    except Exception as error:  # from the network, the library, and pyarrow
        if unreachable is not None:
            raise InputError(
                f"{text} is not on this machine and the hub cannot be reached ({unreachable}): connect to a network, "
                "or give a folder that `save_to_disk` wrote"
            ) from error
        raise InputError(f"{text} cannot be loaded: {' '.join(str(error).split())[:_LONGEST]}") from error


def _library(what: str) -> ModuleType:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise InputError(f"{what} is read by the package datasets: pip install datasets") from error


def _unreachable(name: str) -> str | None:
    """Why the hub does not answer, or None. Raises InputError where it answers that there is no such data set.

    Asked once and not for long: the library itself tries for half a minute.
    """
    hub = importlib.import_module("huggingface_hub")
    errors = importlib.import_module("huggingface_hub.errors")
    try:
        hub.HfApi().dataset_info(name, timeout=_PATIENCE)
    except errors.GatedRepoError as error:
        raise InputError(
            f"{PREFIX}{name} is given to those who accepted its terms: do so, then hf auth login"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise InputError(f"there is no data set {name!r} on the hub, or it is private: then hf auth login") from error
    except Exception as error:  # noqa: BLE001  # whatever the client below it raises without a network
        return one_line(error)
    return None


@contextmanager
def _offline(library: ModuleType, wanted: bool) -> Iterator[None]:
    """Have the library look on this machine only."""
    names = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    holders = [(holder, name) for holder in (library.config, _constants()) for name in names if hasattr(holder, name)]
    before = [getattr(holder, name) for holder, name in holders]
    try:
        for holder, name in holders if wanted else ():
            setattr(holder, name, True)
        yield
    finally:
        for (holder, name), value in zip(holders, before, strict=True):
            setattr(holder, name, value)


def _constants() -> ModuleType:
    return importlib.import_module("huggingface_hub.constants")


# Opening -----------------------------------------------------------------------------------------------------------


def open_parts(parts: Parts, name: str, *, split: str | None = None, labels: str | None = None) -> Source:
    """The images of all splits, one after the other, or of one. Labels are read in all splits, so numbers agree.

    Raises InputError where there are no images, no such split or label column, and where splits name other classes.
    """
    splits = split_names(parts)
    split = pick_split(split, splits, name)
    column = _image_column(next(iter(parts.values())), name)
    if column is None:  # arrays, or something that entries may hold
        chosen = [data for part, data in parts.items() if split in {None, part}]
        return (
            Joined.of([open_sequence(data, labels=labels) for data in chosen])
            if len(chosen) > 1
            else open_sequence(chosen[0], labels=labels)
        )
    found = _labels(parts, labels, column, name)
    undecoded = {part: _undecoded(data, column) for part, data in parts.items()}
    own = [data._fingerprint for data in parts.values()]  # the library's name for what it holds
    outside = [path for data in undecoded.values() for path in _outside(data, column)]
    files = [digest_files((file_facts(Path(path), path) for path in outside), outside)] if outside else []
    fingerprint = digest("hub", *own, *files)

    def find() -> Found:
        return merged(_extremes(data, column) for data in undecoded.values())

    spans = Spans(lambda: kept(fingerprint, find))
    starts = np.cumsum([0, *map(len, parts.values())])
    sources = [
        HubSource(
            name=name,
            fingerprint=digest(fingerprint, part),
            names=[f"{part or 'row'} {position}" for position in range(len(data))],
            labels=found.values[start : start + len(data)] if found else None,
            class_names=found.names if found else None,
            splits=splits,
            split=part or None,
            split_counts={other: len(rows) for other, rows in undecoded.items() if other},
            spans=spans,
            data=data,
            column=column,
        )
        for (part, data), start in zip(undecoded.items(), starts, strict=False)
        if split in {None, part}
    ]
    if not sum(map(len, sources)):
        raise InputError(f"{name} holds no images")
    return sources[0] if len(sources) == 1 else Joined.of(sources)


def open_saved(folder: Path, *, split: str | None = None, labels: str | None = None) -> Source:
    """The images of a folder that `save_to_disk` wrote. Raises InputError as `open_parts` does."""
    return open_parts(saved(folder), short_name(folder), split=split, labels=labels)


def open_named(text: str, *, split: str | None = None, labels: str | None = None) -> Source:
    """The images of `hf:owner/name`. Raises InputError as `named` and `open_parts` do."""
    short = text.removeprefix(PREFIX).partition(":")[0].rstrip("/").rpartition("/")[2]
    return open_parts(named(text), short, split=split, labels=labels)


def _image_column(data: Any, name: str) -> str | None:
    """The column of images: of those that the library declares as such, the likeliest by name."""
    features = getattr(data, "features", None) or {}
    declared = [column for column, feature in features.items() if type(feature).__name__ == "Image"]
    likely = [column for column in IMAGE_KEYS if column in declared]
    if not declared and not any(column in IMAGE_KEYS for column in features):
        raise InputError(f"{name} has no column of images: its columns are {', '.join(features) or 'none'}")
    return next(iter(likely or declared), None)


def _undecoded(data: Any, column: str) -> Any:
    image = type(data.features[column])
    return data.with_format(None).select_columns([column]).cast_column(column, image(decode=False))


def _outside(data: Any, column: str) -> list[str]:
    """The files of images that the data set names and does not hold."""
    images = data.data.column(column)
    paths, is_outside = pc.struct_field(images, "path"), pc.struct_field(images, "bytes").is_null()
    if data._indices is not None:  # some rows of a table
        paths, is_outside = (part.take(data._indices.column(0)) for part in (paths, is_outside))
    return list(paths.filter(is_outside).drop_null().to_pylist())


def _extremes(data: Any, column: str) -> Found:
    def one(position: int) -> Found:
        try:
            return extremes_in(_cell(data, column, position))
        except BrokenImage:  # it is listed as broken when it is decoded
            return {}

    return merged(one(position) for position in range(len(data)))


def _labels(parts: Parts, wanted: str | None, image: str, name: str) -> Labels | None:
    if wanted == NONE:
        return None
    first = next(iter(parts.values()))
    columns = [column for column in first.features if column != image]
    classes = [column for column in columns if _class_names(first, column)]
    likely = [column for column in LABEL_COLUMNS if column in classes]
    column = next(iter(likely or classes), None) if wanted is None else None
    column = column or find_column(columns, wanted, name)
    if column is None or (wanted is None and not _is_plain(first.features[column])):
        return None
    names = {_class_names(data, column) for data in parts.values()}
    if len(names) > 1:
        raise InputError(f"the splits of {name} have other classes in {column!r}: give one of them with its own split")
    values: list[Any] = []
    for data in parts.values():
        if column not in data.features:
            raise InputError(f"a split of {name} has no column {column!r}")
        values += list(data.with_format(None)[column])
    return as_labels(values, f"column {column!r} of {name}", next(iter(names)))


def _class_names(data: Any, column: str) -> tuple[str, ...] | None:
    names: Sequence[str] | None = getattr(data.features.get(column), "names", None)
    return tuple(map(str, names)) if names else None


def _is_plain(feature: Any) -> bool:
    """Whether a column found by its name alone may hold classes: whole numbers or words."""
    return str(getattr(feature, "dtype", "")).startswith(("int", "uint", "bool", "string", "large_string"))
