"""Builds a collection from an encoder and data: all splits, their labels, features, and columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.classifier import layer_of
from likewise.data import Images, Source, cached_side, open_source, prepare, split_names
from likewise.data.labels import Stated, united
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Subject
from likewise.exploring.collection import Collection, MapColumn, categorised, written
from likewise.exploring.metadata import read_columns
from likewise.exploring.table import NAMES
from likewise.index.embedding.held import features_of, is_held, open_held
from likewise.training.watching.progress import decoding


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Options of a collection: the images, and how they are read."""

    labels: str | None = None
    """Label column, or `folders`."""
    split: str | None = None
    """The only split; by default all."""
    most: int = 100_000
    """Images at most; of more, this many are taken, evenly spread."""
    metadata: Path | None = None
    """A CSV or Parquet table with a row for each image."""
    cache_dir: Path | None = None
    """Where decoded images and features are kept."""
    device: torch.device | None = None
    """Where features are made; by default where the encoder is."""
    quiet: bool = False
    """Show no progress."""


def gather(subject: Subject, data: Any, wanted: Wanted) -> Collection:
    """The images of `data` with the features of `subject`'s encoder and all that is known of them.

    Columns are `label`, `split` where the data has several, `prediction` where the run holds a classifier, and those
    of the metadata table. Features are taken from the cache where evaluation has made them. Raises InputError for data,
    splits, labels and tables that do not exist or do not fit, and for features that are not finite.
    """
    sources = _sources(data, wanted)
    total = sum(map(len, sources))
    if total > wanted.most:
        sources = [source.sample(max(1, wanted.most * len(source) // total)) for source in sources]
    left_out = total - sum(map(len, sources))
    encoder = subject.encoder
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts, paths, rows = [], [], []
    for source in sources:
        shown = source.shown_by(subject.ranges() or {})
        with decoding(shown.name, enabled=not wanted.quiet) as progress:
            side = cached_side(encoder.spec.image_size)
            images = prepare(shown, short_side=side, cache_dir=wanted.cache_dir, progress=progress)
        with decoding(shown.name, enabled=not wanted.quiet, verb="embed") as progress:
            found = features_of(
                encoder, shown, images, cache_dir=wanted.cache_dir, device=wanted.device, progress=progress
            )
        parts.append(images)
        rows.append(found)
        paths += _paths_of(shown, images)
    features_NF = torch.cat(rows)
    if not bool(torch.isfinite(features_NF).all()):
        raise InputError(f"the features of {subject.path or 'the encoder'} are not finite numbers: it has diverged")
    names = [str(name) for part in parts for name in part.names]
    columns = [*_labels(parts), *_splits(sources, parts), *_predictions(subject, features_NF)]
    if wanted.metadata is not None:
        taken = {column.name for column in columns}
        columns += read_columns(wanted.metadata, names, taken=taken | NAMES)
    title = written(data if isinstance(data, str | Path) else sources[0].name)
    broken = sum(len(part.broken) for part in parts)
    return Collection(title, tuple(parts), features_NF, tuple(paths), tuple(columns), left_out, broken)


def _sources(data: Any, wanted: Wanted) -> list[Source]:
    """One source for each split that is looked at."""
    if is_held(data):
        return [open_held(data, wanted.split, wanted.labels)]
    splits: list[str | None] = [wanted.split] if wanted.split is not None else [*split_names(data)] or [None]
    found = [open_source(data, split=split, labels=wanted.labels) for split in splits]
    return [source for source in found if len(source)]


def _paths_of(source: Source, images: Images) -> list[str | None]:
    """The files of the images that could be read."""
    files = [source.file(position) for position in images.positions.tolist()]
    return [None if file is None else str(Path(file).absolute()) for file in files]


def _labels(parts: Sequence[Images]) -> list[MapColumn]:
    """The labels, under the same number in every part; none where nothing is labelled."""
    if all(part.labels is None or not (part.labels >= 0).any() for part in parts):
        return []
    stated = [
        Stated(
            np.full(len(part), -1) if part.labels is None else part.labels, f"labels of {part.name}", part.class_names
        )
        for part in parts
    ]
    found = united(stated)
    values_N: NDArray[np.int64] = np.concatenate([np.asarray(one.values, np.int64) for one in found])
    names = found[0].names or tuple(f"class {number}" for number in range(int(values_N.max()) + 1))
    return [MapColumn("label", "label", values_N, tuple(map(written, names)))]


def _splits(sources: Sequence[Source], parts: Sequence[Images]) -> list[MapColumn]:
    """The split of each image; none where there is only one."""
    if len(sources) < 2:
        return []
    texts = [source.split for source, part in zip(sources, parts, strict=True) for _ in range(len(part))]
    return [categorised("split", "split", texts)]


def _predictions(subject: Subject, features_NF: torch.Tensor) -> list[MapColumn]:
    """What the classifier of a fine-tuned run says; none where there is no classifier."""
    found = layer_of(subject.run.weights()) if subject.run is not None and subject.which == "student" else None
    if found is None:
        return []
    layer, class_names = found
    with torch.no_grad():
        values_N = layer(features_NF).argmax(1).numpy()
    return [MapColumn("prediction", "prediction of the classifier", values_N, tuple(class_names))]
