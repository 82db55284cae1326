"""`likewise.finetune`: an encoder and a classifier, trained on images with labels, as a run of their own."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from likewise.classifier import save_classifier
from likewise.data import Images
from likewise.data.source import spread
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.evaluation.bank_and_query import Rows, open_rows
from likewise.evaluation.encoder_source import Run, Subject, Which, open_subject
from likewise.evaluation.features import extract
from likewise.evaluation.probes.finetune import Tuned, protocol_of, tuning
from likewise.evaluation.probes.finetune import finetune as tune
from likewise.evaluation.probes.protocol import Features
from likewise.evaluation.scores import Evaluation
from likewise.files import check_folder
from likewise.report import SHOWN, write_report
from likewise.runs import ROOT, RunDirectory, command_line, default_name
from likewise.training.planning.machine import best_device
from likewise.verbs.judging.recording import record

LINES = 100
"""Of metrics that are written at most."""


def finetune(
    run: Run,
    data: Any = None,
    *,
    labels: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    subset: str | None = None,
    subset_seed: int = 0,
    epochs: int = 20,
    rate: float = 0.01,
    flip: bool | None = None,
    which: Which | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    cache_dir: Path | None = None,
    out: str | Path | None = None,
    command: str | None = None,
    quiet: bool = False,
) -> RunDirectory:
    """Train the encoder of `run` and a linear layer on labelled images, and return the run directory that holds both.

    `run` and `data` are as for `likewise.evaluate`; `likewise.load` gives the encoder of the result,
    `likewise.load_classifier` the encoder with its classifier, and `likewise.export` takes the run. It learns from the
    training split (or a draw of it, `subset`) and is scored on the test split, or on a stratified fifth that is held
    out with `seed`. `epochs` passes are made; `rate` is the encoder's peak learning rate at batch 128, and `flip`
    mirrors half of the images, by default where the run did. Nothing is written before training is done.

    Raises InputError for a run, split or labels that do not exist, for fewer than two classes, for an `out` that is
    taken, and where the loss is not a number any more.
    """
    _check(epochs, rate, out)
    subject = open_subject(run, which, pretrained=pretrained, image_size=image_size)
    labels = subject.labels_for(data) if labels is None else labels
    if flip is None:
        flip = bool(subject.run.read().get("flip", True)) if subject.run else True
    data = subject.default_data() if data is None else data
    size = subject.encoder.spec.image_size
    which_rows: dict[str, Any] = {"labels": labels, "train_split": train_split, "test_split": test_split}
    drawn: dict[str, Any] = {"subset": subset, "subset_seed": subset_seed, "seed": seed}
    rows = open_rows(data, image_size=size, cache_dir=cache_dir, quiet=quiet, **which_rows, **drawn)
    tuned, lines = _trained(subject, rows, epochs, rate, flip, seed, torch.device(device or best_device()), quiet)
    settings = {"epochs": epochs, "rate": rate, "flip": flip, "subset": subset, "subset_seed": subset_seed}
    path = str(data) if isinstance(data, str | Path) else None
    place = {"path": path, "split": train_split, "labels": labels}
    facts = {
        "settings": settings,
        "start": subject.path,
        "seed": seed,
        "data": {**place, **_described(rows.bank, tuned)},
    }
    written = RunDirectory.create(out, default_name(rows.bank.name, "finetune", tuned.encoder.spec.name))
    _write(written, tuned, lines, _names(rows.bank, tuned), command or command_line(), facts)
    _score(written, tuned, rows, rate=rate, flip=flip, seed=seed, data=path or rows.bank.name)
    return written


def _write(
    run: RunDirectory, tuned: Tuned, lines: list[dict[str, Any]], names: list[str], command: str, facts: dict[str, Any]
) -> None:
    """Encoder, classifier, metrics, and what is known of them."""
    device = next(tuned.layer.parameters()).device.type
    classifier = {"class_names": names}
    run.begin(
        command, method="finetune", classifier=classifier, encoder=asdict(tuned.encoder.spec), device=device, **facts
    )
    for line in lines:
        run.append_metrics(line)
    run.save_encoders({"student": tuned.encoder})
    save_classifier(run.path, tuned.layer, names)
    run.end("finished", minutes=lines[-1]["minutes"])


def _check(epochs: int, rate: float, out: str | Path | None) -> None:
    """Raise InputError for what cannot be, before anything takes long."""
    if epochs < 1 or not rate > 0:
        raise InputError(f"epochs={epochs} and rate={rate:g}: allowed are 1 or more, and above 0")
    if out is not None and Path(out).exists() and (Path(out).is_file() or any(Path(out).iterdir())):
        raise InputError(f"{out} exists and is not empty: choose another --out")
    check_folder(Path(out or ROOT))


def _trained(
    subject: Subject, rows: Rows, epochs: int, rate: float, flip: bool, seed: int, place: torch.device, quiet: bool
) -> tuple[Tuned, list[dict[str, Any]]]:
    """The fine-tuned encoder with its classifier, and lines of metrics."""
    lines: list[dict[str, Any]] = []
    began = time.monotonic()
    with tuning(enabled=not quiet, label="finetune") as show:

        def progress(step: int, steps: int, loss: float) -> None:
            show(step, steps, loss)
            if step % max(1, steps // LINES) == 0 or step == steps:
                lines.append({"step": step, "minutes": (time.monotonic() - began) / 60, "loss": loss})

        bank, labels = rows.bank, rows.bank_labels
        how: dict[str, Any] = {"epochs": epochs, "rate": rate, "flip": flip, "seed": seed}
        tuned = tune(subject.encoder.to(place), bank, labels, progress=progress, **how)
    return tuned, lines


def _described(images: Images, tuned: Tuned) -> dict[str, Any]:
    """What run.json says of the images that were learned from."""
    return {
        "name": images.name,
        "fingerprint": images.fingerprint,
        "images": len(images),
        "image_size": tuned.encoder.spec.image_size,
        "class_names": images.class_names,
        "classes": tuned.layer.out_features,
    }


def _names(images: Images, tuned: Tuned) -> list[str]:
    """A name for every class, its number where the data has none."""
    known = images.class_names or ()
    return [known[value] if value < len(known) else str(value) for value in range(tuned.layer.out_features)]


def _score(run: RunDirectory, tuned: Tuned, rows: Rows, *, rate: float, flip: bool, seed: int, data: str) -> None:
    """Score the classifier on the queries, and write the report with both parts."""
    encoder: Encoder = tuned.encoder
    bank_NF, query_QF = (extract(encoder, images) for images in (rows.bank, rows.query))
    index = spread(len(rows.bank), SHOWN)
    write_report(run.path, images=rows.bank.subset(index), features=bank_NF[torch.from_numpy(index)], which="encoder")
    features = Features(
        bank_NF=bank_NF,
        bank_labels_N=torch.from_numpy(rows.bank_labels),
        query_QF=query_QF,
        query_labels_Q=torch.from_numpy(rows.query_labels),
        split=rows.split,
        which="student",
        protocol=f"centre crop at {encoder.spec.image_size} px; {rows.protocol}",
        seed=seed,
        class_names=rows.bank.class_names,
    )
    words = protocol_of(tuned, "the bank", len(rows.bank), rate, seed, flip=flip)
    score = features.score("finetune", None, tuned.classify(query_QF), words)
    subject = Subject(encoder, "student", run, str(run.path), seed)
    record(subject, Evaluation([score], str(run.path), data, list(rows.notes)), rows, features, report=True)
