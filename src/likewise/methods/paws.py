"""PAWS: views agree on a soft class prediction from a few labelled support images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from likewise.data.batches.streams import Stream
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least
from likewise.methods.parts.supports import (
    Supports,
    SupportSettings,
    neighbourly,
    projector,
    seen,
    support_streams,
    support_views,
    supports_of,
)
from likewise.similarity import unit
from likewise.similarity.labelled.support import soft_neighbours

_RECENT = "recent labelled embeddings are kept for the probe `own`; none take part in the loss. Published: no memory"


class PAWS(Method):
    """Predicting View Assignments With Support Samples.

    Supports s_j are labelled images, equally many of each class, with smoothed one-hot rows Y. An image's soft class is
    what its neighbours among them have:

        p(x) = softmax_j( cos(x, s_j) / tau ) Y,   r(p)_c = p_c^(1/T) / sum_c' p_c'^(1/T)

    With z of a view from the prediction head (the projector where there is none) and h from the projector, a large
    view's target is r(p(h)) of the other large view, a small view's the mean of both; entries below 1e-4 are 0:

        L = mean over all views of -sum_c t_c log p_c(z)  +  sum_c m_c log m_c,   m = mean over all views of r(p(z)).

    The second term is minus the entropy of the mean prediction: without it all images fall into one class. Gradient
    goes to views and supports of the first kind, never to targets. Labels of the images themselves are not looked at.

    With `support_memory` supports are the step's and the last labelled embeddings before (ours): a step with few
    supports then sees as many as the paper's, of which the older ones carry no gradient.

    Order inside a step: both streams through the network, loss, then the supports enter the memory of recent ones,
    which `logits` is answered by.

    Assran, Caron, Misra, Bojanowski, Joulin, Ballas, Rabbat: Semi-Supervised Learning of Visual Features by
    Non-Parametrically Predicting View Assignments with Support Samples, ICCV 2021, arXiv 2104.13963, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Predicting View Assignments with Support Samples",
        paper="Assran, Caron, Misra, Bojanowski, Joulin, Ballas, Rabbat. Semi-Supervised Learning of Visual Features "
        "by Non-Parametrically Predicting View Assignments with Support Samples. ICCV 2021, arXiv 2104.13963",
        summary="When a few images of every class have labels: far fewer epochs than learning without labels first. "
        "Not for unknown classes, or very unbalanced ones: all classes are used equally.",
        needs=("some labels",),
        memory="none",
        uniform_prior=True,
        within_batch=True,
    )

    answers_from = ("recent",)

    @dataclass(frozen=True, kw_only=True)
    class Settings(SupportSettings):
        """Settings of PAWS. The defaults are those of the small preset."""

        prediction_head: bool = False
        """Whether anchors pass through a prediction head after the projector, as on ImageNet."""
        mean_entropy: float = 1.0
        """Weight of the term that keeps all classes in use."""
        support_memory: int = 0
        """Rows of earlier labelled embeddings that are supports as well (ours); 0: none."""
        recent: int = 2048
        """Rows of labelled embeddings that are kept for `logits`, which the probe `own` scores."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("mean_entropy", self.mean_entropy, 0.0)
            at_least("support_memory", self.support_memory, 0)
            at_least("recent", self.recent, 1)

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """All images, and the supports."""
        return support_streams(settings, facts)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if facts.classes < 2:
            raise InputError("paws needs some labels of two classes or more: without labels use isd or byol")
        self.settings, self.classes, dim = settings, facts.classes, settings.embedding
        self.encoder = encoder
        self.projector = projector(encoder, dim)
        self.predictor = (
            nn.Sequential(nn.BatchNorm1d(dim), *heads.mlp([dim, max(1, dim // 4), dim]))
            if settings.prediction_head
            else None
        )
        self.recent = Queue(max(settings.recent, settings.support_memory), dim, columns={"label": LABEL})
        self.views = support_views(encoder, settings, facts)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Views of all images against the supports; then the supports are remembered."""
        settings = self.settings
        h = seen(self.encoder, self.projector, views, self.views)
        z_VD, s_SD = h.views, h.supports
        if self.predictor is not None:
            together = self.predictor(torch.cat([s_SD, z_VD]))
            s_SD, z_VD = together[: len(s_SD)], together[len(s_SD) :]
        supports = supports_of(s_SD, batch, settings.support_views)
        plain = supports_of(h.supports.detach(), batch, settings.support_views)
        anchored, result = self.with_memory(supports), self.with_memory(plain)
        found = neighbourly(z_VD, anchored, h.views.detach(), result.rows, settings)
        loss = found.consistency + settings.mean_entropy * found.mean_entropy
        self.recent.push(unit(plain.rows), label=plain.labels)
        parts = {"consistency": found.consistency.detach(), "mean_entropy": found.mean_entropy.detach(), **found.parts}
        return Terms(loss, parts, h.views[: len(batch.ids)].detach())

    def with_memory(self, supports: Supports) -> Supports:
        """The supports, and the rows of the memory that were written before this step."""
        rows = min(self.settings.support_memory, int(self.recent.filled))
        if not rows:
            return supports
        newest_R = (self.recent.position - 1 - torch.arange(rows, device=self.recent.rows.device)) % self.recent.size
        kept_RD, labels_R = self.recent.rows[newest_R], self.recent.column("label")[newest_R]
        return Supports(
            torch.cat([supports.rows, kept_RD.to(supports.rows.dtype)]), torch.cat([supports.labels, labels_R])
        )

    def logits(self, image: Tensor) -> Tensor:
        """(B, classes) log of the soft class by the labelled embeddings remembered last, labels not smoothed."""
        h_BD = self.projector(self.encoder(image))
        labels_R = self.recent.column("label")
        written_R = labels_R >= 0
        rows_RC = nn.functional.one_hot(labels_R[written_R], self.classes).to(h_BD.dtype)
        p_BC = soft_neighbours(h_BD, self.recent.rows[written_R], rows_RC, self.settings.temperature)
        return p_BC.clamp_min(1e-12).log()

    def encoders(self) -> dict[str, nn.Module]:
        """The one network there is."""
        return {"student": self.encoder}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.1, weight_decay=5e-4, batch_size=128, epochs=30),
            note="narrow encoders, images up to 64 px, a support of 16 images a class",
        ),
        "cifar": Preset(
            settings=Settings(per_class=64, support_views=2, small_crops=6, small_size=18),
            optimisation=Optimisation(
                optimiser="lars",
                lars_form="paws",
                learning_rate=3.2,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=10 / 600,
                warmup_from=0.25,
                final=0.01,
                batch_size=256,
                epochs=600,
            ),
            normalisation="cifar10",
            differs={"memory": _RECENT},
            note="the published recipe for CIFAR-10 with 4,000 labels, WideResNet-28-2",
        ),
        "imagenet": Preset(
            settings=Settings(
                support_classes=960,
                per_class=7,
                small_crops=6,
                large_scale=(0.14, 1.0),
                small_scale=(0.05, 0.14),
                jitter=1.0,
                solarise=0.0,
                equalise=0.0,
                grey=0.2,
                prediction_head=True,
                embedding=2048,
                recent=8192,
            ),
            optimisation=Optimisation(
                optimiser="lars",
                lars_form="paws",
                learning_rate=6.4,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=10 / 100,
                warmup_from=0.3 / 6.4,
                final=0.01,
                batch_size=4096,
                epochs=100,
            ),
            differs={"memory": _RECENT},
            note="the published recipe for ImageNet with 1 or 10 % of the labels, ResNet-50, 64 devices",
        ),
    }
