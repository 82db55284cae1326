"""`likewise.evaluate`: one call from a run and labelled pictures to scores with their protocols."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images, cached_side, held_out_split, open_source, prepare, split_names, training_split
from likewise.encoders import Encoder, build
from likewise.errors import InputError, unknown
from likewise.evaluation import knn
from likewise.evaluation.features import cached_features
from likewise.evaluation.linear import fit_linear
from likewise.evaluation.scores import Evaluation, Score, Which
from likewise.loading import load
from likewise.training.progress import decoding
from likewise.training.run import RunDirectory

Probe = Literal["knn", "linear"]
PROBES: tuple[Probe, ...] = ("knn", "linear")
HELD_OUT = 0.2
"""Share of each class that is held out where the data has no test split."""
MAJORITY_K = (1, 20)
WEIGHTED_K, WEIGHTED_TEMPERATURE = 200, 0.1


class Halves(NamedTuple):
    """Pictures to learn from and pictures to be judged on, and how they were parted."""

    train: Images
    test: Images
    named: str


def evaluate(
    run: str | Path | RunDirectory | Encoder,
    data: Any = None,
    *,
    probe: tuple[Probe, ...] = PROBES,
    which: Literal["student", "teacher"] | None = None,
    labels: str | None = None,
    untrained: bool = False,
    device: str = "cpu",
    quiet: bool = False,
) -> Evaluation:
    """Score an encoder on labelled pictures.

    `run` is what `train` returned, a run directory, a .safetensors file, or an `Encoder`. `data` is anything that
    `train` takes, by default the run's own. With a split column the probes learn on `train` and are scored on `test`
    (else on the validation split); without one a fifth of each class is held out, which the scores say. `which` is
    `student` by default. `untrained` adds the same encoder before training, from the same seed.

    The scores are also written into the run, and its report made anew. Raises InputError where there are no labels,
    or what is named does not exist.
    """
    for name in probe:
        if name not in PROBES:
            raise unknown("probe", name, PROBES)
    encoder = run if isinstance(run, Encoder) else load(run, which=which)
    directory = None if isinstance(run, Encoder) else _directory(run)
    halves = _halves(data if data is not None else _own_data(directory), labels, encoder.spec.image_size, quiet=quiet)
    roles: list[tuple[Which, Encoder]] = [(which or "student", encoder)]
    if untrained:
        seed = directory.read()["seed"] if directory is not None else 0
        roles.append(("untrained", build(encoder.spec, seed=seed)))
    scores = [score for role, each in roles for score in _scores(each, role, halves, probe, device, quiet=quiet)]
    result = Evaluation(
        run=str(directory.path) if directory is not None else encoder.spec.name,
        data=halves.train.name,
        scores=scores,
        notes=_notes(halves),
    )
    if directory is not None:
        _remember(directory, result)
    return result


def _directory(run: str | Path | RunDirectory) -> RunDirectory | None:
    if isinstance(run, RunDirectory):
        return run
    return RunDirectory(Path(run)) if (Path(run) / "run.json").is_file() else None


def _own_data(directory: RunDirectory | None) -> Any:
    path = None if directory is None else directory.read()["data"].get("path")
    if path is None:
        raise InputError("the run does not say which pictures to score on: name them")
    return path


def _halves(data: Any, labels: str | None, image_size: int, *, quiet: bool) -> Halves:
    """Training and test pictures. Raises InputError where labels are missing."""
    names = split_names(data)
    train_name, test_name = training_split(names), held_out_split(names)

    def opened(split: str | None) -> Images:
        source = open_source(data, split=split, labels=labels)
        if source.labels is None:
            raise InputError(f"{source.name} has no labels to score by: pass --labels folders, or a label column")
        with decoding(source.name, enabled=not quiet) as progress:
            return prepare(source, short_side=cached_side(image_size), progress=progress)

    if train_name is not None and test_name is not None:
        return Halves(opened(train_name), opened(test_name), f"{train_name} -> {test_name}")
    images = opened(None)
    test = held_out(images)
    rest = np.setdiff1d(np.arange(len(images)), test)
    return Halves(images.subset(rest), images.subset(test), f"80 % -> 20 % of each class of {images.name}, seed 0")


def held_out(images: Images) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions of a seeded fifth of each class. Raises InputError where no class has two pictures."""
    assert images.labels is not None
    draw = np.random.default_rng(0)
    chosen: list[int] = []
    for label in np.unique(images.labels[images.labels >= 0]):
        members = draw.permutation(np.flatnonzero(images.labels == label))
        chosen += members[: round(HELD_OUT * len(members))].tolist()
    if not chosen:
        raise InputError(f"{images.name} has too few pictures with labels to hold out a fifth of each class")
    return np.sort(np.array(chosen, dtype=np.int64))


def _scores(
    encoder: Encoder, role: Which, halves: Halves, probes: tuple[Probe, ...], device: str, *, quiet: bool
) -> list[Score]:
    bank_NF, bank_labels = _labelled(encoder, halves.train, device, f"{role} features", quiet=quiet)
    query_QF, labels_Q = _labelled(encoder, halves.test, device, f"{role} features", quiet=quiet)
    found: list[Score] = []

    def add(name: Probe, k: int | None, predicted_Q: Tensor, protocol: str) -> None:
        value = knn.accuracy(predicted_Q, labels_Q)
        found.append(
            Score(name=name, k=k, value=value, protocol=protocol, split=halves.named, n=len(labels_Q), which=role)
        )

    if "knn" in probes:
        near = knn.neighbours(query_QF, bank_NF, min(WEIGHTED_K, len(bank_NF)))
        for k in MAJORITY_K:
            used = min(k, len(bank_NF))
            add(
                "knn",
                used,
                knn.majority(near, bank_labels, used),
                "majority vote, cosine, ties by the nearest (ISD); float32 features",
            )
        used = min(WEIGHTED_K, len(bank_NF))
        add(
            "knn",
            used,
            knn.weighted(near, bank_labels, used, WEIGHTED_TEMPERATURE),
            f"votes weighted by exp(cosine / {WEIGHTED_TEMPERATURE}) (InstDisc, MoCo); float32 features",
        )
    if "linear" in probes:
        layer = fit_linear(bank_NF, bank_labels)
        add(
            "linear",
            None,
            layer.predict(query_QF),
            "unit norm, fixed standardisation, one linear layer (ISD); L-BFGS, L2 penalty "
            f"{layer.penalty:g} chosen on a tenth of train, no augmentation",
        )
    return found


def _labelled(encoder: Encoder, images: Images, device: str, what: str, *, quiet: bool) -> tuple[Tensor, Tensor]:
    """Features and labels of the pictures whose label is known."""
    with decoding(f"{what} of {images.name}", enabled=not quiet, verb="extract") as progress:
        features_NF = cached_features(encoder, images, device=device, progress=progress)
    labels_N = torch.from_numpy(np.asarray(images.labels))
    known = labels_N >= 0
    return (features_NF, labels_N) if bool(known.all()) else (features_NF[known], labels_N[known])


def _notes(halves: Halves) -> tuple[str, ...]:
    assert halves.train.labels is not None
    assert halves.test.labels is not None
    unseen = np.setdiff1d(halves.test.labels[halves.test.labels >= 0], halves.train.labels)
    if not len(unseen):
        return ()
    pictures = int(np.isin(halves.test.labels, unseen).sum())
    return (f"{pictures} test pictures are of {len(unseen)} classes without training pictures and count as wrong",)


def _remember(directory: RunDirectory, result: Evaluation) -> None:
    """Write the scores into the run, in the place of older ones of the same kind, and make its report anew."""
    from likewise.report import write_report

    def kind(score: dict[str, Any]) -> tuple[Any, ...]:
        return score["name"], score["k"], score["protocol"].split(";")[0], score["split"], score["which"], score["data"]

    fresh = [{**dataclasses.asdict(score), "data": result.data} for score in result.scores]
    kept = [score for score in directory.read().get("scores", []) if kind(score) not in {kind(new) for new in fresh}]
    directory.write(scores=[*kept, *fresh])
    write_report(directory.path)
