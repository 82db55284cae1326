"""The options of a training run: the flags of `likewise train` but those of the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from likewise.errors import InputError
from likewise.methods.method import Normalisation, UpdateRule

Precision = Literal["float32", "bf16", "fp16"]

SIZES = ("first_size", "last_size")


@dataclass(frozen=True, kw_only=True)
class AsAsked:
    """Options that are used as given, without looking at the data: shared by `Asked`, `Plan` and run.json."""

    flip: bool = True
    """Mirror half of the views left to right, where the method's views do; not good for digits, text or signs."""
    sync_batch_norm: bool = True
    """With several processes: share batch statistics, so that N processes compute what one would."""
    compile: bool = False
    """Compile the encoder with torch.compile: slower to start, faster afterwards on a GPU."""
    anchor: float = 0.0
    """W: keep the encoder near where it starts (with --start or --pretrained), so that vectors stored before stay
    comparable: (loss + W A) / (1 + W), A the mean squared distance of each image's unit vector from its old one."""
    compatible_with: str = ""
    """An older encoder (run, weights file, index or timm model): the anchor, of weight 1 where none is given, holds to
    its vectors in place of the encoder's own start, so that new queries find what it stored."""
    seed: int = 0
    """Everything random follows from it."""


@dataclass(frozen=True, kw_only=True)
class Choosable:
    """Options that may be left open."""

    method: str = "isd"
    """What to learn by: see `likewise methods`."""
    variant: str | None = None
    """Preset of the method that fills what is not given: its small default, or a paper's recipe."""
    encoder: str = "resnet18"
    """Any timm model by name."""
    width: int | None = None
    """Channels of the first stage of a ResNet, 64 in the papers; 16 is a quarter of that."""
    stem: Literal["imagenet", "small"] | None = None
    """small: 3x3 stride 1 without max-pool, for images up to 64 px."""
    pretrained: bool = False
    """Start from timm's pretrained weights."""
    image_size: int | None = None
    """Side of the encoder's input in pixels."""
    batch_size: int | None = None
    """Images per optimiser step, over all processes."""
    epochs: float | None = None
    """Budget in passes over the data."""
    minutes: float | None = None
    """Budget in minutes of training; schedules run over the share of it used."""
    learning_rate: float | None = None
    """Peak learning rate; by default the preset's, scaled with the batch size."""
    weight_decay: float | None = None
    """Weight decay; by default the preset's."""
    optimiser: UpdateRule | None = None
    """Update rule; by default the preset's."""
    warmup: float | None = None
    """Share of the budget with a linearly rising learning rate; by default the preset's."""
    first_size: float | None = None
    """Side that views begin with, as a share of image_size; they change to last_size in the first four fifths of the
    budget."""
    last_size: float | None = None
    """Side that views end with, as a share of image_size, at which images are embedded."""
    normalisation: Normalisation | None = None
    """Channel means and deviations that views are normalised by: imagenet, cifar10, cifar100, or those of the data."""
    accumulate: int = 1
    """Parts that a batch is cut into to save memory; where images of a batch are compared, for the encoder alone."""
    precision: Precision | None = None
    """Number format of the encoder's forward pass."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """Where to train."""


@dataclass(frozen=True, kw_only=True)
class Asked(AsAsked, Choosable):
    """The encoder, method and budget of a training run. What is not given is chosen from the data and the machine."""

    def __post_init__(self) -> None:
        for name in ("width", "image_size", "batch_size", "epochs", "minutes", "learning_rate", "accumulate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}={value} must be greater than 0")
            if value == float("inf"):
                raise InputError(f"{name}={value} has no end: allowed is a finite number greater than 0")
        for name in SIZES:
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise InputError(f"{name}={value} is out of range: allowed is above 0 up to 1 (full size)")
        if self.warmup is not None and not 0 <= self.warmup <= 1:
            raise InputError(
                f"warmup={self.warmup:g} is out of range: allowed is 0 to 1, a share of the budget (10 of 200 epochs "
                "are 0.05)"
            )
        if self.weight_decay is not None and not 0 <= self.weight_decay < float("inf"):
            raise InputError(f"weight_decay={self.weight_decay:g} is out of range: allowed is 0 (none) or more")
        if self.compatible_with and not self.anchor:
            object.__setattr__(self, "anchor", 1.0)
        if not 0.0 <= self.anchor < float("inf"):
            raise InputError(f"anchor={self.anchor:g} is out of range: allowed is 0 (none) or more, such as 1")
        if self.epochs is not None and self.minutes is not None:
            raise InputError(f"epochs={self.epochs:g} and minutes={self.minutes:g}: give one budget, not both")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The selection of the data to train on, and the source of its labels."""

    split: str | None = None
    """Split to train on; by default `train` where the data has one."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes. Only watched, unless the method needs labels."""
    subset: str | None = None
    """Train on a draw of the images: longtail:100, isd:2, perclass:10, share:0.1, base:0.5, list:FILE, ..."""
    subset_seed: int = 0
    """What the draw follows from."""


@dataclass(frozen=True, kw_only=True)
class Session(Opened):
    """The output directory of the run, and its monitoring."""

    start: str | None = None
    """Begin with the encoder of this run or weights file, and with its other networks where the method is the same."""
    beside: str | None = None
    """A second data set, for methods that learn from two."""
    beside_labels: str | None = None
    """Its label column, or `folders`."""
    out: str | None = None
    """Run directory; by default runs/DATA-METHOD-ENCODER, numbered where that exists."""
    resume: bool = False
    """Continue the run in `out`, or the newest of its default name, from its last checkpoint."""
    checkpoint_minutes: float | None = None
    """Time between checkpoints; by default at ends of epochs (not within 10 s) and every 2 minutes."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    loggers: tuple[str, ...] | None = None
    """Where scalars go beside metrics.jsonl: tensorboard, wandb, mlflow, trackio; by default tensorboard where it is
    installed."""
    online_probe: bool = True
    """Score nearest neighbours on a fixed sample now and then where labels are known, in under 2 % of the time."""
    report: bool = True
    """Write report.html at the end."""
    quiet: bool = False
    """Say nothing but where the run is."""

    def __post_init__(self) -> None:
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes >= 0:
            raise InputError(f"checkpoint_minutes={self.checkpoint_minutes:g} must be at least 0 (after every step)")
