"""Truncated triplet loss: nearer to the other view than to a band of near, but not the nearest, other images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.distributed import common, gather, positions
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, between, positive
from likewise.schedules import rising_momentum
from likewise.similarity import own_columns, similarities, unit
from likewise.teachers import Momentum
from likewise.views.policies.pair import two_views

Negatives = Literal["band", "median", "all"]


def band(negatives: Negatives, low: int, high: int, others: int) -> tuple[int, int]:
    """First and last rank, counted from the hardest of `others` negatives as 1, that are averaged.

    Too few negatives narrow the band. A `high` of 0 stands for the nearest 5 % of the batch. The median of an even
    number is the lower of the two distances in the middle.
    """
    if negatives == "all":
        return 1, others
    if negatives == "median":
        return (others + 1) // 2, (others + 1) // 2
    last = min(high or max(3, round(0.05 * (others + 1))), others)
    return min(low, last), last


def truncated_triplet(
    prediction_BD: Tensor,
    target_BD: Tensor,
    *,
    margin: float,
    gamma: float,
    low: int = 2,
    high: int = 10,
    negatives: Negatives = "band",
) -> Tensor:
    """Hinge on the positive's distance and the mean distance of a band of negatives (arXiv 2104.08760, section 3).

    L = mean_i max(0, margin + gamma d_ii - mean of d_ij over ranks low..high of j != i), d_ij = -2 p_i.g_j with unit
    p and g: the squared distance less 2. Negatives are the targets of the global batch. Gradient goes to p alone.
    """
    p_BD, g_BD = unit(prediction_BD), unit(target_BD).detach()
    near_BN = similarities(p_BD, gather(g_BD))
    own_B = near_BN.gather(1, positions(p_BD).unsqueeze(1)).squeeze(1)
    first, last = band(negatives, low, high, near_BN.shape[1] - 1)
    others_BN = near_BN.masked_fill(own_columns(p_BD, near_BN.shape[1]), -torch.inf)
    band_B = others_BN.topk(last, dim=1).values[:, first - 1 :].mean(1)
    return functional.relu(margin - 2 * gamma * own_B + 2 * band_B).mean()


class Triplet(Method):
    """Truncated triplet loss.

    BYOL's networks, with a push: with p the unit prediction of one view, g the unit target of the slow teacher for the
    other, and d_ij = -2 p_i.g_j,

        L = mean_i max(0, margin + gamma d_ii - mean of d_ij over ranks 2..10 of the hardest j != i)

    summed over both directions. The hardest negative is likely of the same class, so it is left out; most are too easy
    to teach anything, so they are as well. The margin of 100 keeps the hinge open always: the loss is linear, near 100,
    and no gradient vanishes.

    The published code takes negatives from the batch of one device; here they come from the whole batch, so that the
    number of processes changes nothing. Order inside a step: both look, loss, optimiser, then the teacher moves.

    Wang, Wang, Wang, Torr, Lin: Solving Inefficiency of Self-supervised Representation Learning, ICCV 2021,
    arXiv 2104.08760.
    """

    card: ClassVar[Card] = Card(
        title="Truncated Triplet",
        paper="Wang, Wang, Wang, Torr, Lin. Solving Inefficiency of Self-supervised Representation Learning. "
        "ICCV 2021, arXiv 2104.08760",
        summary="For short schedules and small batches, without memory and without temperature.",
        smallest_batch=2,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of the truncated triplet. The defaults are those of the small preset."""

        negatives: Negatives = "band"
        """band: mean of ranks rank_low to rank_high. median: the middle one. all: mean of all of them."""
        rank_low: int = 2
        """First rank of the band, the hardest negative being 1; with rank_high the same, only that rank."""
        rank_high: int = 10
        """Last rank of the band; 0 stands for 5 % of the batch. Small batches narrow the band."""
        gamma: float = 2.0
        """Weight of the positive's distance."""
        margin: float = 100.0
        """Margin of the hinge. Above 4 it is open for every image; a small one lets most teach nothing."""
        momentum: float = 0.9
        """m: share of its old weights that the teacher keeps at first; rises to 1 over the budget along a cosine."""
        hidden: int = 1024
        """Width of the hidden layer of projector and predictor."""
        embedding: int = 128
        """Length D of the embedding."""
        resize_student: float = 1.0
        """Smallest share of its side that a student's batch is resized to, drawn at each pass; 1 turns it off."""
        resize_teacher: float = 1.0
        """The same for the teacher."""
        crop_scale: tuple[float, float] = (0.08, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            at_least("rank_low", self.rank_low, 1)
            if self.rank_high and self.rank_high < self.rank_low:
                raise InputError(
                    f"rank_high={self.rank_high} is below rank_low={self.rank_low}: allowed are 0 and from "
                    f"{self.rank_low}"
                )
            positive("gamma", self.gamma)
            at_least("margin", self.margin, 0.0)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("hidden", self.hidden, 1)
            at_least("embedding", self.embedding, 1)
            between("resize_student", self.resize_student, 0.1, 1.0)
            between("resize_teacher", self.resize_teacher, 0.1, 1.0)

        def idle(self) -> dict[str, str]:
            """The band, where it is not what is averaged."""
            return {} if self.negatives == "band" else dict.fromkeys(("rank_low", "rank_high"), "negatives=band")

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        if min(settings.resize_student, settings.resize_teacher) < 1 and hasattr(encoder.backbone, "patch_embed"):
            raise InputError(
                f"encoder {encoder.spec.name!r} looks at patches: resize_student and resize_teacher must be 1 for it"
            )
        hidden, dim = settings.hidden, settings.embedding
        self.student = nn.Sequential(encoder, heads.mlp([encoder.features, hidden, dim]))
        self.predictor = heads.mlp([dim, hidden, dim])
        self.teacher = Momentum(self.student)
        self.views = two_views(facts.image_size, scale=settings.crop_scale, interpolation="bicubic")

    def after_step(self, progress: Progress) -> None:
        """The teacher moves towards the new weights, more slowly as the budget is used."""
        self.teacher.update(self.student, rising_momentum(self.settings.momentum, progress.fraction))

    def step(self, views: Views, batch: Batch) -> Terms:
        """Sum of the losses of both directions."""
        first, second = views["first"].image, views["second"].image
        p_BD, other_BD = (self._predict(image) for image in (first, second))
        loss = self._loss(p_BD, second) + self._loss(other_BD, first)
        return Terms(loss, {}, p_BD.detach())

    def _predict(self, image: Tensor) -> Tensor:
        prediction: Tensor = self.predictor(self.student(resized(image, self.settings.resize_student)))
        return prediction

    def _loss(self, prediction_BD: Tensor, image: Tensor) -> Tensor:
        settings = self.settings
        return truncated_triplet(
            prediction_BD,
            self.teacher(resized(image, settings.resize_teacher)),
            margin=settings.margin,
            gamma=settings.gamma,
            low=settings.rank_low,
            high=settings.rank_high,
            negatives=settings.negatives,
        )

    def encoders(self) -> dict[str, nn.Module]:
        """Online network as student, target network as teacher, each with its own running statistics."""
        return {"student": self.student[0], "teacher": self.teacher.network.get_submodule("0")}

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(
                momentum=0.99, hidden=4096, embedding=256, resize_student=96 / 224, resize_teacher=128 / 224
            ),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=4.8,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=10 / 200,
                batch_size=6272,
                epochs=200,
            ),
            differs={
                "batch norm": "statistics of the whole batch; published: of each of 4 parts of a step, over 8 "
                "devices, which --accumulate 4 gives"
            },
            note="the published recipe, ImageNet, ResNet-50; negatives came from the 196 images of one device "
            "there, and come from those of all processes here: --accumulate 32 on one process makes them the same",
        ),
    }


def resized(image: Tensor, smallest: float) -> Tensor:
    """The batch at a random square size from `smallest` of its side up to all of it, one draw for all processes."""
    if smallest == 1:
        return image
    full = image.shape[-1]
    side = int(common(torch.randint(round(smallest * full), full + 1, (1,), device=image.device)))
    return image if side == full else functional.interpolate(image, (side, side), mode="bilinear")
