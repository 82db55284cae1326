"""HIERMATCH: few fine labels and cheaper coarse ones; MixMatch or FixMatch at each level of the label tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data.batches.orders import Endless, Order
from likewise.data.batches.streams import MAIN, Drawing, Rows, Stream, shuffled
from likewise.distributed import common, gather, gather_with_gradient, positions
from likewise.encoders import Encoder
from likewise.encoders.tree_head import TreeHead
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity.labelled.mixmatch import guessed, interleaved, labelled_loss, mixed, ramp, unlabelled_loss
from likewise.similarity.prototypes.self_label import confident
from likewise.teachers import Momentum
from likewise.views import CutOut, ViewPolicy, padded, random_magnitudes

Form = Literal["mixmatch", "fixmatch"]
LABELLED = "labelled"
"""The stream of images with fine labels, and the role of their view."""
ROLES = ("first", "second")
"""The two views of an unlabelled image."""


class Part(NamedTuple):
    """The images that some levels learn from in a step, and the labels of those levels."""

    labelled: Tensor
    """(L, 3, S, S)."""
    labels: Mapping[int, Tensor]
    """Level -> (L,) classes, all known."""
    first: Tensor
    """(B, 3, S, S) first views of unlabelled images."""
    second: Tensor
    """(B, 3, S, S) their second views, in FixMatch's form the strong ones."""


class Found(NamedTuple):
    """Losses of a part, summed over its levels."""

    known: Tensor
    """Of the labelled images."""
    free: Tensor
    """Of the unlabelled images, not weighted."""
    features: Tensor
    """(B, F) detached, of the first views."""


class HierMatch(Method):
    """HIERMATCH.

    The encoder's feature vector is cut into one block for each level of the label tree, coarsest first. The classifier
    of a level reads its own block and those of all finer levels, the latter without gradient. Every level h (0 is the
    finest) has a semi-supervised loss, and the losses of all levels are summed.

    MixMatch's form: an unlabelled image is given the sharpened mean prediction of its two views, q = p^(1/T) / sum.
    Labelled images and both views are mixed, x' = l x + (1 - l) x_perm with l = max(b, 1 - b), b ~ Beta(a, a), and
    their targets alike, by one l and one permutation for all levels. Over mixed rows, labelled ones first,

        L_h = mean_x CE(f_h(x'), t') + w share mean_(u, c) (softmax f_h(u')_c - t'_c)^2

    where share rises from 0 to 1 over the budget. FixMatch's form, by the same rule (of it no code is published):

        L_h = mean_x CE(f_h(x), y_h) + w mean_u [max softmax f_h(weak u) > threshold] CE(f_h(strong u), argmax)

    `levels` names the columns of coarser labels, the finest of them first; none is plain MixMatch or FixMatch. By
    default all levels learn from the images with a fine label, and coarse labels of other images are not looked at.
    With `partial` images that have a coarse label alone are used as well: each level draws batches of its own, from
    images labelled at this level and from the others. Where every image is labelled, the unlabelled ones are all.

    Guesses come from the network as it is, in train mode; `logits` and the encoder to deploy from its moving average.

    Order inside a step: guesses, the passes over the mixed rows, loss; after the update the average moves, weights and
    running statistics included, then all of the network shrinks by `shrink`, which is MixMatch's decay.

    Garg, Bagga, Singh, Anand: HIERMATCH: Leveraging Label Hierarchies for Improving Semi-Supervised Learning, WACV
    2022, arXiv 2111.00164, section 3; MixMatch: arXiv 1905.02249; FixMatch: arXiv 2001.07685.
    """

    card: ClassVar[Card] = Card(
        title="HIERMATCH",
        paper="Garg, Bagga, Singh, Anand. HIERMATCH: Leveraging Label Hierarchies for Improving Semi-Supervised "
        "Learning. WACV 2022, arXiv 2111.00164",
        summary="When classes form a tree and coarse labels are cheaper than fine ones. Without a tree it is MixMatch "
        "or FixMatch.",
        needs=("some labels",),
        within_batch=True,
        whole_images=True,
        deploy="teacher",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of HIERMATCH. The defaults are those of the small preset."""

        form: Form = "mixmatch"
        """The semi-supervised loss of every level."""
        levels: tuple[str, ...] = ()
        """Columns of coarser labels beside the fine one, finest first: `coarse_label`, or `folders:2`, `folders:1`."""
        partial: bool = False
        """Whether images with a coarse label alone teach its level; each level then draws its own batches."""
        unlabelled_weight: float = 75.0
        """w: weight of the unlabelled images; MixMatch's loss is divided by the number of classes, FixMatch's not."""
        sharpen: float = 0.5
        """T: guesses of MixMatch are taken to the power 1 / T."""
        alpha: float = 0.75
        """a: both parameters of the Beta distribution that the share of MixMatch's mixtures is drawn from."""
        threshold: float = 0.95
        """Probability above which FixMatch believes a guess."""
        ratio: int = 7
        """Unlabelled images for each labelled one in FixMatch's form."""
        momentum: float = 0.99
        """Share of its old weights that the average keeps at each step."""
        shrink: float = 4e-5
        """Share of every weight and running statistic that is taken away after each step: .02 times the rate of .002.
        """

        def __post_init__(self) -> None:
            if len(set(self.levels)) < len(self.levels):
                raise InputError(f"levels={self.levels} names a column twice: each level has a column of its own")
            at_least("unlabelled_weight", self.unlabelled_weight, 0.0)
            positive("sharpen", self.sharpen)
            positive("alpha", self.alpha)
            at_least("ratio", self.ratio, 1)
            for name in ("threshold", "momentum", "shrink"):
                between(name, getattr(self, name), 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """Settings of the other form, and of levels where there are none."""
            mixing = self.form == "mixmatch"
            other = ("threshold", "ratio") if mixing else ("sharpen", "alpha")
            found = dict.fromkeys(other, f"form={'fixmatch' if mixing else 'mixmatch'}")
            return found if self.levels else {**found, "partial": "levels"}

    @classmethod
    def columns(cls, settings: Settings) -> tuple[str, ...]:
        """Those of the coarser levels."""
        return settings.levels

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Unlabelled images, and labelled ones; with `partial` both for every level."""
        draw = few(settings.ratio) if settings.form == "fixmatch" else few(1)
        streams = {
            MAIN: Stream(draw=shuffled, where=without_label),
            LABELLED: Stream(views=(LABELLED,), keep="labelled", where=known_at(settings.levels), draw=draw),
        }
        if not settings.partial:
            return streams
        streams[LABELLED] = replace(streams[LABELLED], where=None)
        for number, column in enumerate(settings.levels, start=1):
            roles = tuple(f"{role}_{number}" for role in ROLES)
            named = f"{LABELLED}_{number}"
            streams[named] = Stream(views=(named,), where=known_at((column,)), draw=draw)
            streams[f"unlabelled_{number}"] = Stream(views=roles, where=without(column))
        return streams

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        classes = [facts.classes, *(facts.widths.get(name, 0) for name in settings.levels)]
        for name, count in zip(("labels", *settings.levels), classes, strict=True):
            if count < 2:
                raise InputError(f"hiermatch needs two classes or more at every level, and {name} has {count}")
        self.settings, self.classes, self.share = settings, classes, 0.0
        self.network = nn.Sequential(encoder, TreeHead(encoder.features, classes))
        self.teacher = Momentum(self.network, buffers="averaged", mode="eval")
        self.views = view_policies(settings, facts)

    def before_step(self, progress: Progress) -> None:
        """Set the ramp of the weight of MixMatch's unlabelled loss."""
        self.share = ramp(progress.fraction, 1.0) if self.settings.form == "mixmatch" else 1.0

    def step(self, views: Views, batch: Batch) -> Terms:
        """The losses of all levels, on common batches or on one for each level."""
        learn = self.mixmatch if self.settings.form == "mixmatch" else self.fixmatch
        parts = parts_of(self.settings, views, batch)
        found = [learn(part) for part in parts]
        known = torch.stack([each.known for each in found]).sum()
        free = torch.stack([each.free for each in found]).sum()
        result = {"labelled": known.detach(), "unlabelled": free.detach()}
        return Terms(known + self.settings.unlabelled_weight * self.share * free, result, found[0].features)

    def mixmatch(self, part: Part) -> Found:
        """MixMatch at the levels of a part: targets, one mixture, and chunk by chunk through the network."""
        x_N, u_N, v_N = gather(part.labelled), gather(part.first), gather(part.second)
        own_B = positions(part.first)
        with torch.no_grad():
            features_BF = self.network[0](part.first)
            result = [self.heads(features_BF), self.heads(self.network[0](part.second))]
        rows, count = torch.cat([x_N, u_N, v_N]), len(x_N)
        share, order_R = drawn_mixture(self.settings.alpha, len(rows), rows.device)
        chunks = interleaved(list(mixed(rows, order_R, share).chunk(3)))
        logits = [self.heads(self.network[0](chunk[own_B])) for chunk in chunks]
        known, free = [], []
        for level, labels_B in part.labels.items():
            guess_NC = gather(guessed(torch.stack([each[level] for each in result]), self.settings.sharpen))
            sure_NC = F.one_hot(gather(labels_B), self.classes[level]).to(guess_NC.dtype)
            target_RC = mixed(torch.cat([sure_NC, guess_NC, guess_NC]), order_R, share)
            out = torch.cat(interleaved([gather_with_gradient(each[level]) for each in logits]))
            known.append(labelled_loss(out[:count], target_RC[:count]))
            free.append(unlabelled_loss(out[count:], target_RC[count:]))
        return Found(torch.stack(known).sum(), torch.stack(free).sum(), features_BF.detach())

    def fixmatch(self, part: Part) -> Found:
        """FixMatch at the levels of a part: one pass over labelled, weak and strong images."""
        count, free_count = len(part.labelled), len(part.first)
        features_RF = self.network[0](torch.cat([part.labelled, part.first, part.second]))
        logits = self.heads(features_RF)
        known, free = [], []
        for level, labels_B in part.labels.items():
            sure, weak, strong = torch.tensor_split(logits[level], [count, count + free_count])
            known.append(F.cross_entropy(sure, labels_B))
            free.append(confident(weak, strong, self.settings.threshold, balanced=False, mean="batch"))
        return Found(torch.stack(known).sum(), torch.stack(free).sum(), features_RF[count:][:free_count].detach())

    def heads(self, features_BF: Tensor) -> list[Tensor]:
        """Logits of all levels, in float32 at least."""
        found = cast("list[Tensor]", self.network[1](features_BF))
        return [logits.to(torch.promote_types(logits.dtype, torch.float32)) for logits in found]

    def after_step(self, progress: Progress) -> None:
        """The average takes the new weights, then these shrink."""
        self.teacher.update(self.network, self.settings.momentum)
        with torch.no_grad():
            for value in self.network.state_dict().values():
                if value.is_floating_point():
                    value.mul_(1.0 - self.settings.shrink)

    def logits(self, image: Tensor) -> Tensor:
        """(B, classes) of the finest level, by the average."""
        return cast("list[Tensor]", self.teacher(image))[0]

    def encoders(self) -> dict[str, nn.Module]:
        """The network that is trained, and its average."""
        return {"student": self.network[0], "teacher": self.teacher.network.get_submodule("0")}

    _mixmatch: ClassVar[dict[str, Any]] = {
        "optimiser": "adamw",
        "learning_rate": 0.002,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batch_size": 64,
    }

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(epochs=30, **_mixmatch),
            note="narrow encoders, images up to 64 px; levels are named with --levels",
        ),
        "cifar100": Preset(
            settings=Settings(levels=("coarse_label",), unlabelled_weight=150.0, momentum=0.999),
            optimisation=Optimisation(epochs=500 * 1024 * 64 / 40_000, **_mixmatch),
            note="the published recipe for CIFAR-100 with 10,000 fine labels and its 20 superclasses, wrn28_8_leaky; "
            "500 x 1,024 steps are so many passes over 40,000 unlabelled images",
        ),
        "cifar100_partial": Preset(
            settings=Settings(levels=("coarse_label",), partial=True, unlabelled_weight=150.0, momentum=0.999),
            optimisation=Optimisation(epochs=500 * 1024 * 64 / 40_000, **_mixmatch),
            note="the same where some images have a coarse label alone",
        ),
        "cifar100_fixmatch": Preset(
            settings=Settings(
                form="fixmatch", levels=("coarse_label",), unlabelled_weight=1.0, momentum=0.999, shrink=0.0
            ),
            optimisation=Optimisation(
                learning_rate=0.03, weight_decay=1e-3, nesterov=True, batch_size=7 * 64, epochs=2**20 * 448 / 40_000
            ),
            note="FixMatch's recipe for CIFAR-100 at every level: 64 labelled and 448 other images a step, 2^20 steps",
            differs={"rate": "a half cosine to 0; published for FixMatch: cos(7 pi t / 16 T)"},
        ),
    }


def few(ratio: int) -> Drawing:
    """Shuffled passes end to end, in batches `ratio` times smaller than those of the run."""

    def drawing(rows: Rows, batch_size: int, seed: int) -> Order:
        return Endless(len(rows.labels_M), max(1, batch_size // ratio), seed)

    return drawing


def without_label(rows: Rows) -> NDArray[np.bool_]:
    """Which images have no fine label; all where each has one."""
    return none_or_all(rows.labels_M < 0)


def without(column: str) -> Callable[[Rows], NDArray[np.bool_]]:
    """Which images have no class in a column; all where each has one."""
    return lambda rows: none_or_all(rows.column(column) < 0)


def none_or_all(free_M: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those that are free, or all where none is."""
    return free_M if free_M.any() else np.ones_like(free_M)


def known_at(columns: Sequence[str]) -> Callable[[Rows], NDArray[np.bool_]]:
    """Which images have a class in each of some columns."""
    return lambda rows: np.logical_and.reduce(
        [np.ones(len(rows.labels_M), bool), *(rows.column(name) >= 0 for name in columns)]
    )


def view_policies(settings: HierMatch.Settings, facts: Facts) -> dict[str, ViewPolicy]:
    """Flip and padded crop (4 of 32 px) for all; FixMatch's second views with operations and cut-out as well."""
    light = padded(facts.image_size, pad=max(1, facts.image_size // 8))
    strong = replace(light, operations=random_magnitudes(2), cut_out=CutOut(side=0.5))
    second = light if settings.form == "mixmatch" else strong
    own = range(1, len(settings.levels) + 1) if settings.partial else ()
    found = {LABELLED: light, ROLES[0]: light, ROLES[1]: second}
    for number in own:
        found |= {f"{LABELLED}_{number}": light, f"{ROLES[0]}_{number}": light, f"{ROLES[1]}_{number}": second}
    return found


def parts_of(settings: HierMatch.Settings, views: Views, batch: Batch) -> list[Part]:
    """The rows that the levels train on: the same images for all, or separate ones for each."""

    def images(end: str) -> tuple[Tensor, Tensor, Tensor]:
        labelled, first, second = (views[f"{role}{end}"].image for role in (LABELLED, *ROLES))
        return labelled, first, second

    known = batch.others[LABELLED]
    if known.labels is None:
        raise InputError("hiermatch learns from some fine labels, and the data has none")
    x, u, v = images("")
    if not settings.partial:
        coarse = {level: known.columns[name] for level, name in enumerate(settings.levels, start=1)}
        return [Part(x, {0: known.labels, **coarse}, u, v)]
    parts = [Part(x, {0: known.labels}, u, v)]
    for level, name in enumerate(settings.levels, start=1):
        x, u, v = images(f"_{level}")
        parts.append(Part(x, {level: batch.others[f"{LABELLED}_{level}"].columns[name]}, u, v))
    return parts


def drawn_mixture(alpha: float, rows: int, device: torch.device) -> tuple[float, Tensor]:
    """The share of a row in its mixture, at least a half, and the order of the rows that it is mixed with.

    Both are for the whole batch, the same in all processes.
    """
    share = torch.distributions.Beta(torch.tensor(alpha), torch.tensor(alpha)).sample()
    order_R = common(torch.randperm(rows).to(device))
    half = float(common(share.reshape(1).to(device)))
    return max(half, 1.0 - half), order_R
