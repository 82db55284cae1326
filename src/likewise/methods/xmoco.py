"""XMoCo: MoCo v2 with a second term that keeps the similarities between images invariant to augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, positive
from likewise.methods.parts.moco import MocoSettings, moco_parts, pairs
from likewise.similarity import contrast, own_columns, similarities, unit
from likewise.teachers import evaluated

Form = Literal["symmetric", "teacher", "queue"]


def cross_consistency(query_BD: Tensor, key_BD: Tensor, *, form: Literal["symmetric", "teacher"]) -> Tensor:
    """Mean squared change of the similarity of two images of the batch from one pair of views to another.

    With S_ij = q_i . k_j over the global batch, mean over i != j of (S_ij - S_ji)^2 (symmetric; gradient through both
    q_i and q_j) or (q_i . k_j - k_i . k_j)^2 (teacher). No gradient goes to the keys.
    """
    q_BD, k_BD = unit(query_BD), unit(key_BD).detach()
    k_ND = gather(k_BD)
    seen_BN = similarities(q_BD, k_ND)
    other_BN = similarities(k_BD, gather_with_gradient(q_BD) if form == "symmetric" else k_ND)
    square_BN = (seen_BN - other_BN).square().masked_fill(own_columns(q_BD, len(k_ND)), 0.0)
    return square_BN.sum() / (len(q_BD) * (len(k_ND) - 1))


def queue_consistency(query_BD: Tensor, key_BD: Tensor, memory_KD: Tensor) -> Tensor:
    """Mean over images and rows of the memory of (q . n - k . n)^2 = (q - k)' N'N (q - k) / K, without B x K."""
    change_BD = unit(query_BD) - unit(key_BD).detach()
    rows_KD = memory_KD.to(change_BD.dtype)
    gram_DD = similarities(rows_KD.T, rows_KD.T)
    return (similarities(change_BD, gram_DD.T) * change_BD).sum(1).mean() / len(rows_KD)


def uniformity(query_BD: Tensor, key_BD: Tensor, temperature: float) -> Tensor:
    """KL(uniform || u_i), mean over the batch, of u_i = softmax over j != i of q_i . k_j / T; 0 if all are alike."""
    q_BD, k_ND = unit(query_BD), gather(unit(key_BD).detach())
    own_BN = own_columns(q_BD, len(k_ND))
    others = len(k_ND) - 1
    logits_BN = similarities(q_BD, k_ND, temperature)
    all_B = logits_BN.masked_fill(own_BN, -torch.inf).logsumexp(1)
    return (all_B - logits_BN.masked_fill(own_BN, 0.0).sum(1) / others).mean() - math.log(others)


class XMoCo(Method):
    """Extended Momentum Contrast, in our reading.

    MoCo v2 with two further wishes for the similarities S_ij = q_i . k_j of the images of a batch:

        L = L_nce + lambda_c mean_{i != j} (S_ij - S_ji)^2 + lambda_u mean_i KL( uniform || softmax_{j != i} S_ij / Tu )

    Image A is as similar to B whichever augmentation of each is looked at, and no negative is favoured. Only the
    abstract of the paper was at hand: that there are these two terms is certain, their exact form and all constants
    are ours, and each is a setting.

    Order inside a step, as in MoCo v2: key encoder moves, both look, losses with the queue as it was, then the keys
    enter the queue.

    Seyfi, Banitalebi-Dehkordi, Zhang: Extending Momentum Contrast with Cross Similarity Consistency Regularization,
    IEEE TCSVT 32(10), 2022, arXiv 2206.04676.
    """

    card: ClassVar[Card] = Card(
        title="Extended Momentum Contrast",
        paper="Seyfi, Banitalebi-Dehkordi, Zhang. Extending Momentum Contrast with Cross Similarity Consistency "
        "Regularization. IEEE TCSVT 32(10), 2022, arXiv 2206.04676",
        summary="A cheap addition to MoCo v2 where relations between images matter; our reading of the abstract.",
        memory="queue",
        smallest_batch=2,
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(MocoSettings):
        """Settings of XMoCo. The defaults are those of the small preset."""

        consistency: Form = "symmetric"
        """What a similarity is held to: the other pair of views, the key encoder's, or the same over the queue."""
        weight_cross: float = 1.0
        """lambda_c: weight of the consistency; not known from the paper."""
        weight_uniform: float = 0.1
        """lambda_u: weight of the uniformity; not known from the paper. A large one works against grouping."""
        temperature_uniform: float = 0.2
        """Tu: divides those of the uniformity; not known from the paper."""
        symmetric: bool = False
        """Mean of the losses of both directions, with both views' keys entering the queue."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("weight_cross", self.weight_cross, 0.0)
            at_least("weight_uniform", self.weight_uniform, 0.0)
            positive("temperature_uniform", self.temperature_uniform)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.student, self.teacher, self.queue, self.views = moco_parts(encoder, settings, facts)

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the query encoder as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """The three terms against batch and queue; then the keys enter the queue."""
        symmetric, shuffle = self.settings.symmetric, self.settings.shuffle
        seen = pairs(self.student, self.teacher, views, symmetric=symmetric, shuffle=shuffle)
        result = [self.loss(q_BD, k_BD) for q_BD, k_BD in seen]
        for _, k_BD in seen:
            self.queue.push(gather(k_BD), label=gather(batch.labels))
        return Terms(torch.stack([loss for loss, _ in result]).mean(), result[0][1], seen[0][0].detach())

    def loss(self, q_BD: Tensor, k_BD: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms, and each alone."""
        settings, rows_KD = self.settings, self.queue.rows
        if settings.consistency == "queue":
            cross = queue_consistency(q_BD, k_BD, rows_KD)
        else:
            cross = cross_consistency(q_BD, k_BD, form=settings.consistency)
        uniform = uniformity(q_BD, k_BD, settings.temperature_uniform)
        nce = contrast(q_BD, k_BD, rows_KD, settings.temperature)
        parts = {"contrast": nce.detach(), "consistency": cross.detach(), "uniformity": uniform.detach()}
        return nce + settings.weight_cross * cross + settings.weight_uniform * uniform, parts

    def encoders(self) -> dict[str, nn.Module]:
        """Query encoder as student, key encoder as teacher."""
        return evaluated(self.student, self.teacher)

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(queue_size=65_536, temperature=0.2, momentum=0.999),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="MoCo v2's recipe, ImageNet, ResNet-50, with our weights: the paper's are not known",
        ),
    }
