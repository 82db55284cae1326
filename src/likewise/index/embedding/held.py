"""An index as data with features: its images, with the stored vectors instead of an encoder's output.

Shapes: N images, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Images, Source
from likewise.data.fingerprints import digest
from likewise.data.source import Part
from likewise.data.sources.files import FileSource
from likewise.encoders import Encoder
from likewise.errors import InputError, unknown
from likewise.evaluation.encoder_source import Run, Subject, Which, open_subject
from likewise.evaluation.features import cached_features
from likewise.index.index import Index, is_index, open_index
from likewise.index.weights import weights_of

NO_LABELS = "none"


@dataclass(kw_only=True, eq=False)
class IndexSource(FileSource):
    """The images of an index."""

    features_NF: NDArray[np.float32]
    """(N, F) what the encoder gave of each, at its own length."""
    weights: str
    """Digest of the weights of that encoder."""


def is_held(data: Any) -> bool:
    """Whether `data` names an index in a folder."""
    return isinstance(data, str | Path) and "://" not in str(data) and is_index(data)


def subject_of(run: Run, which: Which | None, *, pretrained: bool = False, image_size: int | None = None) -> Subject:
    """`open_subject`, which takes an index, too: its encoder. Raises InputError where it keeps none."""
    if not is_held(run):
        return open_subject(run, which, pretrained=pretrained, image_size=image_size)
    if pretrained or image_size is not None or which is not None:
        raise InputError(f"{run} is an index and has one encoder as it is: leave out --which, --pretrained and sizes")
    return Subject(open_index(str(run)).encoder(), "student", None, str(run), 0)


def open_held(data: str | Path, split: str | None = None, labels: str | None = None) -> IndexSource:
    """The images of an index, of one `split` where it is named, labelled by the column `labels` (default: `label`).

    Raises InputError where it holds vectors of several spaces, and where it has no such column, split or images.
    """
    index = open_index(data)
    if len(index.held_spaces()) > 1:
        raise InputError(f"{data} holds vectors of two encoders: finish the upgrade, or take it back")
    columns, paths = index.columns, np.array(index.paths, object)
    kept = np.ones(len(paths), bool)
    if split is not None:
        held = columns.get("split", np.full(len(paths), "", object))
        kept = held == split
        if not kept.any():
            raise unknown("split", split, sorted({str(one) for one in held if one}))
    if not any(paths[kept]):
        raise InputError(f"{data} does not say where its images are: name data and an encoder")
    rows = np.flatnonzero(kept)
    facts = index.store.table().select(["id", "path", "stamp"]).take(rows)
    numbers, names = _labels(columns, rows, labels)
    return IndexSource(
        name=Path(data).absolute().stem,
        fingerprint=digest("index", index.fingerprint, index.store.version, split, labels, *facts.to_pylist()),
        names=[index_id for index_id, one in zip(index.ids, kept, strict=True) if one],
        labels=numbers,
        class_names=names,
        paths=[str(one) for one in paths[rows]],
        features_NF=lengthened(index)[rows],
        weights=index.space.weights,
    )


def lengthened(index: Index) -> NDArray[np.float32]:
    """(N, F) vectors of an index at the length that they had, in the order of `ids`."""
    return np.asarray(index.vectors() * index.norms[:, None], np.float32)


def _labels(
    columns: dict[str, NDArray[Any]], rows: NDArray[np.int64], labels: str | None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    """(N,) class of each row, -1 where it has none, and the names of the classes; None without labels."""
    name = "label" if labels in {None, "folders"} else labels
    if labels == NO_LABELS or (labels is None and name not in columns):
        return None, None
    if name not in columns:
        raise unknown("label column", str(name), columns)
    return classes_of(columns[str(name)][rows])


def classes_of(values_N: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) class of each value of a column, in the order of their names, and these.

    It is -1 where the value says nothing: none, an empty text, -1, or not a number.
    """
    texts = [None if one is None or one in {"", -1} or _is_nan(one) else str(one) for one in values_N.tolist()]
    names = tuple(sorted({one for one in texts if one is not None}))
    number = {one: place for place, one in enumerate(names)}
    return np.array([-1 if one is None else number[one] for one in texts], np.int64), names


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def features_of(encoder: Encoder, source: Source, images: Images, **how: Any) -> Tensor:
    """(N, F) features of the images of a source that could be read: those of its index, else the encoder's, cached."""
    held = _stored(source, encoder)
    if held is None:
        return cached_features(encoder, images, **how)
    at = {name: row for row, name in enumerate(source.names)}
    return torch.from_numpy(held[[at[name] for name in images.names]])


def _stored(source: Source, encoder: Encoder) -> NDArray[np.float32] | None:
    if isinstance(source, Part):
        whole = _stored(source.whole, encoder)
        return None if whole is None else whole[source.index]
    if isinstance(source, IndexSource) and source.weights == weights_of(encoder):
        return source.features_NF
    return None
