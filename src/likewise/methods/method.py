"""The interface of a method: its card, its settings, its parts, and one `step`.

A method composes parts (an encoder, heads, a teacher, a memory) as members and knows nothing of optimisers, logging,
data or evaluation. Those know the method only through the names on this page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Stream, shuffled
from likewise.data.flow.fields import FlowPlan
from likewise.data.source import Column
from likewise.views.making import Compose
from likewise.views.policies.policy import ViewPolicy
from likewise.views.view import View

Views = Mapping[str, View]
"""The views of one batch by role, as the method named them in `Method.views`."""
Need = Literal[
    "labels", "some labels", "labelled data beside", "masks", "frozen teacher", "old encoder", "pairs", "videos"
]
UpdateRule = Literal["sgd", "adamw", "lars", "muon"]
"""Optimisers; see `likewise.training.optimising.optimisers` and, for the last one,
`likewise.training.optimising.muon`."""
Normalisation = Literal["imagenet", "cifar10", "cifar100", "data"]
"""Channel means and deviations: of published data sets, or of the images that are trained on."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Facts of a second data set, for methods."""

    images: int
    """Images in it."""
    classes: int = 0
    """Number of its classes where labels are known, else 0."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of the job, for the method when it is built. All are settled before training starts."""

    images: int
    """Images in the training set."""
    batch_size: int
    """Images per step over all processes."""
    image_size: int
    """Side of the encoder's input in pixels."""
    classes: int = 0
    """Number of classes where labels are known, else 0."""
    class_names: tuple[str, ...] = ()
    """Their names in the order of their numbers, where they have any."""
    labelled: int = 0
    """Images whose label is known."""
    steps_per_epoch: int = 1
    """Full batches in one pass over the data."""
    beside: Beside | None = None
    """The second data set, where one is given."""
    columns: Mapping[str, Column] = field(default_factory=dict, repr=False, compare=False)
    """The columns that `Method.columns` names, of all images. Not kept with a run."""
    widths: Mapping[str, int] = field(default_factory=dict)
    """Of each of these columns one more than its largest value: the number of classes where it holds classes."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Channel means that views are normalised with where they do not say so themselves."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Channel deviations, likewise."""

    def __post_init__(self) -> None:
        if self.columns and not self.widths:
            widths = {name: int(column.values.max(initial=-1)) + 1 for name, column in self.columns.items()}
            object.__setattr__(self, "widths", widths)

    def room(self, rows: int) -> int:
        """Rows of a memory that a batch enters before it is looked at: `rows`, and those of a batch at least.

        In a shorter one an image of the batch would not find its own row, but only those of others.
        """
        return max(rows, self.batch_size)


class Batch(NamedTuple):
    """Ids, labels and columns of the images of a batch, beside their views."""

    ids: Tensor
    """(B,) int64: position of each image in the data set."""
    labels: Tensor | None = None
    """(B,) int64, -1 where unknown; None where the data has no labels. Self-supervised methods only monitor them."""
    columns: Mapping[str, Tensor] = {}
    """(B,) int64 each: the columns that `Method.columns` names."""
    others: Mapping[str, Batch] = {}
    """What is known about the images of the other streams (`Method.streams`), by name."""


class Terms(NamedTuple):
    """The result of one step."""

    loss: Tensor
    """Scalar, mean over the batch; what is differentiated."""
    parts: dict[str, Tensor] = {}
    """Named scalars worth a curve, detached. `teacher_entropy` (nats) and `purity` (0 to 1) also feed health."""
    embedding: Tensor | None = None
    """(B, D) detached student embedding, any scale, that health watches for collapse."""


class Progress(NamedTuple):
    """Progress of training, for schedules inside a method."""

    step: int
    """Optimiser steps done before this one, from 0."""
    fraction: float
    """Share of the budget used, 0 to 1."""
    epoch: int
    """Passes over the data finished, from 0."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """The optimisation of a preset: the paper's numbers, or those of the small default."""

    optimiser: UpdateRule = "sgd"
    """Update rule."""
    learning_rate: float = 0.06
    """Peak learning rate at `batch_size`; not rescaled silently."""
    scaling: Literal["linear", "root"] = "linear"
    """How the rate follows another batch size: in proportion to it, or to its square root."""
    weight_decay: float = 5e-4
    """L2 decay (decoupled for adamw, and for the matrices of muon)."""
    final_weight_decay: float | None = None
    """Where the decay moves to along a cosine over the budget; None keeps it where it is."""
    momentum: float = 0.9
    """Momentum of sgd, lars and muon; first beta of adamw."""
    nesterov: bool = False
    """Whether sgd looks ahead along its momentum."""
    decay_norms_and_biases: bool = True
    """Whether one-dimensional parameters are decayed (and, for lars, scaled) as well."""
    lars_form: Literal["byol", "simclr", "swav", "paws"] = "byol"
    """Which published form of lars; see `likewise.training.optimising.optimisers.LARS`."""
    trust: float = 1e-3
    """Trust coefficient of lars."""
    schedule: Literal["cosine", "cosine_epoch", "linear", "step", "constant"] = "cosine"
    """Shape of the learning rate: a cosine, per step or once an epoch, a line, or steps at `milestones`."""
    milestones: tuple[float, ...] = ()
    """For `step`: shares of the budget after which the rate is multiplied by `step_factor`."""
    step_factor: float = 0.2
    """For `step`: the factor at each milestone."""
    warmup: float = 0.0
    """Share of the budget with a linearly rising rate."""
    warmup_from: float = 0.0
    """Share of the learning rate that a warm-up starts from."""
    cosine_over: Literal["rest", "budget", "start"] = "rest"
    """For cosines and the line after a warm-up: over the rest of the budget; as long as the whole budget, so that the
    end is cut off; or from the start, so that the warm-up hides its beginning."""
    final: float = 0.0
    """For cosines and the line: share of the learning rate that is left at the end."""
    batch_size: int = 256
    """Images per optimiser step over all processes."""
    first_size: float = 1.0
    """Side that views begin with, as a share of the encoder's input. They change to `last_size` over the budget."""
    last_size: float = 1.0
    """Side that views end with. A crop shows things larger than the whole image does, so that below 1 the encoder
    learns from them at the size that it will see them at, and at less cost (arXiv 1906.06423)."""
    clip_norm: float | None = None
    """Longest that all gradients together may be; None leaves them."""
    epochs: float = 30.0
    """Budget when neither epochs nor minutes are given."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A complete recipe: the method's settings and how they are optimised."""

    settings: Any
    """An instance of the method's `Settings`."""
    optimisation: Optimisation = field(default_factory=Optimisation)
    """The matching optimiser, schedule and budget."""
    normalisation: Normalisation = "imagenet"
    """Whose channel means and deviations views are normalised by in a published recipe; the small default takes those
    of the data."""
    note: str = ""
    """Where the numbers come from."""
    differs: Mapping[str, str] = field(default_factory=dict)
    """Where a preset named after a published recipe is not that recipe: row of its sheet (`tests/recipes`) -> how."""


WHOLE_BATCH = (
    "statistics of the whole batch over all processes; published: of each device's part, the teacher's images "
    "permuted, which --split-batch-norm DEVICES gives"
)
"""A difference that several presets have."""


def usual(settings: Any) -> Preset:
    """The recipe of most small defaults: `settings`, optimised as `Optimisation` is by default."""
    return Preset(settings=settings, note="narrow encoders, images up to 64 px")


@dataclass(frozen=True, kw_only=True)
class Card:
    """Description of a method for those who choose one. The docs page and `likewise methods` are made of it."""

    title: str
    """Full name."""
    paper: str
    """Authors, title, venue, arXiv number."""
    summary: str
    """When to choose it, in one or two sentences."""
    needs: tuple[Need, ...] = ()
    """What it needs beside images."""
    memory: Literal["none", "queue", "bank", "prototypes"] = "none"
    """What embeddings are compared with."""
    smallest_batch: int = 2
    """Below this it does not work."""
    within_batch: bool = False
    """Whether its loss compares the images of a batch with each other: that of parts of a batch would be another loss,
    so `--accumulate` has the encoder alone see parts."""
    uniform_prior: bool = False
    """Whether it assumes balanced clusters: a warning for skewed data."""
    whole_images: bool = False
    """Whether its views show whole images, so that they are never smaller than what the encoder sees afterwards."""
    repeats: bool = False
    """Whether its memory may hold an image more than once, as a set that neighbours are looked up in may."""
    deploy: Literal["student", "teacher"] = "student"
    """Which encoder is meant to be used after training."""


class Method(nn.Module):
    """Base of every method. Subclasses set the class variables, build their parts, and write `step`.

    The encoder handed to `__init__` maps (B, 3, H, W) to pooled (B, F) features and says F as `encoder.features`.
    """

    card: ClassVar[Card]
    Settings: ClassVar[type]
    presets: ClassVar[Mapping[str, Preset]]
    """Recipes by name, the default first."""
    answers_from: ClassVar[tuple[str, ...]] = ()
    """Names of the memories that `logits` reads: a run keeps them with its networks."""

    views: Mapping[str, ViewPolicy]
    """Role -> what that view looks like. Normalised as the encoder is shown images, unless a view says by what."""
    masks: str = ""
    """Where the foreground masks in its views come from (`likewise.localisation.sources`); empty: it takes none. Views
    that are cropped within a region are cropped within the boxes around them."""
    usable_masks: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Shares of an image that its object covers at least and at most; other masks are emptied."""

    flow: FlowPlan | None = None
    """The optical flow that the method wants to know of the images; `flows` is then there before the first step."""
    flows: NDArray[np.float16] | None = None
    """(N, 3, G, G) the flow of all images, as `likewise.data.flow.fields` makes it; memory-mapped."""

    @classmethod
    def streams(cls, settings: Any, facts: Facts) -> Mapping[str, Stream]:
        """The streams of the views: by default all from the data set, every image once an epoch.

        `facts` know nothing of steps yet. Roles of views are different in all streams.
        """
        return {MAIN: Stream(draw=shuffled)}

    @classmethod
    def columns(cls, settings: Any) -> tuple[str, ...]:
        """Columns of the data, beside the label, that the method wants to see."""
        return ()

    def logits(self, image: Tensor) -> Tensor:
        """(B, classes) scores of the classes of the training data, of images (B, 3, S, S) as the encoder sees them.

        For methods that train a classifier; `likewise evaluate --probe own` scores it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no classifier")

    def image_joint(self, features_BF: Tensor) -> Tensor:
        """(B, D) unit vectors, comparable with those of `text_joint`, of pooled features of the deployed encoder.

        For methods that learn images and texts together.
        """
        raise NotImplementedError(f"{type(self).__name__} reads no texts")

    def text_joint(self, texts: Sequence[str]) -> Tensor:
        """(T, D) unit vectors of texts, comparable with those of `image_joint`."""
        raise NotImplementedError(f"{type(self).__name__} reads no texts")

    @classmethod
    def within_batch(cls, settings: Any) -> bool:
        """Whether the loss compares the images of a batch with each other; where it does with some settings only."""
        return cls.card.within_batch

    def step(self, views: Views, batch: Batch) -> Terms:
        """Loss of one batch. Writes to the memory in the order of the paper."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def forward(self, views: Views, batch: Batch) -> Terms:
        """Same as `step`; distributed wrappers need the work to pass through `forward`."""
        return self.step(views, batch)

    def encoders(self) -> dict[str, nn.Module]:
        """Trained encoders by role: `student`, and `teacher` where there is one, ready for evaluation."""
        raise NotImplementedError(f"{type(self).__name__} names no encoders")

    def before_step(self, progress: Progress) -> None:
        """Called once before the forward pass of an optimiser step: schedules, moving averages."""

    def after_backward(self, progress: Progress) -> None:
        """Called when gradients are complete, before the optimiser: freezing, clipping."""

    def after_step(self, progress: Progress) -> None:
        """Called after the optimiser step: averages of the new weights, normalised prototypes."""

    composes: ClassVar[bool] = False
    """Whether the method puts images together between crop and colours: other backgrounds, mixtures."""

    def compose(self, crops: Views, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Called where `composes`, before the colours of the views are changed: other images for some of the roles.

        The crops are (B, 3, S, S) in [0, 1], not normalised. `generator`, on the CPU, is in the same state in all
        processes, so it draws for the whole batch, of which `distributed.positions` are the rows of this process;
        images of other processes are had by `distributed.gather`.
        """
        raise NotImplementedError(f"{type(self).__name__} composes nothing")

    needs_refresh: ClassVar[bool] = False
    """Whether the method looks at the whole data set between epochs: clusters, a bank of all images."""

    def refresh_due(self, epoch: int) -> bool:
        """Whether `refresh` is to run before epoch `epoch` (from 0) begins: by default before each, if at all."""
        return self.needs_refresh

    def refresh_lost(self) -> bool:
        """Whether the result of `refresh` is missing, also in the middle of an epoch.

        So it is after a resume where it was too large for a checkpoint; otherwise it must lie in buffers.
        """
        return False

    def know(self, names: Sequence[str], labels_N: Tensor | None) -> None:
        """Called before each `refresh` with what is known of all images beside their pixels, in their order.

        Names are for people and need not differ; labels are -1 where unknown, None where the data has none.
        """

    def refresh_with(self) -> nn.Module | None:
        """The network whose embeddings of all images `refresh` is given; it is run in eval mode.

        None where there is nothing to look at: `refresh` is then given vectors of no dimension.
        """
        raise NotImplementedError(f"{type(self).__name__} names no network to refresh with")

    def refresh(self, features_ND: Tensor, progress: Progress) -> None:
        """Called where `refresh_due`, with what `refresh_with` makes of the centre of each image, in their order.

        What is kept of it must lie in buffers: a run resumed in the middle of an epoch does not refresh again, unless
        `refresh_lost` says that it has to.
        """
        raise NotImplementedError(f"{type(self).__name__} has no refresh")

    def sample_weights(self) -> Tensor | None:
        """(N,) how often each image is drawn, relative to others, until the next `refresh`; None: once an epoch.

        Follows from buffers, and is the same on every process.
        """
        return None

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Optimiser groups; a group may carry `rate` (factor on the learning rate) and `weight_decay`."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]


def made(method: type[Method], encoder: nn.Module, settings: Any, facts: Facts) -> Method:
    """A method with all its parts; views that do not say what they are normalised by get the means of `facts`."""
    built = method(encoder, settings, facts)
    built.views = {role: policy.normalised(facts.mean, facts.std) for role, policy in built.views.items()}
    return built


def composer(method: Method, batch: Batch) -> Compose | None:
    """The method's composition of the crops of this batch, as `make_views` takes it; None where it has none."""
    if not method.composes:
        return None
    return lambda crops, generator: method.compose(crops, batch, generator)
