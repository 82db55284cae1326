"""PromptCAL: GCD with a second branch for prompts, then contrast with pseudo-positives from a graph of neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.data.batches.streams import Stream
from likewise.distributed import common, gather
from likewise.encoders import Encoder
from likewise.encoders.two_vectors import TwoVectors
from likewise.errors import InputError
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between
from likewise.methods.parts.discovery import (
    FIXED_CROP,
    PUBLISHED,
    BranchSettings,
    both_views,
    branch_head,
    branch_views,
    check_labelled,
    equally,
    freeze,
    gcd_loss,
    labels_of,
    published,
    small,
    supervised,
)
from likewise.similarity import unit
from likewise.similarity.positives.affinity import (
    Pairs,
    affinity_contrast,
    consensus,
    contrast_views,
    corrected,
    diffused,
    some_negatives,
    strong,
)
from likewise.teachers import Momentum


class Seen(NamedTuple):
    """Output of the network for both views of a batch, first views before second ones."""

    features: Tensor
    """(R, F) or (R, C) of the encoder."""
    output: Tensor
    """(R, D) of the head."""


class Branch(NamedTuple):
    """The loss of one branch in the second stage, and its parts."""

    loss: Tensor
    by_label: Tensor
    views: Tensor
    affinity: Tensor
    found: Tensor
    """Pseudo-positives a row, mean."""


class Branches(nn.Module):
    """The encoder with its two vectors, and a head for each."""

    def __init__(self, encoder: Encoder, settings: BranchSettings) -> None:
        super().__init__()
        self.vectors = TwoVectors(encoder)
        self.head = branch_head(encoder.features, settings)
        self.prompt_head = branch_head(self.vectors.second, settings)

    def forward(self, x_R3HW: Tensor) -> tuple[Seen, Seen]:
        """Class branch and prompt branch."""
        pooled_RF, second_RC = self.vectors(x_R3HW)
        return Seen(pooled_RF, self.head(pooled_RF)), Seen(second_RC, self.prompt_head(second_RC))


class PromptCAL(Method):
    """Contrastive Affinity Learning via Auxiliary Prompts, one stage of it.

    Two branches, the pooled features and a second vector (a ViT's prompts, or an attention pool), with a head each;
    L = L_class + g L_prompt. Stage 1 is GCD's loss on both. Stage 2 begins with the networks of stage 1 (`--start`) and
    has a teacher that follows slowly and banks of its features z. Of each branch

        L = w L_labels + (1 - w) [ (1 - a) L_views + a L_affinity ]

    where student outputs are compared with the teacher's: L_labels among equal labels, L_views with the other view.
    For L_affinity the teacher's features of the batch and of the bank are the nodes of a graph; two are tied as often
    as they are named together by the nearest neighbours of any, the ties are row-normalised and diffused, and the
    strongest between an image and the bank are its pseudo-positives, corrected by what labels say:

        L_affinity = mean_i mean_{j in P(i)} -log( exp(z_i.k_j/T) / sum_{j in P(i) + N(i)} exp(z_i.k_j/T) )

    with P the teacher's features of the other view and the pseudo-positives, N some of the rest. a rises from 0 in two
    epochs. Labels of -1 reach no loss and no bank.

    Order inside a step: both look; losses, with the bank as it was; the teacher's features of both views enter it; the
    teacher moves after the update.

    Zhang, Khan, Shen, Naseer, Chen, Khan: PromptCAL, CVPR 2023, arXiv 2212.05590, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Prompt-based Contrastive Affinity Learning",
        paper="Zhang, Khan, Shen, Naseer, Chen, Khan. PromptCAL: Contrastive Affinity Learning via Auxiliary Prompts "
        "for Generalized Novel Category Discovery. CVPR 2023, arXiv 2212.05590",
        summary="When some classes are named and the others have to be found, after GCD's loss alone: its second stage "
        "ties images of unnamed classes together. likewise.recipes.promptcal runs both stages.",
        needs=("some labels",),
        memory="queue",
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(BranchSettings):
        """Settings of PromptCAL. The defaults are those of the small preset."""

        stage: Literal[1, 2] = 2
        """1: GCD's loss on both branches. 2: with teacher, banks and affinity; begin it with a run of stage 1."""
        prompt_weight: float = 0.35
        """g: weight of the prompt branch."""
        affinity: float = 0.6
        """a: share of the affinity loss in the unsupervised part once it has risen."""
        rise_epochs: float = 2.0
        """Epochs in which it rises from 0."""
        momentum: float = 0.99
        """Share of its old weights that the teacher keeps at each step."""
        queue_size: int = 512
        """Rows of each bank: two an image, its views."""
        neighbours: int = 10
        """Nearest nodes that a node names."""
        quantile: float = 0.5
        """Of the ties above average, the share that is too weak."""
        most_pairs: int = 512
        """Positives and drawn negatives of a row, before labels correct them."""
        own_view: Literal["other", "same"] = "other"
        """The teacher's view that is a row's own positive in the class branch; `same` in the published code."""

        def idle(self) -> dict[str, str]:
            """What belongs to the second stage."""
            later = ("affinity", "rise_epochs", "momentum", "queue_size", "neighbours", "quantile", "most_pairs")
            if self.stage == 1:
                return dict.fromkeys((*later, "own_view"), "stage=2")
            if not self.affinity:
                return dict.fromkeys(("rise_epochs", "neighbours", "quantile", "most_pairs", "own_view"), "affinity")
            return {}

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.stage not in {1, 2}:
                raise InputError(f"stage={self.stage}: allowed are 1 and 2")
            at_least("prompt_weight", self.prompt_weight, 0.0)
            between("affinity", self.affinity, 0.0, 1.0)
            at_least("rise_epochs", self.rise_epochs, 0.0)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("queue_size", self.queue_size, 1)
            at_least("neighbours", self.neighbours, 1)
            between("quantile", self.quantile, 0.0, 1.0)
            at_least("most_pairs", self.most_pairs, 1)

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Labelled and unlabelled images equally often."""
        return equally()

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        check_labelled("promptcal", facts)
        self.settings, self.rise = settings, settings.rise_epochs * facts.steps_per_epoch
        freeze(encoder, settings.tuned)
        self.student = Branches(encoder, settings)
        self.views = branch_views(settings, facts)
        self.share = 0.0
        if settings.stage == 2:
            # a teacher in eval mode needs the student's running statistics, where there are any
            self.teacher = Momentum(self.student, buffers="copied", mode="eval")
            self.queue = Queue(settings.queue_size, encoder.features, columns={"label": LABEL})
            self.prompt_queue = Queue(settings.queue_size, self.student.vectors.second, columns={"label": LABEL})

    def before_step(self, progress: Progress) -> None:
        """The share of the affinity loss; a teacher that begins is the student, which a start may have loaded."""
        self.share = self.settings.affinity * (min(1.0, progress.step / self.rise) if self.rise else 1.0)
        if self.settings.stage == 2 and progress.step == 0:
            self.teacher.network.load_state_dict(self.student.state_dict())

    def step(self, views: Views, batch: Batch) -> Terms:
        """Both branches of both views; then the teacher's features enter the banks."""
        images = torch.cat([views["first"].image, views["second"].image])
        seen = self.student(images)
        labels_R = labels_of(batch)
        first = seen[0].features[: len(batch.ids)].detach()
        if self.settings.stage == 1:
            (own, by_views, by_label), (other, _, _) = (gcd_loss(one.output, labels_R, self.settings) for one in seen)
            parts = {"views": by_views.detach(), "labels": by_label.detach(), "prompt": other.detach()}
            return Terms(own + self.settings.prompt_weight * other, parts, first)
        result = self.teacher(images)
        own_form = self.settings.own_view
        one = self.branch(seen[0], result[0], self.queue, labels_R, own_form)
        two = self.branch(seen[1], result[1], self.prompt_queue, labels_R, "other")
        for queue, side in ((self.queue, result[0]), (self.prompt_queue, result[1])):
            queue.push(_everyone(unit(side.features)), label=labels_R)
        parts = {
            "views": one.views.detach(),
            "labels": one.by_label.detach(),
            "affinity": one.affinity.detach(),
            "pseudo_positives": one.found,
            "prompt": two.loss.detach(),
        }
        return Terms(one.loss + self.settings.prompt_weight * two.loss, parts, first)

    def branch(
        self, student: Seen, teacher: Seen, queue: Queue, labels_R: Tensor, own_view: Literal["other", "same"]
    ) -> Branch:
        """The second stage's loss of one branch, over the rows of the global batch."""
        settings = self.settings
        h_RD, teacher_RD = unit(both_views(student.output)), unit(_everyone(teacher.output))
        z_RF, k_RF = unit(both_views(student.features)), unit(_everyone(teacher.features))
        by_label = supervised(h_RD, teacher_RD, labels_R, settings.temperature)
        by_views = contrast_views(h_RD, teacher_RD, settings.temperature_unsupervised)
        filled = len(queue)  # rows that were never written are no nodes; the loss waits for the first ones
        affinity, found = z_RF.sum() * 0.0, z_RF.new_zeros(())
        share = self.share if filled else 0.0
        if share:
            other_RF = k_RF.roll(len(k_RF) // 2, 0)
            bank_KF = queue.rows[:filled].clone()  # written over before the backward pass
            bank_labels_K = queue.column("label")[:filled]
            pairs = self.pairs(other_RF, bank_KF, labels_R, bank_labels_K)
            own_RF = other_RF if own_view == "other" else k_RF
            affinity = affinity_contrast(z_RF, own_RF, bank_KF, pairs, settings.temperature)
            found = pairs.positive.sum(1).float().mean()
        unsupervised = (1 - share) * by_views + share * affinity
        loss = settings.supervised * by_label + (1 - settings.supervised) * unsupervised
        return Branch(loss, by_label, by_views, affinity, found)

    @torch.no_grad()
    def pairs(self, query_RF: Tensor, bank_KF: Tensor, labels_R: Tensor, bank_labels_K: Tensor) -> Pairs:
        """Pseudo-positives and negatives of each row in the bank, corrected by labels."""
        settings, rows = self.settings, len(query_RF)
        nodes_GF = torch.cat([query_RF, bank_KF.to(query_RF.dtype)])
        ties_GG = consensus(nodes_GF, min(settings.neighbours, len(nodes_GF) - 1))
        found_RK = strong(diffused(ties_GG, rows), settings.quantile)[:rows, rows:]
        drawn_RK = common(torch.rand(found_RK.shape, device=found_RK.device))
        some = some_negatives(Pairs(found_RK, ~found_RK), settings.most_pairs, drawn_RK)
        return corrected(some.positive, some.negative, labels_R, bank_labels_K)

    def after_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it is now."""
        if self.settings.stage == 2:
            self.teacher.update(self.student, self.settings.momentum)

    def encoders(self) -> dict[str, nn.Module]:
        """The student's encoder, and the teacher's in the second stage."""
        found: dict[str, nn.Module] = {"student": self.student.vectors.encoder}
        if self.settings.stage == 2:
            found["teacher"] = self.teacher.network.get_submodule("vectors.encoder")
        return found

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=small(epochs=10),
            note="narrow encoders, images up to 64 px, begun with a trained encoder or a run of stage 1",
        ),
        "vit-1": Preset(
            settings=Settings(**PUBLISHED, stage=1),
            optimisation=published(epochs=200),
            note="the published first stage, without the term that keeps ImageNet features: --encoder "
            "vit_base_patch16_prompts.dino --pretrained",
            differs={"views": FIXED_CROP},
        ),
        "vit-2": Preset(
            settings=Settings(**PUBLISHED, momentum=0.999, queue_size=4096, most_pairs=1024, own_view="same"),
            optimisation=published(epochs=70),
            note="the published second stage for CIFAR: begin it with a run of vit-1",
            differs={"views": FIXED_CROP},
        ),
    }


def _everyone(x_RD: Tensor) -> Tensor:
    """(2B, D) of the global batch, without gradient, of the rows of this process."""
    return torch.cat([gather(half) for half in x_RD.detach().chunk(2)])
