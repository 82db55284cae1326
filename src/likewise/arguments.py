"""What each verb takes. The flags, their help and their checks all come from these dataclasses and those they hold."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from likewise.errors import InputError, unknown

T = TypeVar("T")
Data = Annotated[
    str,
    tyro.conf.arg(metavar="DATA", help="A folder, a list, a CSV, Parquet or NumPy file, or a name such as cifar10."),
]


Probe = Literal[
    "knn",
    "linear",
    "linear-sgd",
    "centroid",
    "fewshot",
    "labels",
    "clustering",
    "retrieval",
    "uniformity",
    "rank",
    "purity",
    "finetune",
    "finetune-labels",
    "segmentation",
]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Arguments of `likewise evaluate`, but those of the probes."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory, .safetensors or .onnx file, or the name of a timm model with --pretrained."""
    data: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="DATA")] = ()
    """Pictures with labels, or several data sets; by default what the run was trained on."""
    probe: tuple[Probe, ...] = ("knn", "linear")
    """What to score by."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    train_split: str | None = None
    """Split whose labels the probe learns from; by default `train`."""
    test_split: str | None = None
    """Split that is classified; by default `test`, or else the validation split, the first that has labels."""
    subset: str | None = None
    """Draw from the training split, such as longtail:100, share:0.01, perclass:10 or novel:0.5."""
    subset_seed: int = 0
    """What the draw follows from."""
    classes: Literal["all", "trained", "others"] = "all"
    """For a run trained on some of the classes: which are evaluated."""
    cameras: str | None = None
    """Column with the camera of each picture: retrieval leaves the query's class by its own camera out."""
    masks: str | None = None
    """Folder of masks for the probe segmentation."""
    untrained: bool = False
    """Also score the same encoder before any training, as a baseline."""
    compare: Literal["random"] | None = None
    """Also score the same encoder with random weights."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which pictures are shown; by default the encoder's own."""
    per_class: bool = False
    """Figures by class and by many-, medium- and few-shot classes, also where classes are not skewed."""
    class_mean: bool = False
    """Accuracy as the mean over classes, also for data sets where the field does not do so."""
    seed: int = 0
    """What held-out pictures, episodes and draws of labels follow from."""
    json: bool = False
    """Print one JSON object."""


def evaluate_arguments() -> type[Any]:
    """Arguments of `likewise evaluate` with those of the probes."""
    from likewise.evaluation.given import ProbeSettings

    probes = dataclasses.field(default=ProbeSettings())
    fields: list[tuple[str, Any, Any]] = [("probes", OmitArgPrefixes[ProbeSettings], probes)]
    return dataclasses.make_dataclass("EvaluateAll", fields, bases=(Evaluate,), frozen=True, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Arguments of `likewise compare`."""

    runs: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN")]
    """Run directories, weights files, or names of timm models with --pretrained."""
    data: str | None = None
    """Score all of them on these pictures now; by default the scores that the runs have are shown."""
    probe: tuple[Probe, ...] = ()
    """What to score by, on `data` or on what each was trained on; by default knn and linear where `data` is given."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the runs is scored; by default the one that each run's method deploys."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    untrained: bool = False
    """Score the same encoders before any training as well."""
    pretrained: bool = False
    """What is no file is the name of a timm model with its published weights."""
    labels_per_class: tuple[int, ...] = ()
    """Measure accuracy against labels: numbers of labelled pictures of each class, such as 1 5 20 100."""
    draws: int = 5
    """Draws of labelled pictures for each of these numbers."""
    csv: str | None = None
    """Write one line for each score of each run."""
    html: str | None = None
    """Write a page with tables, tests and curves."""
    svg: str | None = None
    """Write the label-efficiency curve as a picture."""
    json: bool = False
    """Print one JSON object."""
    overwrite: bool = False
    """Replace files that exist."""


@dataclass(frozen=True, kw_only=True)
class Methods:
    """Arguments of `likewise methods`."""

    json: bool = False
    """Print one JSON array."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Arguments of `likewise cache`."""

    names: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    """Of caches or of data sets; by default all."""
    older_than: float | None = None
    """Only those that were not used for so many days."""
    clear: bool = False
    """Remove them. What a running process uses stays; the rest is decoded again when it is wanted."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Arguments of `likewise export`."""

    run: Positional[str]
    """Run directory, or a .safetensors file that knows what it is."""
    format: Literal["safetensors", "onnx"]
    """safetensors: plain timm keys. onnx: checked against the encoder with onnxruntime."""
    out: str
    """File to write."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    overwrite: bool = False
    """Replace `out` where it exists."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Arguments of `likewise convert`."""

    checkpoint: Positional[str]
    """A checkpoint of another code base: .pth, .ckpt, .tar, or .safetensors."""
    from_: Annotated[
        Literal["lightly", "solo-learn", "moco", "swav", "dino", "isd", "efficientnet-lite0"],
        tyro.conf.arg(name="from"),
    ]
    """Whose it is."""
    out: str
    """The .safetensors file to write."""
    encoder: str | None = None
    """timm name of the encoder it holds, such as resnet50; known for efficientnet-lite0."""
    which: Literal["student", "teacher"] = "student"
    """Which of its encoders: the student, or the momentum encoder."""
    image_size: int = 224
    """Side of the pictures it was trained on."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """small: it was trained on small pictures, with a 3x3 first layer and without max-pool."""
    overwrite: bool = False
    """Replace `out` where it exists."""


def train_arguments(method: str, variant: str | None) -> type[Any]:
    """Arguments of `likewise train` with the settings of `method`, whose defaults are those of `variant`.

    Raises InputError for a method or variant that does not exist.
    """
    asked, session, settings = _shapes(method, variant)
    fields: list[tuple[str, Any, Any]] = [
        ("data", Positional[Data], dataclasses.field()),
        ("run", OmitArgPrefixes[type(session)], dataclasses.field(default=session)),  # type: ignore[misc]
        ("training", OmitArgPrefixes[type(asked)], dataclasses.field(default=asked)),  # type: ignore[misc]
        (method, OmitArgPrefixes[type(settings)], dataclasses.field(default=settings)),  # type: ignore[misc]
    ]
    return dataclasses.make_dataclass("Train", fields, frozen=True, kw_only=True)


def doctor_arguments(method: str, variant: str | None) -> type[Any]:
    """Arguments of `likewise doctor`: those that decide what a training run would see and how it would be set."""
    from likewise.training.resolve import Opened

    asked, _, settings = _shapes(method, variant)
    fields: list[tuple[str, Any, Any]] = [
        ("data", Positional[Data], dataclasses.field()),
        ("json", bool, dataclasses.field(default=False)),
        ("opened", OmitArgPrefixes[Opened], dataclasses.field(default=Opened())),
        ("training", OmitArgPrefixes[type(asked)], dataclasses.field(default=asked)),  # type: ignore[misc]
        (method, OmitArgPrefixes[type(settings)], dataclasses.field(default=settings)),  # type: ignore[misc]
    ]
    return dataclasses.make_dataclass("Doctor", fields, frozen=True, kw_only=True)


def _shapes(method: str, variant: str | None) -> tuple[Any, Any, Any]:
    from likewise.methods import find
    from likewise.training.resolve import Asked, Session, preset_of

    name, preset = preset_of(find(method), variant)
    return Asked(method=method, variant=name), Session(), preset.settings


def explicit(parsed: Any, words: Sequence[str]) -> dict[str, Any]:
    """Values of the flags that stand in `words`, by name: what was asked for, as opposed to what is a default."""
    values = dict(_leaves(parsed))
    named = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    return {name: value for name, value in values.items() if name in named or f"no_{name}" in named}


def parse(shape: type[T], words: Sequence[str], program: str, description: str) -> T:
    """Parse `words` into `shape`. Raises InputError with one line for an unknown flag or a value that cannot be."""
    if not {"-h", "--help"} & set(words):
        _check_flags(shape, words)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(shape, args=list(words), prog=program, description=description)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(_one_line(complaint.getvalue())) from None


def value_of(words: Sequence[str], flag: str, default: T) -> str | T:
    """The value that `--flag` has in `words`; needed before parsing, where it decides what the other flags are."""
    for here, following in itertools.pairwise([*words, ""]):
        if here == f"--{flag}":
            return following
        if here.startswith(f"--{flag}="):
            return here.partition("=")[2]
    return default


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if dataclasses.is_dataclass(held):
            yield from _leaves(held)
        else:
            yield field.name, held


def _names(shape: Any) -> Iterator[str]:
    for field in dataclasses.fields(shape):
        if dataclasses.is_dataclass(field.default):
            yield from _names(field.default)
        else:
            yield field.name


def _check_flags(shape: Any, words: Sequence[str]) -> None:
    """Name the first unknown flag with its nearest spelling, before the parser would, in one line."""
    names = {name.rstrip("_").replace("_", "-") for name in _names(shape)}
    allowed = {f"--{name}" for name in names}
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        known = flag in allowed or f"--{flag.removeprefix('--no-')}" in allowed
        if flag.startswith("--") and not known:
            raise unknown("option", flag, allowed)


def _one_line(complaint: str) -> str:
    """The first paragraph of the parser's boxed message, as one line."""
    lines = [re.sub(r"^[│╭╰ ]+|[│╮╯ ]+$", "", line) for line in complaint.splitlines()]
    told: list[str] = []
    for line in lines[1:]:
        if not line or line.startswith(("─", "Got errors")):
            if told:
                break
            continue
        told.append(line)
    return " ".join(told) or "the arguments could not be understood"
