"""MCL with labels: classifiers that learn side by side, by contrast of classes within and between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.methods.checks import at_least, positive
from likewise.methods.mcl import MutualContrast, encoders
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.similarity import cross_entropy, similarities, unit
from likewise.views import weak

UNKNOWN = -1
"""Label of a picture that has none."""


def supervised_mutual_contrast(
    embeddings: Sequence[Tensor],
    labels_B: Tensor,
    temperature: float,
    kl_temperature: float,
    *,
    own_is_positive: bool = False,
) -> MutualContrast:
    """The four parts of mutual contrastive learning with labels (arXiv 2104.12565, eq. 1-9), each a mean over B.

    With S^ab = e_a e_b^T / t the similarities of the batch: VCL is the supervised contrast of each S^aa, ICL that of
    each S^ab; the soft terms let rows of S^aa imitate those of S^bb, and S^ab those of S^ba, over all columns, a
    picture's own included. Between networks a picture's own column is left out of ICL as in the official code; the
    paper counts it as a positive: `own_is_positive`.
    """
    units = [unit(each) for each in embeddings]
    networks = range(len(units))
    pairs = list(permutations(networks, 2))
    logits = {(a, b): similarities(units[a], units[b], temperature) for a in networks for b in networks}

    def between(pair: tuple[int, int]) -> Tensor:
        return supervised_contrast(logits[pair], labels_B, own_is_positive=own_is_positive)

    return MutualContrast(
        vcl=torch.stack([supervised_contrast(logits[a, a], labels_B) for a in networks]).sum(),
        soft_vcl=torch.stack([imitation(logits[a, a], logits[b, b], kl_temperature) for a, b in pairs]).sum(),
        icl=torch.stack([between(pair) for pair in pairs]).sum(),
        soft_icl=torch.stack([imitation(logits[a, b], logits[b, a], kl_temperature) for a, b in pairs]).sum(),
    )


def supervised_contrast(logits_BB: Tensor, labels_B: Tensor, *, own_is_positive: bool = False) -> Tensor:
    """SupCon (arXiv 2004.11362, eq. 2): each anchor must find its class among the others, mean over anchors.

    L = -mean_i mean_{j in P(i)} [ S_ij - log sum_{j allowed} exp S_ij ]. An anchor's own column is neither positive
    nor allowed unless `own_is_positive`. Anchors without a positive have no loss and are not counted; a picture
    without a label is no anchor and in nobody's sum.
    """
    known_B = labels_B != UNKNOWN
    allowed_BB = known_B.unsqueeze(0).expand(len(labels_B), -1)
    if not own_is_positive:
        allowed_BB = allowed_BB & ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
    positive_BB = (labels_B.unsqueeze(1) == labels_B) & allowed_BB
    count_B = positive_BB.sum(1)
    target_BB = positive_BB.to(logits_BB.dtype) / count_B.clamp(min=1).unsqueeze(1)
    found_B = count_B > 0
    # a row that allows nothing would give no number; it is not counted either way
    loss_B = cross_entropy(logits_BB, target_BB, mask_BK=allowed_BB | ~found_B.unsqueeze(1))
    return torch.where(found_B, loss_B, 0.0).sum() / found_B.sum().clamp(min=1)


def imitation(student_BK: Tensor, teacher_BK: Tensor, kl_temperature: float) -> Tensor:
    """D(s <- r) = T^2 KL(softmax(r/T) || softmax(s/T)), mean over B, without gradient to r."""
    target_BK = (teacher_BK.detach() / kl_temperature).softmax(1)
    entropy_B: Tensor = -torch.special.xlogy(target_BK, target_BK).sum(1)
    return (cross_entropy(student_BK / kl_temperature, target_BK) - entropy_B).mean() * kl_temperature**2


class MCLSupervised(Method):
    """Mutual contrastive learning with labels.

    M networks of the same kind differ in their random start alone, and all see the same view. Each has a classifier
    and an embedding; embeddings of the batch are contrasted by class within (VCL) and between networks (ICL), and each
    network imitates the similarities that the others find (soft VCL, soft ICL):

        L = sum_m CE_m + w_v VCL + w_sv soft VCL + w_i ICL + w_si soft ICL (+ w_l imitation of the mean logits)

    There is neither memory nor moving average. A class with one picture in the batch has no contrast, so the batch
    should be several times the number of classes. One network is kept, the first, after the last step: the official
    code reports the best network of the best epoch on the test set.

    Views here are resized crops and flips, where the official code for CIFAR pads by four pixels and crops.

    Yang, An, Cai, Xu: Mutual Contrastive Learning for Visual Representation Learning, AAAI 2022, arXiv 2104.12565.
    """

    card: ClassVar[Card] = Card(
        title="Mutual Contrastive Learning with labels",
        paper="Yang, An, Cai, Xu. Mutual Contrastive Learning for Visual Representation Learning. AAAI 2022, "
        "arXiv 2104.12565",
        summary="With labels for all pictures: classifiers that teach each other, of which one is kept, at the cost "
        "of one when used.",
        needs=("labels",),
        status="verified",
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
        """Between networks a picture is a positive of itself, as in the paper; the official code leaves it out."""
        embedding: int = 128
        """Length D of the embedding."""
        crop_scale: tuple[float, float] = (0.4, 1.0)
        """Smallest and largest share of the picture that a crop covers."""

        def __post_init__(self) -> None:
            at_least("networks", self.networks, 2)
            positive("temperature", self.temperature)
            positive("kl_temperature", self.kl_temperature)
            for name in ("vcl_weight", "soft_vcl_weight", "icl_weight", "soft_icl_weight", "logit_weight"):
                at_least(name, getattr(self, name), 0.0)
            at_least("embedding", self.embedding, 1)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if facts.classes < 2:
            raise InputError("mcl_supervised needs labels of two classes or more: without labels use mcl")
        self.settings = settings
        features, dim = encoder.features, settings.embedding
        self.students = nn.ModuleList(encoders(encoder, settings.networks))
        self.heads = nn.ModuleList(heads.mlp([features, dim, dim], hidden_norm=None) for _ in self.students)
        self.classifiers = nn.ModuleList(nn.Linear(features, facts.classes) for _ in self.students)
        self.views = {"view": weak(facts.image_size, mean=facts.mean, std=facts.std, scale=settings.crop_scale)}

    def step(self, views: Views, batch: Batch) -> Terms:
        """Classification and the four parts of the contrast, over the global batch."""
        settings, image = self.settings, views["view"].image
        labels_N = gather(cast("Tensor", batch.labels))
        features = [student(image) for student in self.students]
        embeddings = [head(x_BF) for head, x_BF in zip(self.heads, features, strict=True)]
        logits = [gather_with_gradient(net(x_BF)) for net, x_BF in zip(self.classifiers, features, strict=True)]
        told = supervised_mutual_contrast(
            [gather_with_gradient(e_BD) for e_BD in embeddings],
            labels_N,
            settings.temperature,
            settings.kl_temperature,
            own_is_positive=settings.own_is_positive,
        )
        classified = torch.stack([classification(each_NC, labels_N) for each_NC in logits]).sum()
        loss = (
            classified
            + settings.vcl_weight * told.vcl
            + settings.soft_vcl_weight * told.soft_vcl
            + settings.icl_weight * told.icl
            + settings.soft_icl_weight * told.soft_icl
        )
        if settings.logit_weight:
            loss = loss + settings.logit_weight * self.mean_imitated(logits)
        parts = {"classification": classified.detach()}
        parts |= {name: value.detach() for name, value in told._asdict().items()}
        return Terms(loss, parts, embeddings[0].detach())

    def mean_imitated(self, logits: Sequence[Tensor]) -> Tensor:
        """Imitation of the networks' mean logits: by both of two networks, by the last of more."""
        mean_NC = torch.stack(list(logits)).mean(0)
        pupils = logits if len(logits) == 2 else logits[-1:]
        return torch.stack([imitation(each_NC, mean_NC, self.settings.kl_temperature) for each_NC in pupils]).sum()

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
            settings=Settings(),
            optimisation=Optimisation(
                learning_rate=0.1, nesterov=True, weight_decay=5e-4, schedule="cosine_epoch", batch_size=128, epochs=300
            ),
            note="the official recipe for CIFAR-100, but for its crops",
        ),
    }


def classification(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Mean cross-entropy of the pictures whose label is known; 0 where none is."""
    known_N = labels_N != UNKNOWN
    loss_N = functional.cross_entropy(logits_NC, labels_N, ignore_index=UNKNOWN, reduction="none")
    return loss_N.sum() / known_N.sum().clamp(min=1)
