"""GCD: contrast of all images by their views, and of the labelled ones by their class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from likewise.data.batches.streams import Stream
from likewise.encoders import Encoder
from likewise.methods.method import Batch, Card, Facts, Method, Preset, Terms, Views
from likewise.methods.parts.discovery import (
    FIXED_CROP,
    PUBLISHED,
    BranchSettings,
    branch_head,
    branch_views,
    check_labelled,
    equally,
    freeze,
    gcd_loss,
    labels_of,
    published,
    small,
)


class GCD(Method):
    """Generalised Category Discovery, the training before its clustering.

    Some images have labels, of some of the classes. With h the unit outputs of both views of B images (2B rows), and
    P(i) the other rows with the label of i,

        L = (1 - w) L_views + w L_labels
        L_views  = mean_i -log( exp(h_i.h_i'/Tu) / sum_{j != i} exp(h_i.h_j/Tu) ),   i' the other view
        L_labels = mean_{labelled i} mean_{j in P(i)} -log( exp(h_i.h_j/T) / sum_{labelled k != i} exp(h_i.h_k/T) )

    Labelled and unlabelled images are drawn equally often on average, with replacement. The head is dropped; `likewise
    discover` clusters the encoder's features. Labels of -1 reach no loss.

    Vaze, Han, Vedaldi, Zisserman: Generalized Category Discovery, CVPR 2022, arXiv 2201.02609, section 3.1.
    """

    card: ClassVar[Card] = Card(
        title="Generalised Category Discovery",
        paper="Vaze, Han, Vedaldi, Zisserman. Generalized Category Discovery. CVPR 2022, arXiv 2201.02609",
        summary="When some classes are named and others are not: before likewise discover. Best from an encoder that "
        "was trained before (--start).",
        needs=("some labels",),
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(BranchSettings):
        """Settings of GCD. The defaults are those of the small preset."""

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Labelled and unlabelled images equally often."""
        return equally()

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        check_labelled("gcd", facts)
        self.settings = settings
        freeze(encoder, settings.tuned)
        self.network = nn.Sequential(encoder, *branch_head(encoder.features, settings))
        self.views = branch_views(settings, facts)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Both views through the network at once, then both losses."""
        h_RD = self.network(torch.cat([views["first"].image, views["second"].image]))
        loss, unsupervised, by_label = gcd_loss(h_RD, labels_of(batch), self.settings)
        parts = {"views": unsupervised.detach(), "labels": by_label.detach()}
        return Terms(loss, parts, h_RD[: len(batch.ids)].detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"student": self.network[0]}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=small(epochs=30),
            note="narrow encoders, images up to 64 px, minutes of training",
        ),
        "vit": Preset(
            settings=Settings(**PUBLISHED),
            optimisation=published(epochs=200),
            note="the published recipe, ViT-B/16 of DINO, its last block trained: --encoder vit_base_patch16_224.dino "
            "--pretrained",
            differs={"views": FIXED_CROP},
        ),
    }
