"""MoCo v2: contrast of a query's own key with a queue of keys of other images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.moco import MocoSettings, key, moco_parts, pairs
from likewise.similarity import contrast
from likewise.teachers import evaluated


class Own(NamedTuple):
    """One additional negative for each query, which other queries do not use and which does not enter the queue."""

    image: Tensor
    """(B, 3, H, W) as the key encoder is shown it."""
    used: Tensor
    """(B,) bool: which queries have one."""


class MoCoV2(Method):
    """Momentum Contrast, version 2.

    The exact one-hot counterpart of ISD: with q the unit query of one view, k the unit key that the momentum encoder
    gives to the other, and N the queue of earlier keys,

        L = -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.N_j/T)) ),   mean over the batch.

    No predictor, no batch normalisation in the head. Order inside a step: key encoder moves, both look, logits against
    the queue as it was, then the keys enter the queue (before the logits they would be their own negatives).

    He, Fan, Wu, Xie, Girshick: Momentum Contrast, CVPR 2020, arXiv 1911.05722, algorithm 1; Chen, Fan, Girshick, He:
    Improved Baselines with Momentum Contrastive Learning, 2020, arXiv 2003.04297.
    """

    card: ClassVar[Card] = Card(
        title="Momentum Contrast v2",
        paper="Chen, Fan, Girshick, He. Improved Baselines with Momentum Contrastive Learning. 2020, arXiv 2003.04297",
        summary="The reference contrastive baseline for small batches, and the hard-label counterpart of ISD.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(MocoSettings):
        """Settings of MoCo v2. The defaults are those of the small preset."""

        hidden: bool = True
        """The v2 head F - F - D; without it one linear layer F - D as in v1 and in the official CIFAR-10 notebook."""
        symmetric: bool = False
        """Sum of the losses of both directions, with both views' keys entering the queue."""

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.student, self.teacher, self.queue, self.views = moco_parts(
            encoder, settings, facts, hidden=settings.hidden
        )

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the query encoder as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Contrast of each query with its key against the queue; then the keys enter it."""
        return self.contrasted(views, batch)

    def contrasted(self, views: Views, batch: Batch, own: Own | None = None) -> Terms:
        """The step, for methods around this one with negatives of each query's `own`; those are of the first view's."""
        symmetric, shuffle = self.settings.symmetric, self.settings.shuffle
        seen = pairs(self.student, self.teacher, views, symmetric=symmetric, shuffle=shuffle)
        losses: list[Tensor] = []
        for q_BD, k_BD in seen:
            mine = key(self.teacher, own.image, shuffle=shuffle) if own is not None and not losses else None
            used = None if own is None else own.used
            rows, temperature = self.queue.rows, self.settings.temperature
            losses.append(contrast(q_BD, k_BD, rows, temperature, own_negative_BD=mine, with_own_B=used))
        for _, k_BD in seen:
            self.queue.push(gather(k_BD), label=gather(batch.labels))
        return Terms(torch.stack(losses).sum(), {}, seen[0][0].detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Query encoder as student, key encoder as teacher."""
        return evaluated(self.student, self.teacher)

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(queue_size=65_536, temperature=0.2, momentum=0.999),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published recipe, ImageNet, ResNet-50",
        ),
        "cifar": Preset(
            settings=Settings(hidden=False, crop_scale=(0.08, 1.0)),
            optimisation=Optimisation(
                learning_rate=0.06, weight_decay=5e-4, schedule="cosine_epoch", batch_size=512, epochs=200
            ),
            note="the official CIFAR-10 notebook, ResNet-18",
            normalisation="cifar10",
        ),
    }
