"""What each verb takes. The flags, their help and their checks all come from these dataclasses and those they hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

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
    quiet: bool = False
    """Print the result and nothing else."""


def evaluate_arguments() -> type[Any]:
    """Arguments of `likewise evaluate` with those of the probes."""
    from likewise.evaluation.given import ProbeSettings

    probes = dataclasses.field(default=ProbeSettings())
    fields: list[tuple[str, Any, Any]] = [("probes", OmitArgPrefixes[ProbeSettings], probes)]
    return dataclasses.make_dataclass("EvaluateAll", fields, bases=(Evaluate,), frozen=True, kw_only=True)


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """Arguments of `likewise finetune`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory, weights file, or the name of a timm model with --pretrained."""
    data: Annotated[Positional[str | None], tyro.conf.arg(metavar="DATA")] = None
    """Pictures with labels; by default what the run was trained on."""
    out: str | None = None
    """Run directory to write; by default runs/DATA-finetune-ENCODER, numbered where that exists."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    train_split: str | None = None
    """Split to learn from; by default `train`."""
    test_split: str | None = None
    """Split to score on; by default `test`, or else the validation split, or else a held-out fifth."""
    subset: str | None = None
    """Learn from a draw of the pictures, such as share:0.1 or perclass:10."""
    subset_seed: int = 0
    """What the draw follows from."""
    epochs: int = 20
    """Passes over the pictures."""
    rate: float = 0.01
    """Peak learning rate of the encoder at batch 128; the classifier's is ten times that."""
    flip: bool | None = None
    """Mirror half of the pictures left to right, not good for digits, text or signs; by default where the run did."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the student."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which pictures are shown; by default the encoder's own."""
    seed: int = 0
    """What batches, crops and held-out pictures follow from."""
    quiet: bool = False
    """Say nothing but where the run is."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Arguments of `likewise compare`."""

    runs: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN...", help_behavior_hint="")]
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
    quiet: bool = False
    """Print the result and nothing else."""
    overwrite: bool = False
    """Replace files that exist."""


@dataclass(frozen=True, kw_only=True)
class Methods:
    """Arguments of `likewise methods`."""

    json: bool = False
    """Print one JSON array."""
    quiet: bool = False
    """Print the result and nothing else."""


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
    quiet: bool = False
    """Print the result and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """Arguments of `likewise export`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory, or a weights file that `likewise` wrote."""
    format: Literal["safetensors", "onnx"]
    """safetensors: plain timm keys. onnx: checked against the encoder with onnxruntime."""
    out: str
    """File to write."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    overwrite: bool = False
    """Replace `out` where it exists."""
    quiet: bool = False
    """Print the result and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Arguments of `likewise convert`."""

    checkpoint: Annotated[Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
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
    quiet: bool = False
    """Print the result and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Arguments of `likewise doctor`, but those of the training run it looks ahead to."""

    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


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
    from likewise.training.asked import Opened

    asked, _, settings = _shapes(method, variant)
    fields: list[tuple[str, Any, Any]] = [
        ("data", Positional[Data], dataclasses.field()),
        ("opened", OmitArgPrefixes[Opened], dataclasses.field(default=Opened())),
        ("training", OmitArgPrefixes[type(asked)], dataclasses.field(default=asked)),  # type: ignore[misc]
        (method, OmitArgPrefixes[type(settings)], dataclasses.field(default=settings)),  # type: ignore[misc]
    ]
    return dataclasses.make_dataclass("DoctorAll", fields, bases=(Doctor,), frozen=True, kw_only=True)


def _shapes(method: str, variant: str | None) -> tuple[Any, Any, Any]:
    from likewise.methods import find
    from likewise.training.asked import Asked, Session
    from likewise.training.resolve import preset_of

    name, preset = preset_of(find(method), variant)
    return Asked(method=method, variant=name), Session(), preset.settings
