"""`likewise.evaluate`: scores of an encoder on labelled images, each with its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from likewise.checking import check_kinds
from likewise.data import Images
from likewise.data.videos.watching import Watch
from likewise.encoders import Encoder
from likewise.encoders.embedding import view_fraction
from likewise.encoders.encoder import in_channels_last
from likewise.errors import InputError, unknown
from likewise.evaluation.bank_and_query import Rows, open_rows
from likewise.evaluation.encoder_source import Run, Subject, Which, open_subject
from likewise.evaluation.features import Precision, cached_features
from likewise.evaluation.gain import Change, changes
from likewise.evaluation.predictions import Answers
from likewise.evaluation.probes.by_name import find_probe, probe_names
from likewise.evaluation.probes.correspondence import correspondence_scores
from likewise.evaluation.probes.finetune import finetune_scores
from likewise.evaluation.probes.own import own_scores
from likewise.evaluation.probes.protocol import Features, ProbeSettings, on
from likewise.evaluation.probes.segmentation import segmentation_scores
from likewise.evaluation.probes.texts import caption_column_of, caption_scores, zeroshot_scores
from likewise.evaluation.scores import Evaluation, Score, kind
from likewise.evaluation.scoring import Classes, Scoring
from likewise.files import same_place, spelled
from likewise.localisation.probes import background_scores, localisation_scores
from likewise.training.watching.progress import decoding
from likewise.verbs.judging.recording import record

WITH_ENCODER = (
    "backgrounds", "captions", "correspondence", "finetune", "finetune-labels", "localisation", "own", "segmentation",
    "zeroshot",
)  # fmt: skip
"""Probes that need the encoder itself or its run, not only its features."""
OF_THE_RUN = {"captions", "localisation", "own", "zeroshot"}
WITHOUT_LABELS = {"captions", "correspondence", "localisation", "segmentation"}
WITH_MASKS = ("backgrounds", "localisation", "segmentation")
CLASS_MEAN = ("pet", "caltech", "flower", "aircraft")
"""Data sets whose accuracy is the mean over classes (Kornblith et al., CVPR 2019), by what their names begin with."""


@dataclass(frozen=True, kw_only=True)
class How(Scoring):
    """Settings of `evaluate`: everything but the encoder and the data."""

    settings: ProbeSettings = field(default_factory=ProbeSettings)
    """What may be set of the probes."""
    per_class: bool | None = None
    """Figures by class and by groups of classes; None: where the largest class is twice the smallest or more."""
    class_mean: bool | None = None
    """Accuracies as means over classes; None: for data sets where the field does so."""
    device: torch.device | str | None = None
    """Where features are made; by default the best there is."""
    precision: Precision = "float32"
    """Number format of the encoder's products."""
    cache_dir: Path | None = None
    """Where features and images are kept."""
    report: bool = True
    """Write the run's report again."""

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes, each once."""
        return tuple(dict.fromkeys([self.probe] if isinstance(self.probe, str) else self.probe))

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device) if self.device is not None else _best_device()

    def __post_init__(self) -> None:
        known = [*probe_names(), *WITH_ENCODER]
        if not self.probes:
            raise InputError(f"no probe was asked for: allowed are {', '.join(sorted(known))}")
        for name in self.probes:
            if name not in known:
                raise unknown("probe", name, known)
        if self.clips is not None and self.clips < 0:
            raise InputError(f"clips={self.clips} must be 0 or more: 0 evaluates single images")
        for name in WITH_MASKS:
            if name in self.probes and self.masks is None:
                raise InputError(f"the probe {name} needs masks: name their folder")


def evaluate(
    run: Run,
    data: Any = None,
    *,
    which: Which | None = None,
    untrained: bool = False,
    compare: Literal["random"] | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    **how: Any,
) -> Evaluation:
    """Score the encoder of `run` on labelled images.

    `run` is a run directory, a .safetensors or .onnx file, the name of a timm model with `pretrained`, or an Encoder.
    `data` is anything that `likewise.data.open_source` takes, by default what the run was trained on. Scores go from
    its training split to its test split, or from four fifths to a stratified fifth that is held out with `seed`.
    `which` weights: by default those that the run's method deploys. `untrained` scores the encoder as it was before
    training as well, as the baseline; `compare="random"` with random weights. `how` are, by name, the fields of `How`:
    `probe`, `labels`, `subset`, `settings`, ... Features are computed once and kept (`cached_features`); an encoder in
    memory is moved to the device. Where the run was trained on a draw, groups of classes are those of the draw. Scores
    are added to the run's run.json, and its report is written again unless `report` is off.

    Raises InputError for a run, role, probe, split or labels that do not exist, and for features that are not finite.
    """
    names = {one.name for one in fields(How)}
    for name in how:
        if name not in names:
            raise unknown("setting of an evaluation", name, names)
    check_kinds(How, how)
    asked = How(**how)
    if compare not in {None, "random"}:
        raise unknown("encoder to compare with", str(compare), ["random"])
    subject = open_subject(run, which, pretrained=pretrained, image_size=image_size)
    if asked.labels is None:
        asked = replace(asked, labels=subject.labels_for(data))
    encoders = {subject.which: subject.encoder}
    if untrained:
        encoders["untrained"] = subject.untrained()
    if compare == "random":
        encoders["random"] = subject.random()
    return _evaluated(subject, subject.default_data() if data is None else data, encoders, asked)


def _evaluated(subject: Subject, data: Any, encoders: dict[str, Encoder], how: How) -> Evaluation:
    drawn, watch = subject.drawn(), subject.watch(how.clips)
    _check_clips(how, watch)
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
        watch=watch,
        needs_labels=not set(how.probes) <= WITHOUT_LABELS,
        columns=(caption_column_of(subject.run),) if "captions" in how.probes else (),
        ranges=subject.ranges(),
        seed=how.seed,
        cache_dir=how.cache_dir,
        quiet=how.quiet,
    )
    drawn = None if drawn is None else _renumbered(drawn, rows.bank.class_names, _name_of(data, rows))
    if how.classes != "all" and drawn is None:
        raise InputError(
            f"classes={how.classes} is for the data that the run was trained on, and this has other classes"
        )
    scores: list[Score] = []
    shown: Features | None = None
    for role, encoder in encoders.items():
        features = _features(encoder, role, rows, how)
        features = replace(features, per_class=how.per_class, class_mean=_class_mean(how, data, rows))
        if drawn is not None:
            features = replace(features, trained_C=np.asarray(drawn["counts"], np.int64), groups=drawn["groups"])
        shown = shown or features
        on_device = on(how.place if how.place.type == "cuda" else torch.device("cpu"), features)
        for name in how.probes:
            scores += _scores(name, subject, encoder, rows, on_device, how)
    name = _name_of(data, rows)
    taken = [] if subject.taken is None else [f"scored is the {subject.taken}"]
    result = Evaluation(scores, subject.path, name, [*taken, *rows.notes], _changes(scores, name, rows))
    if subject.run is not None and shown is not None:
        record(subject, result, rows, shown, report=how.report)
    return result


def _check_clips(how: How, watch: Watch | None) -> None:
    """Refuse clips for probes that look at single images. Raises InputError."""
    alone = [name for name in how.probes if name in WITH_ENCODER]
    if watch is not None and alone:
        raise InputError(f"the probe {alone[0]} looks at single images, not at clips: pass clips 0 for it")


def _changes(scores: Sequence[Score], data: str, rows: Rows) -> list[Change]:
    """Of the scores over those of the untrained encoder, by the answers that they hold."""
    entries = [{**score.to_json(), "data": data} for score in scores]
    held = {
        kind(entry): Answers(score.predicted, rows.query_labels, rows.query.fingerprint)
        for entry, score in zip(entries, scores, strict=True)
        if score.predicted is not None and len(score.predicted) == len(rows.query)
    }
    return changes(entries, lambda entry: held.get(kind(dict(entry))))


def _scores(name: str, subject: Subject, encoder: Encoder, rows: Rows, features: Features, how: How) -> list[Score]:
    """The scores of one probe."""
    if name == "segmentation":
        assert how.masks is not None
        return segmentation_scores(encoder, rows.bank, rows.query, features, Path(how.masks))
    if name == "backgrounds":
        return background_scores(encoder, rows.query, features, str(how.masks))
    if name == "correspondence":
        return correspondence_scores(encoder, rows.query, features)
    if name in OF_THE_RUN:
        return _scores_of_run(name, subject, rows, features, how) if encoder is subject.encoder else []
    if name in WITH_ENCODER:
        few = name == "finetune-labels"
        return finetune_scores(encoder, rows.bank, rows.query, features, how.settings, few=few, quiet=how.quiet)
    return find_probe(name)(features, how.settings)


def _scores_of_run(name: str, subject: Subject, rows: Rows, features: Features, how: How) -> list[Score]:
    """Those of a probe that the run's method answers."""
    if name == "zeroshot":
        return zeroshot_scores(subject.run, features, how.settings)
    if name == "localisation":
        return localisation_scores(subject.path, subject.encoder, rows.query, features, str(how.masks))
    if name == "captions":
        return caption_scores(subject.run, rows.query, caption_column_of(subject.run), features, how.settings)
    return own_scores(subject.run, rows.query, features)


def _classes(wanted: Classes, drawn: dict[str, Any] | None) -> list[int] | list[str] | None:
    """The classes that are evaluated, by their names where they have some; None for all."""
    if wanted == "all":
        return None
    if drawn is None:
        raise InputError(f"classes={wanted} is for runs that were trained on a draw (subset), and this one was not")
    inside = {int(value) for value in drawn["classes"]}
    numbers = sorted(inside if wanted == "trained" else set(range(len(drawn["counts"]))) - inside)
    names = drawn["class_names"]
    return [names[number] for number in numbers] if names else numbers


def _renumbered(drawn: dict[str, Any], names: Sequence[str] | None, path: str) -> dict[str, Any] | None:
    """The draw with the numbers that the classes have in this data; None where these are other classes.

    Classes are the same where their names are, and without names where the data is the same.
    """
    before = drawn["class_names"]
    if not before or not names:
        return drawn if same_place(path, str(drawn["path"])) else None
    if not set(before) <= set(names):
        return None
    number = [list(names).index(name) for name in before]
    counts = np.zeros(len(names), np.int64)
    counts[number[: len(drawn["counts"])]] = drawn["counts"]
    groups = drawn["groups"] and {name: [number[one] for one in each] for name, each in drawn["groups"].items()}
    return {**drawn, "counts": counts, "groups": groups}


def _class_mean(how: How, data: Any, rows: Rows) -> bool:
    """Whether accuracies are means over classes."""
    if how.class_mean is not None:
        return how.class_mean
    name = Path(data).stem if isinstance(data, str | Path) else rows.bank.name
    return name.lower().removeprefix("torchvision:").removeprefix("oxford").strip("-_ ").startswith(CLASS_MEAN)


def _features(encoder: Encoder, role: str, rows: Rows, how: How) -> Features:
    """Features of both parts, and how they were made."""

    def of(images: Images, part: str) -> Tensor:
        with decoding(f"{images.name}, {part} ({role})", enabled=not how.quiet, verb="embed") as progress:
            return cached_features(
                encoder,
                images,
                cache_dir=how.cache_dir,
                device=how.place,
                precision=how.precision,
                progress=progress,
            )

    in_channels_last(encoder)
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
    return spelled(data) if isinstance(data, str | Path) else rows.bank.name


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
