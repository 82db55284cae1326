"""Label efficiency: accuracy of a classifier on an encoder's features against its number of labels.

Each point is the linear probe of a few labelled images of each class, drawn several times; all encoders get the same
draws, and are judged by the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from likewise.data.splitting.subsets import per_class
from likewise.encoders import Encoder
from likewise.encoders.encoder import in_channels_last
from likewise.errors import InputError
from likewise.evaluation.bank_and_query import Rows, open_rows
from likewise.evaluation.encoder_source import Run, Which, open_subject
from likewise.evaluation.features import cached_features
from likewise.evaluation.probes import linear
from likewise.similarity import knn
from likewise.training.watching.progress import decoding

DRAWS = 5
PROTOCOL = (
    "linear probe (L2-normalised, standardised, L-BFGS) of so many labelled images of each class, mean over {draws} "
    "draws that are the same for all encoders; {rows}"
)


@dataclass(frozen=True)
class Efficiency:
    """One encoder's accuracy at each number of labels."""

    label: str
    counts: tuple[int, ...]
    """Labels of each class."""
    accuracy: tuple[tuple[float, ...], ...]
    """For each number, that of every draw (and run of the group)."""
    protocol: str

    def means(self) -> list[float]:
        """Over draws and runs."""
        return [fmean(values) for values in self.accuracy]

    def spreads(self) -> list[float]:
        """Standard deviations over draws and runs."""
        return [stdev(values) if len(values) > 1 else 0.0 for values in self.accuracy]


def check_counts(counts: Sequence[int]) -> tuple[int, ...]:
    """The numbers of labels, each once, rising. Raises InputError for one below 1."""
    if any(count < 1 for count in counts):
        raise InputError(f"labels_per_class={min(counts)} must be at least 1")
    return tuple(sorted(set(counts)))


def measure(
    run: Run,
    data: Any,
    counts: Sequence[int],
    *,
    draws: int = DRAWS,
    which: Which | None = None,
    labels: str | None = None,
    pretrained: bool = False,
    untrained: bool = False,
    device: torch.device,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> dict[str, Efficiency]:
    """The curve of the encoder, under its role, and of the same encoder `untrained` where that is asked for.

    Raises InputError where the data has no labels, or no class has as many images as the largest number.
    """
    subject = open_subject(run, which, pretrained=pretrained)
    data = subject.default_data() if data is None else data
    size = subject.encoder.spec.image_size
    rows = open_rows(data, image_size=size, labels=labels, cache_dir=cache_dir, quiet=quiet)
    most = int(np.bincount(rows.bank_labels).max())
    if most < max(counts):
        raise InputError(f"labels_per_class={max(counts)} is more than any class has: the largest has {most} images")
    encoders = {subject.which: subject.encoder} | ({"untrained": subject.untrained()} if untrained else {})
    found = {}
    for role, encoder in encoders.items():
        accuracy = tuple(
            _accuracies(*_features(encoder, rows, device, cache_dir, quiet=quiet), rows, count, draws)
            for count in counts
        )
        protocol = PROTOCOL.format(draws=draws, rows=rows.protocol)
        found[role] = Efficiency(str(subject.path or "encoder"), tuple(counts), accuracy, protocol)
    return found


def joined(label: str, parts: Sequence[Efficiency]) -> Efficiency:
    """The curves of several runs as one."""
    columns = zip(*(part.accuracy for part in parts), strict=True)
    accuracy = tuple(tuple(value for values in column for value in values) for column in columns)
    return Efficiency(label, parts[0].counts, accuracy, parts[0].protocol)


def _features(
    encoder: Encoder, rows: Rows, device: torch.device, cache_dir: Path | None, *, quiet: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    in_channels_last(encoder)
    both = []
    for images in (rows.bank, rows.query):
        with decoding(images.name, enabled=not quiet, verb="embed") as progress:
            both.append(cached_features(encoder, images, cache_dir=cache_dir, device=device, progress=progress))
    return both[0], both[1]


def _accuracies(bank_NF: torch.Tensor, query_QF: torch.Tensor, rows: Rows, count: int, draws: int) -> tuple[float, ...]:
    truth_Q, labels_N = torch.from_numpy(rows.query_labels), torch.from_numpy(rows.bank_labels)
    found = []
    for draw in range(draws):
        index = torch.from_numpy(per_class(rows.bank_labels, count, draw))
        probe = linear.fit(bank_NF[index], labels_N[index], seed=draw)
        found.append(knn.accuracy(probe.predict(query_QF), truth_Q))
        if len(index) == len(labels_N):  # every draw is all of them
            break
    return tuple(found)
