"""Images of any data with their features by an encoder: opened, decoded and embedded, for verbs without scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Images, Source, cached_side, open_source, prepare, split_names, training_split
from likewise.data.splitting.splits import pick_split
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Subject
from likewise.index.embedding.held import features_of, is_held, open_held
from likewise.training.planning.machine import best_device
from likewise.training.watching.progress import decoding


class Embedded(NamedTuple):
    """Images with their features, row by row."""

    source: Source
    """What they were read from."""
    images: Images
    """(N,) those that could be read."""
    features_NF: Tensor
    """(N, F) float32 on the CPU."""
    rows: NDArray[np.int64]
    """(N,) the position of each image in the source."""

    def part(self, index: NDArray[np.int64]) -> Embedded:
        """The images at these positions."""
        return Embedded(
            self.source, self.images.subset(index), self.features_NF[torch.from_numpy(index)], self.rows[index]
        )

    def path(self, position: int) -> str | None:
        """The file of an image; None where it lies in something else, such as Parquet."""
        return self.source.file(int(self.rows[position]))

    def place(self, position: int) -> str:
        """The file of an image, or else its name."""
        return self.path(position) or str(self.images.names[position])


def opened(data: Any, split: str | None, labels: str | None, columns: Sequence[str] = ()) -> Source:
    """The training split of the data, or the one that is asked for, with further columns.

    Raises InputError as `open_source` does, and for columns of an index.
    """
    if is_held(data):
        if columns:
            raise InputError(f"{data} is an index, of which the column {columns[0]!r} is not read: name its images")
        return open_held(data, split, labels)
    splits = split_names(data)
    what = str(data) if isinstance(data, str | Path) else "the data"
    return open_source(
        data, split=pick_split(split, splits, what) or training_split(splits), labels=labels, columns=columns
    )


def embed(subject: Subject, source: Source, *, cache_dir: Path | None = None, quiet: bool = False) -> Embedded:
    """Decode the images and make their features, or take both from the cache. Raises InputError as these do."""
    source = source.shown_by(subject.ranges() or {})
    with decoding(source.name, enabled=not quiet) as progress:
        side = cached_side(subject.encoder.spec.image_size)
        images = prepare(source, short_side=side, cache_dir=cache_dir, progress=progress)
    with decoding(source.name, enabled=not quiet, verb="embed") as progress:
        features_NF = features_of(
            subject.encoder, source, images, cache_dir=cache_dir, device=best_device(), progress=progress
        )
    return Embedded(source, images, features_NF, images.positions)
