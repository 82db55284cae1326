"""`likewise.evaluate`: from an encoder and labelled pictures to scores that say how they were got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images
from likewise.data.source import spread
from likewise.encoders import Encoder
from likewise.errors import InputError, unknown
from likewise.evaluation.features import Precision, cached_features, view_fraction
from likewise.evaluation.probes import PROBES, Features, on
from likewise.evaluation.rows import Rows, open_rows
from likewise.evaluation.scores import Evaluation, Score, merged
from likewise.evaluation.subject import Run, Subject, Which, open_subject
from likewise.report import PICTURED, write_report
from likewise.training.progress import decoding


def evaluate(
    run: Run,
    data: Any = None,
    *,
    probe: Sequence[str] = ("knn", "linear"),
    which: Which | None = None,
    labels: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    untrained: bool = False,
    device: torch.device | str | None = None,
    precision: Precision = "float32",
    seed: int = 0,
    cache_dir: Path | None = None,
    quiet: bool = False,
    per_class: bool | None = None,
) -> Evaluation:
    """Score the encoder of `run` (a run directory, a .safetensors file, or an Encoder) on labelled pictures.

    `data` is anything that `likewise.data.open_source` takes, by default what the run was trained on. Scores go from
    its training split to its test split, or from four fifths to a stratified fifth that is held out with `seed`.
    `which` weights: the student's unless `teacher`. `untrained` scores the encoder as it was before training as well,
    as the baseline. `labels` is passed on to `open_source`: a column, or `folders`. Features are computed once and
    kept (`cached_features`); an encoder in memory is moved to `device`. `per_class` adds figures by class and by groups
    of classes to accuracies, by default where the largest class has twice the pictures of the smallest or more. Scores
    are added to the run's run.json, and its report is written again.

    Raises InputError for a run, role, probe, split or labels that do not exist, and for features that are not finite.
    """
    probes = _checked([probe] if isinstance(probe, str) else probe)
    subject = open_subject(run, which)
    data = subject.default_data() if data is None else data
    where = torch.device(device) if device is not None else _best_device()
    rows = open_rows(
        data,
        image_size=subject.encoder.spec.image_size,
        labels=labels,
        train_split=train_split,
        test_split=test_split,
        seed=seed,
        cache_dir=cache_dir,
        quiet=quiet,
    )
    encoders = {subject.which: subject.encoder} | ({"untrained": subject.untrained()} if untrained else {})
    scores: list[Score] = []
    shown: Tensor | None = None
    for role, encoder in encoders.items():
        features = _features(encoder, role, rows, where, precision, seed=seed, cache_dir=cache_dir, quiet=quiet)
        shown = features.query_QF if shown is None else shown
        features = replace(features, per_class=per_class, class_names=rows.bank.class_names)
        on_device = on(where if where.type == "cuda" else torch.device("cpu"), features)
        scores += [score for name in probes for score in PROBES[name](on_device)]
    result = Evaluation(scores, subject.path, _name_of(data, rows), list(rows.notes))
    if subject.run is not None and shown is not None:
        _record(subject, result, rows, shown)
    return result


def _checked(probes: Sequence[str]) -> tuple[str, ...]:
    """The probes, each once. Raises InputError for none, and for one that does not exist."""
    if not probes:
        raise InputError(f"no probe was asked for: allowed are {', '.join(sorted(PROBES))}")
    for name in probes:
        if name not in PROBES:
            raise unknown("probe", name, PROBES)
    return tuple(dict.fromkeys(probes))


def _features(
    encoder: Encoder,
    role: str,
    rows: Rows,
    device: torch.device,
    precision: Precision,
    *,
    seed: int,
    cache_dir: Path | None,
    quiet: bool,
) -> Features:
    """Features of both parts, and how they were made."""

    def of(images: Images, part: str) -> Tensor:
        with decoding(f"{images.name}, {part} ({role})", enabled=not quiet, verb="embed") as progress:
            return cached_features(
                encoder, images, cache_dir=cache_dir, device=device, precision=precision, progress=progress
            )

    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = encoder.spec.image_size
    view = f"{view_fraction(size):.3g} of the short side" if view_fraction(size) < 1 else "whole short side"
    return Features(
        bank_NF=of(rows.bank, "bank"),
        bank_labels_N=torch.from_numpy(rows.bank_labels),
        query_QF=of(rows.query, rows.split),
        query_labels_Q=torch.from_numpy(rows.query_labels),
        split=rows.split,
        which=role,
        protocol=f"pooled features, eval mode, {precision}, centre crop ({view}) at {size} px; {rows.protocol}",
        seed=seed,
    )


def _record(subject: Subject, result: Evaluation, rows: Rows, features_QF: Tensor) -> None:
    """Add the scores to the run, and write its report again with pictures that were scored."""
    run = subject.run
    assert run is not None
    stored = run.read()
    counts = {
        "data": result.data,
        "names": rows.bank.class_names,
        "bank": np.bincount(rows.bank_labels).tolist(),
        "queries": np.bincount(rows.query_labels).tolist(),
    }
    run.write(scores=merged(stored.get("scores", []), result), classes=counts, notes=result.notes)
    index = spread(len(rows.query), PICTURED)
    write_report(run.path, images=rows.query.subset(index), features=features_QF[index], which=subject.which)


def _name_of(data: Any, rows: Rows) -> str:
    """The data as a person would name it again."""
    return str(data) if isinstance(data, str | Path) else rows.bank.name


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
