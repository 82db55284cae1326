"""MCL with labels: classifiers trained together, by contrast of classes within and between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Stream, shuffled, together
from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.methods.mcl import encoders
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, positive
from likewise.similarity.mutual import classification, imitation, supervised_mutual_contrast
from likewise.views import padded, weak


class MCLSupervised(Method):
    """Mutual contrastive learning with labels.

    M networks of the same kind differ in their random start alone, and all see the same view. Each has a classifier
    and an embedding; embeddings of the batch are contrasted by class within (VCL) and between networks (ICL), and each
    network imitates the similarities that the others find (soft VCL, soft ICL):

        L = sum_m CE_m + w_v VCL + w_sv soft VCL + w_i ICL + w_si soft ICL (+ w_l imitation of the mean logits)

    There is neither memory nor moving average. A class with one image in the batch has no contrast: the batch should be
    several times the number of classes, or `per_class` says how many images of a class come together. One network is
    kept, the first, after the last step: the official code reports the best network of the best epoch on the test set.

    Yang, An, Cai, Xu: Mutual Contrastive Learning for Visual Representation Learning, AAAI 2022, arXiv 2104.12565.
    """

    card: ClassVar[Card] = Card(
        title="Mutual Contrastive Learning with labels",
        paper="Yang, An, Cai, Xu. Mutual Contrastive Learning for Visual Representation Learning. AAAI 2022, "
        "arXiv 2104.12565",
        summary="With labels for all images: classifiers that teach each other, of which one is kept, at the cost "
        "of one when used.",
        needs=("labels",),
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of MCL with labels. The defaults are those of the small preset, and the official ones for CIFAR."""

        networks: int = 2
        """M: networks that learn together; 2 or 4 in the paper."""
        temperature: float = 0.1
        """t: divides all similarities."""
        kl_temperature: float = 3.0
        """T: divides logits once more where distributions are imitated, whose divergence counts T^2 times."""
        vcl_weight: float = 0.1
        """w_v: weight of the contrast of classes within each network."""
        soft_vcl_weight: float = 1.0
        """w_sv: weight of the imitation of each other's similarities."""
        icl_weight: float = 0.1
        """w_i: weight of the contrast of classes between networks."""
        soft_icl_weight: float = 1.0
        """w_si: weight of the imitation of similarities between networks."""
        logit_weight: float = 0.0
        """w_l: weight of the imitation of the mean of all logits; of more than two networks only the last imitates."""
        own_is_positive: bool = False
        """Between networks an image is a positive of itself, as in the paper; the official code leaves it out."""
        per_class: int = 0
        """Images of each class in a batch, at least; 2 in the official code. 0: as they come."""
        embedding: int = 128
        """Length D of the embedding."""
        crop_scale: tuple[float, float] = (0.4, 1.0)
        """Smallest and largest share of the image that a crop covers."""
        pad: int = 0
        """Pixels of black that an image is given on each side before it is cropped at its own size, 4 in the official
        code; 0: crops of `crop_scale`, resized."""

        def __post_init__(self) -> None:
            at_least("networks", self.networks, 2)
            positive("temperature", self.temperature)
            positive("kl_temperature", self.kl_temperature)
            for name in ("vcl_weight", "soft_vcl_weight", "icl_weight", "soft_icl_weight", "logit_weight"):
                at_least(name, getattr(self, name), 0.0)
            at_least("per_class", self.per_class, 0)
            at_least("embedding", self.embedding, 1)
            at_least("pad", self.pad, 0)

        def idle(self) -> dict[str, str]:
            """The scale of crops that are not resized."""
            return {"crop_scale": "pad=0"} if self.pad else {}

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Every image once an epoch, or images of a class together."""
        return {MAIN: Stream(draw=together(settings.per_class) if settings.per_class else shuffled)}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if facts.classes < 2:
            raise InputError("mcl_supervised needs labels of two classes or more: without labels use mcl")
        self.settings = settings
        features, dim = encoder.features, settings.embedding
        self.students = nn.ModuleList(encoders(encoder, settings.networks))
        self.heads = nn.ModuleList(heads.mlp([features, dim, dim], hidden_norm=None) for _ in self.students)
        self.classifiers = nn.ModuleList(nn.Linear(features, facts.classes) for _ in self.students)
        size = facts.image_size
        if settings.pad:
            self.views = {"view": padded(size, pad=settings.pad, fill="zero")}
        else:
            self.views = {"view": weak(size, scale=settings.crop_scale)}

    def step(self, views: Views, batch: Batch) -> Terms:
        """Classification and the four parts of the contrast, over the global batch."""
        settings, image = self.settings, views["view"].image
        labels_N = gather(cast("Tensor", batch.labels))
        features = [student(image) for student in self.students]
        embeddings = [head(x_BF) for head, x_BF in zip(self.heads, features, strict=True)]
        logits = [gather_with_gradient(net(x_BF)) for net, x_BF in zip(self.classifiers, features, strict=True)]
        result = supervised_mutual_contrast(
            [gather_with_gradient(e_BD) for e_BD in embeddings],
            labels_N,
            settings.temperature,
            settings.kl_temperature,
            own_is_positive=settings.own_is_positive,
        )
        classified = torch.stack([classification(each_NC, labels_N) for each_NC in logits]).sum()
        loss = (
            classified
            + settings.vcl_weight * result.vcl
            + settings.soft_vcl_weight * result.soft_vcl
            + settings.icl_weight * result.icl
            + settings.soft_icl_weight * result.soft_icl
        )
        if settings.logit_weight:
            loss = loss + settings.logit_weight * self.mean_imitated(logits)
        parts = {"classification": classified.detach()}
        parts |= {name: value.detach() for name, value in result._asdict().items()}
        return Terms(loss, parts, embeddings[0].detach())

    def mean_imitated(self, logits: Sequence[Tensor]) -> Tensor:
        """Imitation of the networks' mean logits: by both of two networks, by the last of more."""
        mean_NC = torch.stack(list(logits)).mean(0)
        pupils = logits if len(logits) == 2 else logits[-1:]
        return torch.stack([imitation(each_NC, mean_NC, self.settings.kl_temperature) for each_NC in pupils]).sum()

    def logits(self, image: Tensor) -> Tensor:
        """(B, classes) by the first network, which is deployed."""
        return cast("Tensor", self.classifiers[0](self.students[0](image)))

    def encoders(self) -> dict[str, nn.Module]:
        """The first network."""
        return {"student": self.students[0]}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.1, weight_decay=5e-4, batch_size=128, epochs=30),
            note="the CIFAR recipe in fewer epochs",
        ),
        "cifar": Preset(
            settings=Settings(pad=4, per_class=2),
            normalisation="cifar100",
            optimisation=Optimisation(
                learning_rate=0.1, nesterov=True, weight_decay=5e-4, schedule="cosine_epoch", batch_size=128, epochs=300
            ),
            note="the official recipe for CIFAR-100, in batches of two images of each of 64 classes",
        ),
    }
