"""NNCSL: continual learning of classes in tasks with few labels, by soft nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Rows, Stream
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, positive
from likewise.methods.parts.supports import (
    Seen,
    Supports,
    SupportSettings,
    neighbourly,
    projector,
    seen,
    support_streams,
    support_views,
    supports_of,
)
from likewise.similarity.labelled.support import distilled_neighbours, smoothed, soft_neighbours
from likewise.teachers import Frozen


class Previous(nn.Module):
    """Encoder and projector as they were at the end of the task before."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


class NNCSL(Method):
    """Soft Nearest-Neighbour Continual Semi-supervised Learning.

    PAWS on one task of classes after the other. Unlabelled images are those of the current task; supports are labelled
    images of it and, from a small buffer, of the tasks before. With snn the soft class by neighbours among supports
    (see `paws`):

        L = L_snn + L_me + w_c L_cls + w_d L_nnd

    L_snn and the mean-entropy term L_me are PAWS's, among the supports of the CURRENT classes alone ("filtering"),
    since the unlabelled images are of no other. L_cls is the cross-entropy of a linear classifier on the encoder's
    features of all supports, over the classes seen so far. L_nnd asks of every view that its soft class among supports
    of the OLD classes is what the previous task's frozen network gave: mean of -sum_c p_old,c log p_new,c, with
    gradient to views and supports of the new one. w_d = 0 is CSL.

    The classifier answers: one head for all classes, no task is named. `likewise recipes nncsl` trains the chain and
    keeps the buffer; `current`, `total` and `previous` are what it sets.

    Order inside a step: both streams through the network, the same views through the previous one, losses.

    Kang, Fini, Nabi, Ricci, Alahari: A Soft Nearest-Neighbor Framework for Continual Semi-Supervised Learning, ICCV
    2023, arXiv 2212.05102, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Soft Nearest-Neighbour Continual Semi-supervised Learning",
        paper="Kang, Fini, Nabi, Ricci, Alahari. A Soft Nearest-Neighbor Framework for Continual Semi-Supervised "
        "Learning. ICCV 2023, arXiv 2212.05102",
        summary="When classes arrive one group after the other, with few labels in each, and the old ones must not be "
        "forgotten.",
        needs=("some labels",),
        uniform_prior=True,
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(SupportSettings):
        """Settings of NNCSL. The defaults are those of the small preset."""

        per_class: int = 5
        """Support images of each class seen so far."""
        support_views: int = 2
        """Views of each support image."""
        current: tuple[int, ...] = ()
        """Classes of this task, as the data numbers them; none given: all that have labels."""
        total: int = 0
        """Classes of all tasks together, which the classifier has room for; 0: those that are known now."""
        previous: str = ""
        """Run of the task before, whose network is imitated on the old classes; empty in the first task."""
        classifier_weight: float = 0.005
        """w_c: weight of the classifier's loss."""
        distillation_weight: float = 0.2
        """w_d: weight of the imitation of the previous network; 0 is CSL."""
        classifier_rate: float = 1.0
        """Factor on the learning rate of the classifier, which is not decayed; .12 of the recipes' 0.4 or 1.2."""
        detach: bool = False
        """Whether the classifier leaves the encoder alone, as in the paper's PAWS baseline."""
        every_support: bool = False
        """Whether soft neighbours are sought among supports of all classes seen, without filtering, as PAWS has it."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("total", self.total, 0)
            at_least("classifier_weight", self.classifier_weight, 0.0)
            positive("classifier_rate", self.classifier_rate)
            at_least("distillation_weight", self.distillation_weight, 0.0)

        def idle(self) -> dict[str, str]:
            """Settings that a first task, or a single one, has no use for."""
            first = {} if self.previous else {"distillation_weight": "previous"}
            alone = {} if self.current else {"every_support": "current"}
            return super().idle() | first | alone

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Images of the current task, labelled or not; and supports of all classes that have labels."""
        streams = dict(support_streams(settings, facts))
        if settings.current:

            def of_the_task(rows: Rows) -> NDArray[np.bool_]:
                return (rows.labels_M < 0) | np.isin(rows.labels_M, settings.current)

            streams[MAIN] = replace(streams[MAIN], where=of_the_task)
        return streams

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        classes = settings.total or facts.classes
        if classes < 2:
            raise InputError("nncsl needs some labels of two classes or more: without labels use isd or byol")
        if facts.classes < 1 or classes < max(facts.classes, *settings.current, 0):
            raise InputError(
                f"nncsl needs some labels, of at most total={settings.total} classes: the data has {facts.classes}"
            )
        self.settings, self.encoder = settings, encoder
        self.projector = projector(encoder, settings.embedding)
        self.classifier = nn.Linear(encoder.features, classes)
        self.register_buffer("known", torch.zeros(classes, dtype=torch.bool))
        self.previous = previous_network(settings.previous) if settings.previous else None
        self.views = support_views(encoder, settings, facts)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Soft neighbours among the current classes, the classifier on all, imitation on the old ones."""
        settings = self.settings
        now = seen(self.encoder, self.projector, views, self.views)
        supports = supports_of(now.supports, batch, settings.support_views)
        self.known[supports.labels] = True
        current_S = self.is_current(supports.labels)
        mine = supports if settings.every_support else part(supports, current_S)
        if not len(mine.labels):
            raise InputError(f"nncsl: no image with a label is of the current classes {list(settings.current)}")
        found = neighbourly(now.views, mine, now.views.detach(), mine.rows.detach(), settings)
        classified = self.classified(now, batch)
        loss = found.consistency + found.mean_entropy + settings.classifier_weight * classified
        parts = {"consistency": found.consistency, "mean_entropy": found.mean_entropy, "classification": classified}
        if self.previous is not None and bool((~current_S).any()):
            distilled = self.distilled(now, part(supports, ~current_S), ~current_S, views, batch)
            loss = loss + settings.distillation_weight * distilled
            parts["distillation"] = distilled
        result = {name: value.detach() for name, value in parts.items()}
        return Terms(loss, {**result, **found.parts}, now.views[: len(batch.ids)].detach())

    def is_current(self, labels_S: Tensor) -> Tensor:
        """(S,) bool, whether a class belongs to this task."""
        if not self.settings.current:
            return torch.ones_like(labels_S, dtype=torch.bool)
        return torch.isin(labels_S, labels_S.new_tensor(self.settings.current))

    def classified(self, now: Seen, batch: Batch) -> Tensor:
        """Cross-entropy of the classifier on all supports of this process, over the classes seen so far."""
        labels_B = cast("Tensor", batch.others["support"].labels).repeat(self.settings.support_views)
        features = now.features.detach() if self.settings.detach else now.features
        logits_SC = self.classifier(features).float().masked_fill(~self.known, -torch.inf)
        return nn.functional.cross_entropy(logits_SC, labels_B)

    def distilled(self, now: Seen, old: Supports, rows_S: Tensor, views: Views, batch: Batch) -> Tensor:
        """L_nnd: the soft class among supports of old classes, as the previous network had it."""
        network = cast("Previous", cast("Frozen", self.previous).network)
        settings = self.settings
        with torch.no_grad():
            then = seen(network.encoder, network.head, views, self.views)
            before = part(supports_of(then.supports, batch, settings.support_views), rows_S)
        known_C, column_S = torch.unique(old.labels, return_inverse=True)
        rows_SC = smoothed(column_S, len(known_C), settings.smoothing, old.rows.dtype)
        p_VC = soft_neighbours(now.views, old.rows, rows_SC, settings.temperature)
        q_VC = soft_neighbours(then.views, before.rows, rows_SC, settings.temperature)
        return distilled_neighbours(p_VC, q_VC)

    def logits(self, image: Tensor) -> Tensor:
        """(B, classes) by the classifier; -inf for classes that were never seen."""
        logits_BC: Tensor = self.classifier(self.encoder(image))
        return logits_BC.masked_fill(~self.known, -torch.inf)

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Encoder and projector; the classifier, without decay and at its own rate."""
        return [
            {"params": [*self.encoder.parameters(), *self.projector.parameters()]},
            {
                "params": list(self.classifier.parameters()),
                "rate": self.settings.classifier_rate,
                "weight_decay": 0.0,
            },
        ]

    def encoders(self) -> dict[str, nn.Module]:
        """The one network there is."""
        return {"student": self.encoder}

    known: Tensor

    _published: ClassVar[dict[str, Any]] = {
        "optimiser": "lars",
        "lars_form": "paws",
        "weight_decay": 1e-5,
        "decay_norms_and_biases": False,
        "warmup": 10 / 250,
        "epochs": 250,
    }

    _differs: ClassVar = {"groups": "the classifier's bias is not scaled by lars; in the official code it is"}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, batch_size=64, epochs=10),
            note="one task of narrow encoders, images up to 64 px",
        ),
        "cifar10": Preset(
            settings=Settings(small_size=18, classifier_rate=0.12 / 0.4),
            normalisation="cifar10",
            differs=_differs,
            optimisation=Optimisation(learning_rate=0.4, warmup_from=0.2, final=0.08, **_published),
            note="the published recipe of one of five tasks of CIFAR-10, ResNet-18",
        ),
        "cifar100": Preset(
            settings=Settings(small_size=18, per_class=3, classifier_rate=0.12 / 1.2),
            normalisation="cifar10",  # as published: the statistics of CIFAR-10
            differs=_differs,
            optimisation=Optimisation(learning_rate=1.2, warmup_from=0.08 / 1.2, final=0.032 / 1.2, **_published),
            note="the published recipe of one of ten tasks of CIFAR-100, ResNet-18",
        ),
    }


def part(supports: Supports, rows_S: Tensor) -> Supports:
    """Some of the supports."""
    return Supports(supports.rows[rows_S], supports.labels[rows_S])


def previous_network(run: str) -> Frozen:
    """The network that a run of NNCSL ended with. Raises InputError where there is none."""
    from likewise.methods.whole import restore

    method = restore(run)
    if not isinstance(method, NNCSL):
        raise InputError(f"{run} was trained by another method than nncsl, which the task before has to be")
    return Frozen(Previous(method.encoder, method.projector))
