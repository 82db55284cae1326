"""Images of the benchmark of few labels: draws of the files beside CIFAR-10's, with other labels and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.images import cifar10_file
from likewise.data import Images, open_source, prepare
from likewise.data.fingerprints import digest, digest_array
from likewise.data.source import Column, Part, Source
from likewise.data.splitting.subsets import per_class, share_of

Keywords = Mapping[str, Any]
HELD_OUT = 0.3
"""Share of the images that are only asked about, where the data has no split for it."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    images: int = 12_000
    """Training images; test images are a fifth of that, at most 2,000."""
    epochs: float = 30
    seeds: int = 2
    side: int = 32
    width: int = 16
    batch_size: int = 128
    minutes: Mapping[str, float] | None = None
    """Of an arm of each part, in place of epochs."""

    def budget(self, part: str, *, epochs: float = 1.0, minutes: float = 1.0) -> Keywords:
        """Of one training of a part: this share of the epochs, or of the minutes where these are given."""
        if self.minutes is not None:
            return {"minutes": minutes * self.minutes[part]}
        return {"epochs": epochs * self.epochs}

    @property
    def run(self) -> Keywords:
        """Of every training."""
        return {
            "width": self.width, "image_size": self.side, "precision": "float32", "quiet": True, "report": False,
            "loggers": (), "online_probe": False,
        }  # fmt: skip


QUICK = Scale(images=200, epochs=1, seeds=1, side=16, width=8, batch_size=20)

SHORT_MINUTES: Mapping[str, float] = {
    "labels40": 1.5, "hiermatch": 1.0, "nncsl": 1.0, "uml": 0.6, "dyndistill": 0.5, "promptcal": 0.6
}  # fmt: skip
"""Of an arm of each part in the short form."""
SHORT_ARMS: Mapping[str, Sequence[str]] = {
    "labels40": ("msf", "paws", "cmsf_semi"),
    "hiermatch": ("10 fine", "10 fine, 10 coarse"),
    "nncsl": ("nncsl", "every support"),
    "uml": ("1 task", "64 tasks", "64 tasks, cosine"),
    "dyndistill": ("base alone", "fixed teacher", "moving teacher"),
    "promptcal": ("stage 1 twice", "stage 1, then 2"),
}
"""What it compares."""


def short(images: int, longer: float = 1.0) -> Scale:
    """The short form: minutes in place of epochs, one seed, narrow encoders; images of PACS are twice as large."""
    minutes = {part: longer * usual for part, usual in SHORT_MINUTES.items()}
    return Scale(images, seeds=1, side=16, width=8, batch_size=64, minutes=minutes)


def drawn(source: Source, count: int, seed: int) -> Part:
    """About `count` images, equally many of each class."""
    assert source.labels is not None
    each = max(1, count // len(np.unique(source.labels)))
    return Part.of(source, per_class(source.labels, each, seed))


def divided(source: Source, images: int) -> tuple[Part, Part]:
    """At most so many images to train on, and three tenths of all to ask about; each class by its share of all."""
    labels = source.labels
    assert labels is not None
    held = share_of(labels, HELD_OUT, 0)
    rest = np.setdiff1d(np.arange(len(labels)), held)
    kept = rest[share_of(labels[rest], min(1.0, images / len(rest)), 0)]
    return Part.of(source, kept), Part.of(source, held)


def with_labels(source: Part, labels: NDArray[np.int64], columns: Mapping[str, NDArray[np.int64]]) -> Part:
    """The same images with other labels and columns, which are other data."""
    found = Part.of(source, np.arange(len(source)))
    found.labels = labels
    found.columns = {name: Column(values) for name, values in columns.items()}
    found.fingerprint = digest(found.fingerprint, digest_array(labels), *map(digest_array, columns.values()))
    found.splits, found.split = (), None  # what it holds is chosen already
    return found


def opened(name: str, split: str | None, labels: str, columns: Sequence[str] = ()) -> Source:
    """One of the files beside CIFAR-10's."""
    return open_source(cifar10_file().with_name(f"{name}.parquet"), split=split, labels=labels, columns=columns)


def tests(source: Source, scale: Scale) -> Images:
    """The test images, decoded."""
    return prepare(drawn(source, min(2000, scale.images // 5), 0), short_side=None)


def archive(path: Path, images: Images) -> str:
    """The images as an .npz file, which recipes open by its path."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels, _ = images.gather(np.arange(len(images)))
        np.savez(path, images=pixels.numpy(), labels=images.labels)
    return str(path)
