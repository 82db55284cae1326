"""`likewise.predict`: classes of images from few labels, with confidences verified on held-out ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.classifier import layer_of
from likewise.data import open_source
from likewise.data.source import Broken
from likewise.data.sources.lists import SEPARATED, read_list
from likewise.encoders.files.chosen import choose
from likewise.errors import InputError, unknown
from likewise.evaluation.encoder_source import Run, Subject, Which
from likewise.files import check_ending, check_targets
from likewise.index.embedding.held import is_held, open_held, subject_of
from likewise.prediction.classifiers import Logits, linear, of_layer, votes
from likewise.prediction.judged import Held, HeldOut, folded, given, split
from likewise.prediction.risk import Threshold
from likewise.prediction.trusting import NONE, accuracy, calibrated, confidence_of, promise_of, threshold_of
from likewise.runs import RunDirectory
from likewise.selection.exchange import beside, write_table
from likewise.similarity.nearest import neighbours
from likewise.verbs.labelling.embedded import Embedded, embed

BY = ("linear", "knn")
_NEAREST = 3
_FEW = 50
"""Held-out labels below which a note says that figures are rough."""


@dataclass(frozen=True)
class Prediction:
    """Predictions, with their calibration and error rates."""

    out: Path
    """The table that was written."""
    images: int
    """Images that were predicted."""
    counts: dict[str, int]
    """How many of each class, the most frequent first."""
    classifier: str
    """What predicted, in words."""
    judged: str
    """What it was judged by, in words; empty where no label was held out."""
    temperature: float | None
    """What logits are divided by; None where no label was held out."""
    ece: tuple[float, float] | None
    """Calibration error before and after, 0 to 1; None where that is not known."""
    accuracy: float | None
    """On the held-out labels."""
    threshold: Threshold | None
    """From what confidence on a class is given; None where no risk was asked for."""
    promise: str
    """What holds of the classes that are given, and on what condition; empty where nothing was promised."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know."""

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        threshold = None
        if self.threshold is not None:
            value = self.threshold.value if np.isfinite(self.threshold.value) else None
            threshold = {**asdict(self.threshold), "value": value}
        return {**asdict(self), "out": str(self.out), "threshold": threshold}


@dataclass(frozen=True)
class _Labelled:
    """The labelled images whose label is known."""

    found: Embedded
    labels_N: Tensor
    names: list[str]
    """Of the classes."""

    @property
    def features_NF(self) -> Tensor:  # noqa: N802  # its shape
        return self.found.features_NF


def predict(
    run: Run,
    data: Any,
    *,
    out: str | Path,
    labelled: Any = None,
    labels: str | None = None,
    by: str = "linear",
    risk: float | None = None,
    trust: float = 0.9,
    held_out: float = 0.3,
    split: str | None = None,
    which: Which | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Prediction:
    """Write the class of each image of `data` to `out` (CSV), with its confidence and the nearest labelled images.

    The classifier is that of a fine-tuned `run`, or else one fitted on the features of the images of `labelled` (any
    data with labels, those of the column `labels`): a `linear` layer or the votes of neighbours (`knn`). Confidences
    are calibrated on labels that it was not fitted on. With `risk` a class is only given from a confidence on at which,
    with probability `trust`, at most that share of the given classes is wrong for images drawn as the labelled ones
    are; for this the share `held_out` of the labels is kept from the fit. Other images are "none of these".

    Raises InputError for a run, data or labels that do not exist, for fewer than two classes, for a risk that the
    number of labels cannot promise, and where `out` exists.
    """
    out = Path(out)
    _check(out, by, risk, trust, held_out, overwrite=overwrite)
    subject = subject_of(run, which, pretrained=pretrained, image_size=image_size)
    own = _own_classifier(run, which)
    if labelled is None:
        _check_without_labels(subject, has_classifier=own is not None, risk=risk)
    opening = partial(embed, subject, cache_dir=cache_dir, quiet=quiet)
    known = None if labelled is None else _labelled(opening(open_source(labelled, labels=labels)), labelled)
    found = opening(open_held(data, split, "none") if is_held(data) else open_source(data, split=split, labels="none"))
    names, judged, words = _classifier(own, known, by, risk, held_out, seed)
    t, ece = calibrated(judged, seed)
    top = confidence_of(judged.logits(found.features_NF), t)
    threshold = None if risk is None else threshold_of(judged, t, top.confidence_Q, risk, trust)
    likeliest = [names[number] for number in top.class_Q.tolist()]
    floor = -np.inf if threshold is None else threshold.value
    classes = [
        name if value >= floor else NONE for name, value in zip(likeliest, top.confidence_Q.tolist(), strict=True)
    ]
    _write(out, found, known, classes, likeliest, top.confidence_Q)
    promise = "" if threshold is None or risk is None else promise_of(threshold, risk, trust)
    notes = _notes(labelled, threshold, t, own is not None)
    if ece is not None and len(judged.judging.labels_H) < _FEW:
        notes.append(f"{len(judged.judging.labels_H)} held-out labels are few: the ECE and the accuracy are rough")
    if found.images.broken:
        notes.append(f"not in the table, since they could not be read: {_first(found.images.broken)}")
    counts = dict(Counter(classes).most_common())
    return Prediction(
        out, len(classes), counts, words, judged.how, t, ece, accuracy(judged.judging), threshold, promise, notes
    )


def _check(out: Path, by: str, risk: float | None, trust: float, held_out: float, *, overwrite: bool) -> None:
    if by not in BY:
        raise unknown("classifier", by, BY)
    check_ending(out, ".csv")
    check_targets([out], overwrite=overwrite)
    shares = {"trust": trust, "held_out": held_out} | ({} if risk is None else {"risk": risk})
    for name, value in shares.items():
        if not 0.0 < value < 1.0:
            raise InputError(f"{name}={value:g}: allowed is above 0 and below 1")


def _check_without_labels(subject: Subject, *, has_classifier: bool, risk: float | None) -> None:
    """Raise InputError where no labelled images were named and something is wanted that needs them."""
    if not has_classifier:
        raise InputError(
            f"{subject.path or 'the encoder'} has no classifier: name labelled images with --labelled LIST"
        )
    if risk is not None:
        raise InputError("risk is promised by held-out labels: name labelled images with --labelled LIST")


def _own_classifier(run: Run, which: Which | None) -> tuple[Logits, list[str]] | None:
    """The classifier that lies in a run, with its classes; None where there is none."""
    path = run.path if isinstance(run, RunDirectory) else run
    if not isinstance(path, str | Path) or not Path(path).is_dir() or is_held(path):
        return None
    found = layer_of(choose(Path(path), which).path)
    return None if found is None else (of_layer(found[0]), list(found[1]))


def _labelled(found: Embedded, what: Any) -> _Labelled:
    """The images that have a label, their classes numbered anew. Raises InputError for none."""
    labels = found.images.labels
    if labels is None or not (labels >= 0).any():
        raise InputError(
            f"{what} has no labels: --labelled takes a list with a column of them, or a folder with --labels folders"
        )
    rows = np.flatnonzero(labels >= 0)
    present, numbers = np.unique(labels[rows], return_inverse=True)
    named = found.images.class_names
    names = [named[value] if named else str(value) for value in present.tolist()]
    return _Labelled(found.part(rows), torch.from_numpy(numbers.astype(np.int64)), names)


def _classifier(
    own: tuple[Logits, list[str]] | None,
    known: _Labelled | None,
    by: str,
    risk: float | None,
    held_out: float,
    seed: int,
) -> tuple[list[str], HeldOut, str]:
    """Names of the classes, the classifier with held-out logits, and what it is in words."""
    if own is not None:
        logits, names = own
        if known is None:
            empty = Held(torch.zeros(0, len(names)), torch.zeros(0, dtype=torch.int64))
            return names, HeldOut(logits, empty, empty, ""), "the classifier of the run"
        place = torch.tensor([names.index(name) if name in names else -1 for name in known.names])
        content = known.found.images.digests.astype(np.int64)
        labels_N = place[known.labels_N]
        judged = given(logits, known.features_NF, labels_N, content, apart=risk is not None, seed=seed)
        return names, judged, "the classifier of the run"
    assert known is not None
    count = len(known.names)
    if count < 2:
        raise InputError(f"all labelled images are of the class {known.names[0]!r}: a classifier needs two or more")

    def fit(features_NF: Tensor, labels_N: Tensor) -> Logits:
        return linear(features_NF, labels_N, seed=seed) if by == "linear" else votes(features_NF, labels_N, count)

    content = known.found.images.digests.astype(np.int64)
    table = (known.features_NF, known.labels_N, content, count)
    judged = folded(fit, *table, seed) if risk is None else split(fit, *table, share=held_out, seed=seed)
    words = "a linear layer" if by == "linear" else "votes of the nearest"
    return known.names, judged, f"{words}, from {len(known.labels_N)} labels of {count} classes"


def _first(broken: Sequence[Broken]) -> str:
    """The first broken image, with its reason, and how many more there are."""
    more = f", and {len(broken) - 1:,} more" if len(broken) > 1 else ""
    return f"{broken[0].name} ({broken[0].reason}){more}"


def _notes(labelled: Any, threshold: Threshold | None, t: float | None, is_own: bool) -> list[str]:
    """What a reader should know."""
    notes = []
    if t is None:
        why = "no labelled images were named" if labelled is None else "there are too few labels to hold any out"
        notes.append(f"confidences are not calibrated, since {why}")
    if is_own and threshold is not None:
        notes.append("the promise fails where the run was fine-tuned on the images of --labelled")
    if threshold is not None and isinstance(labelled, str | Path) and Path(labelled).suffix.lower() in SEPARATED:
        reasons = read_list(Path(labelled)).get("reason", ())
        if any(reason != "drawn at random" for reason in reasons):
            notes.append(
                "the labelled images were picked and not drawn at random, so the promise does not hold as it stands: "
                "hold out labels of a random draw (likewise select --by random)"
            )
    return notes


def _write(
    out: Path,
    found: Embedded,
    known: _Labelled | None,
    classes: Sequence[str],
    likeliest: Sequence[str],
    confidence_Q: Tensor,
) -> None:
    """The table: path, class, confidence, likeliest class, and the nearest labelled images with their class."""
    columns = ["path", "class", "confidence", "likeliest"]
    nearest: list[list[str]] = [[] for _ in classes]
    if known is not None:
        k = min(_NEAREST, len(known.labels_N))
        columns += [f"nearest_{place}{part}" for place in range(1, k + 1) for part in ("", "_class")]
        rows_Qk = neighbours(found.features_NF, known.features_NF, k).rows
        places = [_place(known.found, row, out) for row in range(len(known.labels_N))]
        names = [known.names[number] for number in known.labels_N.tolist()]
        nearest = [[word for row in line for word in (places[row], names[row])] for line in rows_Qk.tolist()]
    lines = [
        [_place(found, row, out), classes[row], f"{value:.4f}", likeliest[row], *nearest[row]]
        for row, value in enumerate(confidence_Q.tolist())
    ]
    write_table(out, columns, lines)


def _place(found: Embedded, row: int, out: Path) -> str:
    """Where an image lies, relative to the table where that can be; its name where it is no file."""
    path = found.path(row)
    return found.place(row) if path is None else beside(Path(path), out.parent)
