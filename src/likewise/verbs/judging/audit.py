"""`likewise.audit`: accuracy under distortions, and consistency with another encoder or with people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.auditing import sets
from likewise.auditing.categories import SIXTEEN, category_of, read_mapping
from likewise.auditing.deciding import Decision, Probe, by_layer, by_linear, by_neighbours
from likewise.auditing.experiments import MADE, experiment
from likewise.auditing.result import Audit, Example, mistaken
from likewise.auditing.sets import StimulusSet
from likewise.auditing.trials import Trials, read_human
from likewise.checking import check_kinds
from likewise.classifier import FILE, WEIGHTS, layer_of
from likewise.encoders import Encoder
from likewise.encoders.embedding import rows as embedded
from likewise.encoders.embedding import view_fraction
from likewise.encoders.files.published import at_hand
from likewise.errors import InputError, unknown
from likewise.evaluation.bank_and_query import Rows, open_rows
from likewise.evaluation.encoder_source import Run, Subject, Which, open_subject
from likewise.evaluation.features import cached_features
from likewise.training.planning.machine import best_device
from likewise.training.watching.progress import decoding
from likewise.views import centre

IMAGES = 1000
"""Images that are distorted, unless another number is asked for."""


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """Settings of `audit`: everything but the encoder and the data."""

    against: Any = ()
    """Other runs or encoders, that answer to the same stimuli."""
    probe: Probe = "linear"
    """How an encoder decides: a probe of undistorted training images, or the classifier's `own` layer."""
    experiments: Sequence[str] = ()
    """Distortions to make; by default all twelve that can be made, or none where `stimuli` are given."""
    images: int = IMAGES
    """Most images that are distorted, evenly of all classes."""
    every_level: bool = False
    """Show each image at every level, not at one: eight times as long, and narrower intervals."""
    stimuli: Sequence[str] = ()
    """Stimuli that others made: a folder with a sub-folder for each experiment, or EXPERIMENT=DATA."""
    human: str | Path | None = None
    """Trials of people: a folder with human_trials.csv.gz, or with the published files."""
    mapping: str | Path | None = None
    """JSON file, category -> list of classes, or `sixteen` for the 1000 classes of ImageNet."""
    untrained: bool = False
    """Audit the encoder before training beside it."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    train_split: str | None = None
    """Split whose labels the probe knows; by default the training split."""
    test_split: str | None = None
    """Split whose images are distorted; by default test, else validation, else a fifth of each class."""
    subset: str | None = None
    """Draw of the training images that the probe knows, such as `perclass:100`, as `likewise.data.splitting.subsets`
    reads it."""
    device: torch.device | str | None = None
    """Where features are made; by default the best there is."""
    seed: int = 0
    """What levels, noise and held-out images follow from."""
    cache_dir: Path | None = None
    """Where features and images are kept."""
    quiet: bool = False
    """Say nothing."""

    def __post_init__(self) -> None:
        for name in ("against", "experiments", "stimuli"):
            one = getattr(self, name)
            if isinstance(one, str | Path | Encoder):  # one is as good as a list of one
                object.__setattr__(self, name, (one,))
        for name in self.experiments:
            if experiment(name).make is None:
                raise InputError(f"no formula makes {name}: give its images with stimuli={name}=FOLDER")
        if self.images < 2:
            raise InputError(f"images={self.images}: at least 2 are needed, usual is {IMAGES}")
        if self.probe not in {"linear", "knn", "own"}:
            raise unknown("probe", self.probe, ("linear", "knn", "own"))


@dataclass
class _Observer:
    """An encoder and how it answers."""

    name: str
    encoder: Encoder
    decision: Decision
    device: torch.device
    plain_N: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def answers(self, shown: StimulusSet) -> NDArray[np.int64]:
        """To each stimulus, shown whole at the encoder's own size."""
        spec = self.encoder.spec
        view = centre(spec.image_size, mean=spec.mean, std=spec.std, fraction=1.0)
        positions = np.arange(len(shown))
        parts = [rows_BF.float() for _, rows_BF in embedded(self.encoder, shown, positions, view, device=self.device)]
        return self.decision.answer(torch.cat(parts).cpu())


def audit(
    run: Run,
    data: Any = None,
    *,
    which: Which | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    **how: Any,
) -> Audit:
    """Distort images, and see what the encoder of `run` takes them for.

    `run` is a run directory, a .safetensors or .onnx file, the name of a timm model with `pretrained`, or an Encoder;
    `data` labelled images, by default what the run was trained on. Test images are shown under each experiment of the
    model-vs-human benchmark (arXiv 2106.07411), each at one level, as people saw them. The encoder decides by a probe
    of undistorted training images, or by its own classifier. `how` are, by name, the fields of `AuditSettings`; the
    encoders `against` which it is held answer to the same stimuli.

    Raises InputError for a run, data, experiment, mapping or stimuli that do not exist or do not fit.
    """
    names = {one.name for one in fields(AuditSettings)}
    for name in how:
        if name not in names:
            raise unknown("setting of an audit", name, names)
    check_kinds(AuditSettings, how)
    asked = AuditSettings(**how)
    began = time.monotonic()
    subjects = _subjects(run, asked, which=which, pretrained=pretrained, image_size=image_size)
    people = () if asked.human is None else tuple(read_human(asked.human))
    first = next(iter(subjects.values()))
    side = max(subject.encoder.spec.image_size for subject in subjects.values())
    rows = _rows(first, data, asked, side)
    classes = _classes(rows, first)
    mapping = _mapping(asked, classes)
    observers = _observers(subjects, rows, mapping, asked)
    categories = tuple(mapping)
    given, notes = sets.read_sets(asked.stimuli, categories, side, cache_dir=asked.cache_dir)
    trials, plain, examples, made_of = _shown(observers, rows, mapping, given, asked, side)
    where = "stimuli of others" if rows is None else f"{rows.query.name}, {rows.split}"
    return Audit(
        observers=tuple(one.name for one in observers),
        categories=categories,
        trials=tuple(trials),
        plain=plain,
        data=where,
        protocol="; ".join(part for part in (observers[0].decision.words, made_of) if part),
        notes=(*(() if rows is None else rows.notes), *notes),
        people=people,
        examples=tuple(examples),
        seconds=time.monotonic() - began,
    )


def _subjects(run: Run, asked: AuditSettings, **opened: Any) -> dict[str, Subject]:
    """The audited encoder and those that it is held against, by a name each."""
    subject = open_subject(run, **opened)
    found = {_name(run): subject}
    if asked.untrained:
        found["untrained"] = Subject(subject.untrained(), "untrained", None, subject.path, subject.seed)
    for other in asked.against:
        # A timm name is taken with its published weights where the audited one is.
        named = bool(opened["pretrained"]) and not (isinstance(other, str | Path) and Path(other).exists())
        name = _name(other)
        while name in found:
            name += "'"
        found[name] = open_subject(other, None, pretrained=named and not isinstance(other, Encoder))
    return found


def _name(run: Any) -> str:
    path = getattr(run, "path", run)
    if isinstance(run, Encoder):
        return run.spec.name
    named = Path(path)
    return (named.stem if named.is_file() else named.name) or str(path)


def _rows(subject: Subject, data: Any, asked: AuditSettings, side: int) -> Rows | None:
    """Training and test images; None where a classifier's own layer answers to stimuli of others alone."""
    if data is None and asked.probe == "own" and asked.stimuli and not asked.experiments:
        return None
    labels = subject.labels_for(data) if asked.labels is None else asked.labels
    return open_rows(
        subject.default_data() if data is None else data,
        image_size=side,
        labels=labels,
        train_split=asked.train_split,
        test_split=asked.test_split,
        subset=asked.subset,
        subset_seed=asked.seed,
        ranges=subject.ranges(),
        seed=asked.seed,
        cache_dir=asked.cache_dir,
        quiet=asked.quiet,
    )


def _classes(rows: Rows | None, subject: Subject) -> tuple[str, ...]:
    """Names of the classes that are decided among before any mapping."""
    if rows is None:
        layer, names = _layer(subject)
        return tuple(names or map(str, range(layer.out_features)))
    if rows.bank.class_names:
        return tuple(rows.bank.class_names)
    return tuple(str(number) for number in range(int(rows.bank_labels.max()) + 1))


def _mapping(asked: AuditSettings, classes: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Category -> classes; each class by itself where nothing else is asked for."""
    if asked.mapping is None:
        return {name: (number,) for number, name in enumerate(classes)}
    if asked.mapping == "sixteen":
        if len(classes) != 1000:
            raise InputError(f"the mapping sixteen is for the 1000 classes of ImageNet, and there are {len(classes)}")
        return SIXTEEN
    return read_mapping(asked.mapping, classes, len(classes))


def _layer(subject: Subject) -> tuple[nn.Linear, list[str] | None]:
    """The classifier of a fine-tuned run, or of a published timm model. Raises InputError where there is none."""
    if subject.run is not None:
        found = layer_of(subject.run.path / WEIGHTS)
        if found is not None:
            return found
    elif subject.encoder.spec.pretrained and subject.which == "student" and subject.path == subject.encoder.spec.name:
        import timm

        name = subject.encoder.spec.name
        model: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=at_hand(name))
        layer = model.get_classifier()
        if isinstance(layer, nn.Linear) and layer.in_features == subject.encoder.features:
            return layer, None
    raise InputError(
        f"{subject.path or 'an encoder in memory'} has no classifier of its own ({FILE}): likewise finetune makes one, "
        "and the probes linear and knn need none"
    )


def _observers(
    subjects: Mapping[str, Subject], rows: Rows | None, mapping: Mapping[str, Sequence[int]], asked: AuditSettings
) -> list[_Observer]:
    device = torch.device(asked.device if asked.device is not None else best_device())
    mapped = asked.mapping is not None
    found = []
    for name, subject in subjects.items():
        encoder = subject.encoder
        encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if asked.probe == "own":
            decision = by_layer(_own_layer(subject, rows), mapping, mapped=mapped)
        else:
            assert rows is not None
            bank_NF, labels_N = _bank(encoder, name, rows, asked, device), torch.from_numpy(rows.bank_labels)
            if asked.probe == "knn":
                decision = by_neighbours(bank_NF, labels_N, mapping)
            else:
                decision = by_linear(bank_NF, labels_N, mapping, mapped=mapped, seed=asked.seed)
        found.append(_Observer(name, encoder, decision, device))
    return found


def _own_layer(subject: Subject, rows: Rows | None) -> nn.Linear:
    """The classifier's layer, its classes in the order of the data where both name them."""
    layer, names = _layer(subject)
    if rows is None or names is None or not rows.bank.class_names or list(rows.bank.class_names) == names:
        return layer
    missing = [name for name in rows.bank.class_names if name not in names]
    if missing:
        raise InputError(f"the classifier of {subject.path} does not know the class {missing[0]!r}: probe by linear")
    order = [names.index(name) for name in rows.bank.class_names]
    sorted_layer = nn.Linear(layer.in_features, len(order))
    with torch.no_grad():
        sorted_layer.weight.copy_(layer.weight[order])
        sorted_layer.bias.copy_(layer.bias[order])
    return sorted_layer


def _bank(encoder: Encoder, name: str, rows: Rows, asked: AuditSettings, device: torch.device) -> Tensor:
    with decoding(f"{rows.bank.name}, bank ({name})", enabled=not asked.quiet, verb="embed") as progress:
        return cached_features(encoder, rows.bank, cache_dir=asked.cache_dir, device=device, progress=progress)


def _shown(
    observers: Sequence[_Observer],
    rows: Rows | None,
    mapping: Mapping[str, Sequence[int]],
    given: Sequence[StimulusSet],
    asked: AuditSettings,
    side: int,
) -> tuple[list[Trials], dict[str, NDArray[np.bool_]], list[Example], str]:
    """All trials, whether undistorted images are answered right, examples of mistakes, and how stimuli were made."""
    names = tuple(dict.fromkeys(asked.experiments)) or (() if given else MADE)
    trials: list[Trials] = []
    for one in given:
        trials += [_trials(observer, one) for observer in observers]
    if rows is None or not names:
        return trials, {}, [], "stimuli as they were given"
    truth_N, positions = _chosen(rows, mapping, asked)
    fraction = view_fraction(side)
    pixels_NSS3 = sets.squares(rows.query, positions, side, fraction)
    setting = sets.setting_of(rows.bank, side, fraction, sets.constants_in(asked.human))
    whole = StimulusSet(
        "colour", pixels_NSS3, np.arange(len(truth_N)).astype(str), np.full(len(truth_N), "cr"), truth_N
    )
    for observer in observers:
        observer.plain_N = observer.answers(whole)
    plain = {observer.name: observer.plain_N == truth_N for observer in observers}
    examples: list[Example] = []
    with decoding("experiments", enabled=not asked.quiet, verb="show") as progress:
        for place, shown in enumerate(_made(names, pixels_NSS3, truth_N, setting, asked)):
            own = [_trials(observer, shown) for observer in observers]
            at = shown.image_N.astype(int)
            right_N = plain[observers[0].name][at]
            examples += mistaken(shown.pixels_NSS3, pixels_NSS3[at], own[0], right_N, tuple(mapping))
            trials += own
            progress(place + 1, len(names))
    return trials, plain, examples, _how_made(len(truth_N), side, asked)


def _trials(observer: _Observer, shown: StimulusSet) -> Trials:
    return Trials(
        shown.experiment, observer.name, shown.image_N, shown.condition_N, shown.truth_N, observer.answers(shown)
    )


def _made(
    names: Sequence[str], pixels_NSS3: NDArray[np.uint8], truth_N: NDArray[np.int64], setting: Any, asked: AuditSettings
) -> Iterator[StimulusSet]:
    """The stimuli of one experiment after the other; the next is made while one is answered."""

    def start(name: str) -> Future[StimulusSet]:
        return pool.submit(
            sets.made, name, pixels_NSS3, truth_N, setting, seed=asked.seed, every_level=asked.every_level
        )

    with ThreadPoolExecutor(1, thread_name_prefix="likewise-stimuli") as pool:
        waiting = start(names[0])
        for following in (*names[1:], None):
            ready = waiting.result()
            if following is not None:
                waiting = start(following)
            yield ready


def _chosen(
    rows: Rows, mapping: Mapping[str, Sequence[int]], asked: AuditSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Categories and positions of the test images that are distorted: the same number of each, as far as there are."""
    category_N = category_of(rows.query_labels, mapping)
    draw = np.random.default_rng(asked.seed)
    turn = np.full(len(category_N), -1, dtype=np.int64)
    for value in range(len(mapping)):
        own = draw.permutation(np.flatnonzero(category_N == value))
        turn[own] = np.arange(len(own))
    known = np.flatnonzero(category_N >= 0)
    if not len(known):
        raise InputError(f"no test image of {rows.query.name} is of a category of the mapping")
    positions = np.sort(known[np.argsort(turn[known], kind="stable")][: asked.images])
    return category_N[positions], positions


def _how_made(count: int, side: int, asked: AuditSettings) -> str:
    shown = "each at every level" if asked.every_level else "each at one level of an experiment"
    lengths = "" if side == 224 else f", lengths x {side}/224, of eidolons x {side}/256"
    return (
        f"{count:,} test images, {shown}, middle square at {side} px in 8 bits{lengths}; eidolons share 8 noise "
        f"fields; seed {asked.seed}"
    )
