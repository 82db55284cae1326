"""`likewise.evaluate`: from an encoder and labelled pictures to scores that say how they were got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.errors import InputError, unknown
from likewise.evaluation.features import Precision, cached_features, view_fraction
from likewise.evaluation.finetune import finetune_scores
from likewise.evaluation.given import Features, ProbeSettings, on
from likewise.evaluation.probes import PROBES
from likewise.evaluation.recording import record
from likewise.evaluation.rows import Rows, open_rows
from likewise.evaluation.scores import Evaluation, Score
from likewise.evaluation.segmentation import segmentation_scores
from likewise.evaluation.subject import Run, Subject, Which, open_subject
from likewise.training.progress import decoding

WITH_ENCODER = ("finetune", "finetune-labels", "segmentation")
"""Probes that need the encoder itself, not only its features."""
Classes = Literal["all", "trained", "others"]
CLASS_MEAN = ("pet", "caltech", "flower", "aircraft")
"""Data sets whose accuracy is the mean over classes (Kornblith et al., CVPR 2019), by what their names begin with."""


@dataclass(frozen=True, kw_only=True)
class _How:
    """Everything about an evaluation but its subject and its data."""

    probes: tuple[str, ...]
    settings: ProbeSettings
    labels: str | None
    train_split: str | None
    test_split: str | None
    subset: str | None
    subset_seed: int
    classes: Classes
    cameras: str | None
    masks: Path | None
    per_class: bool | None
    class_mean: bool | None
    device: torch.device
    precision: Precision
    seed: int
    cache_dir: Path | None
    quiet: bool


def evaluate(
    run: Run,
    data: Any = None,
    *,
    probe: Sequence[str] = ("knn", "linear"),
    which: Which | None = None,
    labels: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    subset: str | None = None,
    subset_seed: int = 0,
    classes: Classes = "all",
    cameras: str | None = None,
    masks: str | Path | None = None,
    untrained: bool = False,
    compare: Literal["random"] | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    per_class: bool | None = None,
    class_mean: bool | None = None,
    settings: ProbeSettings | None = None,
    device: torch.device | str | None = None,
    precision: Precision = "float32",
    seed: int = 0,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Score the encoder of `run` on labelled pictures.

    `run` is a run directory, a .safetensors or .onnx file, the name of a timm model with `pretrained`, or an Encoder.
    `data` is anything that `likewise.data.open_source` takes, by default what the run was trained on. Scores go from
    its training split to its test split, or from four fifths to a stratified fifth that is held out with `seed`.
    `which` weights: the student's unless `teacher`. `untrained` scores the encoder as it was before training as well,
    as the baseline; `compare="random"` with random weights. `labels` is passed on to `open_source`: a column, or
    `folders`. Features are computed once and kept (`cached_features`); an encoder in memory is moved to `device`.
    `per_class` adds figures by class and by groups of classes to accuracies, by default where the largest class has
    twice the pictures of the smallest or more. `class_mean` makes accuracies means over classes, by default for data
    sets where the field does so. Scores are added to the run's run.json, and its report is written again.

    `subset` draws from the bank (`likewise.data.subsets`). Where the run itself was trained on a draw, groups of
    classes are those of its draw, and `classes` may be those it was `trained` on or the `others`. `cameras` is a
    column for retrieval, `masks` a folder for segmentation, `settings` what may be set of the probes.

    Raises InputError for a run, role, probe, split or labels that do not exist, and for features that are not finite.
    """
    how = _How(
        probes=_checked([probe] if isinstance(probe, str) else probe, masks),
        settings=settings or ProbeSettings(),
        labels=labels,
        train_split=train_split,
        test_split=test_split,
        subset=subset,
        subset_seed=subset_seed,
        classes=classes,
        cameras=cameras,
        masks=None if masks is None else Path(masks),
        per_class=per_class,
        class_mean=class_mean,
        device=torch.device(device) if device is not None else _best_device(),
        precision=precision,
        seed=seed,
        cache_dir=cache_dir,
        quiet=quiet,
    )
    if compare not in {None, "random"}:
        raise unknown("encoder to compare with", str(compare), ["random"])
    subject = open_subject(run, which, pretrained=pretrained, image_size=image_size)
    encoders = {subject.which: subject.encoder}
    if untrained:
        encoders["untrained"] = subject.untrained()
    if compare == "random":
        encoders["random"] = subject.random()
    return _evaluated(subject, subject.default_data() if data is None else data, encoders, how)


def _evaluated(subject: Subject, data: Any, encoders: dict[str, Encoder], how: _How) -> Evaluation:
    drawn = subject.drawn()
    rows = open_rows(
        data,
        image_size=subject.encoder.spec.image_size,
        labels=how.labels,
        train_split=how.train_split,
        test_split=how.test_split,
        subset=how.subset,
        subset_seed=how.subset_seed,
        classes=_classes(how.classes, drawn),
        cameras=how.cameras,
        needs_labels=set(how.probes) != {"segmentation"},
        seed=how.seed,
        cache_dir=how.cache_dir,
        quiet=how.quiet,
    )
    is_same_data = drawn is not None and list(rows.bank.class_names or ()) == list(drawn.get("class_names") or ())
    scores: list[Score] = []
    shown: Features | None = None
    for role, encoder in encoders.items():
        features = _features(encoder, role, rows, how)
        features = replace(features, per_class=how.per_class, class_mean=_class_mean(how, data, rows))
        if drawn is not None and is_same_data:
            features = replace(features, trained_C=np.asarray(drawn["counts"], np.int64), groups=drawn["groups"])
        shown = shown or features
        on_device = on(how.device if how.device.type == "cuda" else torch.device("cpu"), features)
        for name in how.probes:
            scores += _scores(name, encoder, rows, on_device, how)
    result = Evaluation(scores, subject.path, _name_of(data, rows), list(rows.notes))
    if subject.run is not None and shown is not None:
        record(subject, result, rows, shown)
    return result


def _scores(name: str, encoder: Encoder, rows: Rows, features: Features, how: _How) -> list[Score]:
    """The scores of one probe."""
    if name == "segmentation":
        assert how.masks is not None
        return segmentation_scores(encoder, rows.bank, rows.query, features, how.masks)
    if name in WITH_ENCODER:
        few = name == "finetune-labels"
        return finetune_scores(encoder, rows.bank, rows.query, features, how.settings, few=few)
    return PROBES[name](features, how.settings)


def _checked(probes: Sequence[str], masks: str | Path | None) -> tuple[str, ...]:
    """The probes, each once. Raises InputError for none, for one that does not exist, and for missing masks."""
    known = [*PROBES, *WITH_ENCODER]
    if not probes:
        raise InputError(f"no probe was asked for: allowed are {', '.join(sorted(known))}")
    for name in probes:
        if name not in known:
            raise unknown("probe", name, known)
    if "segmentation" in probes and masks is None:
        raise InputError("the probe segmentation needs masks: name their folder")
    return tuple(dict.fromkeys(probes))


def _classes(wanted: Classes, drawn: dict[str, Any] | None) -> list[int] | None:
    """The classes that are evaluated; None for all."""
    if wanted == "all":
        return None
    if wanted not in {"trained", "others"}:
        raise unknown("classes", wanted, ["all", "trained", "others"])
    if drawn is None:
        raise InputError(f"classes={wanted} is for runs that were trained on a draw (subset), and this one was not")
    inside = {int(value) for value in drawn["classes"]}
    return sorted(inside if wanted == "trained" else set(range(len(drawn["counts"]))) - inside)


def _class_mean(how: _How, data: Any, rows: Rows) -> bool:
    """Whether accuracies are means over classes."""
    if how.class_mean is not None:
        return how.class_mean
    name = Path(data).stem if isinstance(data, str | Path) else rows.bank.name
    return name.lower().removeprefix("torchvision:").removeprefix("oxford").strip("-_ ").startswith(CLASS_MEAN)


def _features(encoder: Encoder, role: str, rows: Rows, how: _How) -> Features:
    """Features of both parts, and how they were made."""

    def of(images: Images, part: str) -> Tensor:
        with decoding(f"{images.name}, {part} ({role})", enabled=not how.quiet, verb="embed") as progress:
            return cached_features(
                encoder,
                images,
                cache_dir=how.cache_dir,
                device=how.device,
                precision=how.precision,
                progress=progress,
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
        protocol=f"pooled features, eval mode, {how.precision}, centre crop ({view}) at {size} px; {rows.protocol}",
        seed=how.seed,
        class_names=rows.bank.class_names,
        bank_cameras_N=None if rows.bank_cameras is None else torch.from_numpy(rows.bank_cameras),
        query_cameras_Q=None if rows.query_cameras is None else torch.from_numpy(rows.query_cameras),
    )


def _name_of(data: Any, rows: Rows) -> str:
    """The data as a person would name it again."""
    return str(data) if isinstance(data, str | Path) else rows.bank.name


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
