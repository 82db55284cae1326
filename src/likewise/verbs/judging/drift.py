"""`likewise.drift`: tests of new data against old; which images are new, and in which classes."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Images, Source, cached_side, open_source, prepare, split_names, training_split
from likewise.data.source import Part
from likewise.data.splitting.subsets import part_of
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Run, Subject, Which
from likewise.evaluation.features import cached_features
from likewise.evaluation.significance import holm
from likewise.index import open_index
from likewise.index.embedding.held import is_held, open_held, subject_of
from likewise.index.weights import weights_of
from likewise.monitoring.drift import (
    LEAST,
    NEIGHBOURS,
    RATE,
    Novelty,
    TwoSample,
    novelty,
    permutations_for,
    two_sample,
)
from likewise.terminal import paragraph, table
from likewise.training.planning.machine import best_device
from likewise.training.watching.progress import decoding

LEVEL = 0.05
"""Rate of false alarms of the two-sample test."""
TOLD = 20
"""New images that are named on the terminal."""


@dataclass(frozen=True)
class ClassDrift:
    """One class in the old and the new data."""

    name: str
    old: int
    """Images."""
    new: int
    p: float | None
    """Of the two-sample test within the class, raised for the number of classes (Holm); None where it has too few."""
    are_new: int
    """New images of the class that are told as new."""


@dataclass(frozen=True)
class Drift:
    """The result."""

    test: TwoSample
    """Of all features."""
    level: float
    """The rate of false alarms that was asked for."""
    names: tuple[str, ...]
    """Of the new images."""
    novelty: Novelty
    """How new each of them is."""
    nearest: tuple[str, ...]
    """Name of the old image nearest to each."""
    classes: tuple[ClassDrift, ...]
    """Where both have labels."""
    protocol: str
    """How it was tested."""

    @property
    def drifted(self) -> bool:
        """Whether the test says that both are of different distributions."""
        return self.test.p <= self.level

    def newest(self) -> list[int]:
        """Positions of the images that are told as new, the farthest first."""
        order = np.argsort(-self.novelty.distance_M, kind="stable")
        return [int(place) for place in order if self.novelty.is_new_M[place]]

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return {
            "drifted": self.drifted,
            "level": self.level,
            "test": self.test._asdict(),
            "images": len(self.names),
            "new_by_chance": self.novelty.expected,
            "new": [
                {
                    "name": self.names[place],
                    "p": float(self.novelty.p_M[place]),
                    "distance": float(self.novelty.distance_M[place]),
                    "nearest": self.nearest[place],
                }
                for place in self.newest()
            ],
            "classes": [asdict(one) for one in self.classes],
            "protocol": self.protocol,
        }

    def to_text(self, *, brief: bool = False) -> str:
        """For a terminal; `brief`: without the protocol."""
        new, count = self.newest(), len(self.names)
        verdict = "has drifted" if self.drifted else "has not clearly drifted"
        parts = [
            f"{verdict}: energy distance {self.test.distance:.4f}, p = {self.test.p:.3g} (level {self.level:g})",
            f"{len(new):,} of {count:,} images are new; {self.novelty.expected:.1f} would be told so by chance",
        ]
        if new:
            rows = [
                [self.names[place], f"{self.novelty.distance_M[place]:.3f}", self.nearest[place]]
                for place in new[:TOLD]
            ]
            parts.append(table(["new image", "distance", "nearest old one"], rows, left=(0, 2)))
        if self.classes:
            rows = [
                [one.name, f"{one.old:,}", f"{one.new:,}", "-" if one.p is None else f"{one.p:.3g}", f"{one.are_new:,}"]
                for one in self.classes
            ]
            parts.append(table(["class", "old", "new", "p (Holm)", "told as new"], rows))
        if not brief:
            parts.append(paragraph(self.protocol, first="protocol  ", indent="  "))
        return "\n\n".join(parts)


class _Side(NamedTuple):
    """Features with what is known of them."""

    features_NF: Tensor
    names: Sequence[str]
    labels: NDArray[np.int64] | None
    class_names: Sequence[str] | None


def drift(
    reference: Run,
    data: Any,
    *,
    encoder: Run | None = None,
    old: Any = None,
    labels: str | None = None,
    which: Which | None = None,
    pretrained: bool = False,
    level: float = LEVEL,
    new_rate: float = RATE,
    seed: int = 0,
    device: torch.device | str | None = None,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Drift:
    """Test new `data` against what `reference` stands for, on the features of one encoder.

    `reference` is a run directory, a weights file, a timm name with `pretrained`, or an Encoder, and the old images are
    `old`, by default what the run was trained on; or it is an index, or a .npy or .npz file of features (N, F), and
    `encoder` says what they were made by. `data` is anything that `likewise.data.open_source` takes, an
    index, or a file of features, too. `level` is the rate of false alarms, `new_rate` the share of images like the old
    ones that are told as new.

    Raises InputError for what does not exist or fit, and for fewer than ten images on a side.
    """
    for name, value, usual in (("level", level, LEVEL), ("new_rate", new_rate, RATE)):
        if not 0 < value < 1:
            raise InputError(f"{name}={value} must be above 0 and below 1; usual is {usual}")
    permutations = permutations_for(level)
    kept, fresh = _sides(
        reference, data, encoder, old, which, pretrained=pretrained,
        labels=labels, device=device, cache_dir=cache_dir, quiet=quiet,
    )  # fmt: skip
    test = two_sample(kept.features_NF, fresh.features_NF, seed=seed, permutations=permutations)
    found = novelty(kept.features_NF, fresh.features_NF, rate=new_rate, seed=seed)
    return Drift(
        test=test,
        level=level,
        names=tuple(fresh.names),
        novelty=found,
        nearest=tuple(kept.names[int(row)] for row in found.nearest_M),
        classes=tuple(_classes(kept, fresh, found, level, seed)),
        protocol=(
            f"energy distance of unit features of {test.old:,} old and {test.new:,} new images, permutation test with "
            f"{permutations:,} permutations: false alarms in at most {level:.3g} of draws; new are images whose mean "
            f"distance to {NEIGHBOURS} of one half of the old ones is larger than that of all but {found.rate:.3g} of "
            f"the other half; seed {seed}"
        ),
    )


def _sides(
    reference: Run, data: Any, encoder: Run | None, old: Any, which: Which | None, *, pretrained: bool, **shown: Any
) -> tuple[_Side, _Side]:
    """Features of the old and of the new images, read or made; `shown` says how. Raises InputError as `drift` does."""
    labels = shown["labels"]
    subject: Subject | None = None
    kept = _kept(reference, labels)
    fresh = _kept(data, labels)
    if is_held(reference) and is_held(data):
        open_index(str(reference)).space.check(open_index(str(data)).space, str(reference))
    by = reference if kept is None or (encoder is None and is_held(reference)) else encoder
    if by is not None and (kept is None or fresh is None):
        subject = subject_of(by, which, pretrained=pretrained)
        for one in (reference, data):
            if is_held(one) and open_index(str(one)).space.weights != weights_of(subject.encoder):
                raise InputError(f"{one} was made with another encoder than {by}: their features cannot be compared")
    if kept is None:
        assert subject is not None
        before = _learned_from(subject, labels) if old is None else old
        kept = _made(subject, before, **{**shown, "labels": labels or subject.labels_for(before)})
    if fresh is None:
        if subject is None:
            raise InputError(f"{reference} holds features alone: name what makes those of {data} with --encoder")
        fresh = _made(subject, data, **shown)
    return kept, fresh


def _learned_from(subject: Subject, labels: str | None) -> Source:
    """The images that the run was trained on: those of its split and of its draw, with their own or other `labels`."""
    path, own = subject.default_data(), subject.labels_for(None)
    stored = None if subject.run is None else subject.run.read().get("data", {}).get("split")
    split = stored or training_split(split_names(path))
    source = open_source(path, split=split, labels=labels or own)
    drawn = subject.drawn()
    if drawn is None:
        return source
    part, _ = part_of(open_source(path, split=split, labels=own), drawn["text"], drawn["seed"])
    return Part.of(source, part.index)


def _kept(given: Any, labels: str | None) -> _Side | None:
    """Features of a file or of an index; None for anything else."""
    if is_held(given):
        held = open_held(given, labels=labels)
        return _Side(torch.from_numpy(held.features_NF), held.names, held.labels, held.class_names)
    if not isinstance(given, str | Path) or Path(given).suffix.lower() not in {".npy", ".npz"}:
        return None
    path = Path(given)
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if isinstance(stored, np.ndarray):
        return _side(stored) if stored.ndim == 2 else None
    with stored:
        if "features" not in stored:
            return None  # a data set of images
        names = [str(name) for name in stored["names"]] if "names" in stored else None
        return _side(stored["features"], names, stored.get("labels"))


def _side(features: NDArray[Any], names: Sequence[str] | None = None, labels: NDArray[np.int64] | None = None) -> _Side:
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise InputError(f"features of shape {features.shape} and type {features.dtype}: allowed are numbers (N, F)")
    rows = names or [f"row {number}" for number in range(len(features))]
    if len(rows) != len(features) or (labels is not None and len(labels) != len(features)):
        raise InputError(f"{len(features):,} features need as many names and labels")
    return _Side(torch.from_numpy(features.astype(np.float32)), rows, labels, None)


def _made(
    subject: Subject,
    data: Any,
    *,
    labels: str | None,
    device: torch.device | str | None,
    cache_dir: Path | None,
    quiet: bool,
) -> _Side:
    """Features of images, computed once and kept."""
    encoder: Encoder = subject.encoder
    source = open_source(data, labels=labels).shown_by(subject.ranges() or {})
    with decoding(source.name, enabled=not quiet) as progress:
        images: Images = prepare(
            source, short_side=cached_side(encoder.spec.image_size), cache_dir=cache_dir, progress=progress
        )
    if len(images) < LEAST:
        raise InputError(f"{source.name} holds {len(images)} images: a test needs at least {LEAST} on a side")
    where = device if device is not None else best_device()
    with decoding(images.name, enabled=not quiet, verb="embed") as progress:
        features_NF = cached_features(encoder, images, cache_dir=cache_dir, device=where, progress=progress)
    return _Side(features_NF, images.names, images.labels, images.class_names)


def _classes(old: _Side, new: _Side, found: Novelty, level: float, seed: int) -> list[ClassDrift]:
    """Each class that either has, where both have labels; classes are the same where their names are."""
    if old.labels is None or new.labels is None:
        return []
    before, after = _named(old), _named(new)
    names = sorted({*before.tolist(), *after.tolist()} - {""})
    places = {name: (np.flatnonzero(before == name), np.flatnonzero(after == name)) for name in names}
    tested = {name: parts for name, parts in places.items() if min(map(len, parts)) >= LEAST}
    permutations = permutations_for(level, len(tested))
    tests = {
        name: two_sample(
            old.features_NF[torch.from_numpy(rows)],
            new.features_NF[torch.from_numpy(new_rows)],
            seed=seed,
            permutations=permutations,
        ).p
        for name, (rows, new_rows) in tested.items()
    }
    raised = dict(zip(tests, holm(list(tests.values())), strict=True))
    return [
        ClassDrift(
            name,
            int((before == name).sum()),
            int((after == name).sum()),
            raised.get(name),
            int(found.is_new_M[after == name].sum()),
        )
        for name in names
    ]


def _named(side: _Side) -> NDArray[np.str_]:
    """Name of the class of each image, empty where it is not known."""
    assert side.labels is not None
    names = side.class_names
    words = (("" if value < 0 else names[value] if names else str(value)) for value in side.labels.tolist())
    return np.asarray(list(words), dtype=np.str_)
