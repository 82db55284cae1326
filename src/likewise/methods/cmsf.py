"""CMSF: mean shift among neighbours that another source of information relates to the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.encoders.passes.shuffling import shuffled
from likewise.errors import InputError
from likewise.memory import Queue
from likewise.methods.method import (
    WHOLE_BATCH,
    Batch,
    Card,
    Facts,
    Method,
    Optimisation,
    Preset,
    Progress,
    Terms,
    Views,
    usual,
)
from likewise.methods.parts.checks import at_least
from likewise.methods.parts.cmsf.constraints import (
    Constraint,
    EarlierView,
    FirstVisit,
    SameCluster,
    SameLabel,
    Unwritten,
)
from likewise.methods.parts.shift import ShiftSettings, shift_parts
from likewise.similarity import (
    Few,
    Neighbours,
    average,
    average_of_all,
    neighbours,
    pull,
    purity,
    ranks,
    unit,
)
from likewise.teachers import evaluated

IMAGES_PER_CLUSTER = 25
"""The paper's 50,000 clusters hold about as many images each."""
WATCHED = 32
"""Images of a batch whose neighbours are ranked, for a curve."""

Kind = Literal["2q", "clusters", "labels"]


def constrained_shift(
    student_BD: Tensor, memory_KD: Tensor, near: Neighbours, plain: Neighbours | None = None, few: Few = "available"
) -> Tensor:
    """Mean squared distance of the student to constrained neighbours, averaged with that to plain ones where given.

    With A(S) = mean_{j in S} (2 - 2 v . M_j), L = [A(plain) + A(near)] / 2 or A(near) (arXiv 2112.04607, section 3).
    The memory must already hold the teacher's vectors of this batch.
    """
    target_BD = average(memory_KD, near, few)
    if plain is not None:
        target_BD = (average(memory_KD, plain) + target_BD) / 2
    return pull(student_BD, target_BD)


def watched(
    teacher_BD: Tensor, labels_B: Tensor | None, memory: Queue, near: Neighbours, plain: Neighbours, few: Few
) -> dict[str, Tensor]:
    """The curves of the paper: how far down the plain order the constrained neighbours lie, and how pure both are."""
    rank_Wk = ranks(teacher_BD[:WATCHED], memory.rows, near.rows[:WATCHED])
    counted_Bk = near.there if few == "available" else torch.ones_like(near.there)
    counted_Wk = counted_Bk[:WATCHED]
    parts = {"mean_rank": (rank_Wk * counted_Wk).sum() / counted_Wk.sum().clamp_min(1)}
    if labels_B is not None:
        parts["purity"] = purity(labels_B, memory.column("label")[near.rows], counted_Bk)
        parts["purity_unconstrained"] = purity(labels_B, memory.column("label")[plain.rows])
    return parts


_OF: Mapping[str, tuple[Kind, ...]] = {
    "topk_prime": ("2q",),
    "first_visit": ("2q",),
    "clusters": ("clusters",),
    "kmeans_iterations": ("clusters",),
    "same_label": ("labels",),
    "unwritten": ("2q", "clusters"),
}
"""Settings of one constraint or two."""


class CMSF(Method):
    """Constrained Mean Shift, self-supervised and supervised.

    Mean shift (MSF) whose search for neighbours is restricted to a set C of rows of the memory. With u the unit teacher
    vector, v the unit prediction of the student, N_k(u; C) the k members of C nearest to u, and
    A(S) = mean_i (1/k) sum_{j in S} |v_i - M_j|^2:

        2q, clusters:  L = [A(N_k(u; M)) + A(N_k(u; C))] / 2          labels:  L = A(N_k(u; C))

    C holds, with `2q`, the rows of the images that were nearest an epoch ago, under another augmentation; with
    `clusters`, the rows of the same k-means cluster of all teacher vectors of the last epoch; with `labels`, the rows
    of the same label, which may be noisy (`likewise.methods.parts.cmsf.constraints`). With few labels see `cmsf_semi`.

    Order inside a step: teacher moves, both look, the teacher's vectors enter memory and pool FIRST, then neighbours
    and loss. An image's own vector is a candidate in every form.

    Navaneet, Koohpayegani, Tejankar, Pourahmadi, Subramanya, Pirsiavash: Constrained Mean Shift Using Distant Yet
    Related Neighbors for Representation Learning, ECCV 2022, arXiv 2112.04607, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Constrained Mean Shift",
        paper="Navaneet, Koohpayegani, Tejankar, Pourahmadi, Subramanya, Pirsiavash. Constrained Mean Shift Using "
        "Distant Yet Related Neighbors for Representation Learning. ECCV 2022, arXiv 2112.04607",
        summary="MSF with farther neighbours of the same kind, at the same cost; with labels, a supervised "
        "pre-training that transfers well and survives wrong labels.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(ShiftSettings):
        """Settings of CMSF. The defaults are those of the small preset."""

        constraint: Kind = "2q"
        """What makes a row a candidate: an earlier augmentation (2q), k-means clusters, or the images' labels."""
        topk_prime: int = 10
        """k' of 2q: rows found by the earlier embeddings, of which k are taken; at least k. The published run has 5."""
        clusters: int = 0
        """Clusters of k-means; 0 stands for one for every 25 images, on ImageNet the paper's 50,000."""
        kmeans_iterations: int = 10
        """Iterations of k-means after each epoch; 20 in the paper."""
        same_label: Literal["nearest", "all"] = "nearest"
        """For labels: the k nearest rows of the same label, or all of them (top-all)."""
        first_visit: FirstVisit = "unconstrained"
        """For 2q, images seen once: plain neighbours, or the noise that the official code starts from."""
        unwritten: Unwritten = "masked"
        """Rows that were never written: no candidates, or taken for the last image, as officially."""
        few: Few = "available"
        """Fewer than k candidates: the mean of those there are, or of k rows of any kind, as officially."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("topk_prime", self.topk_prime, self.topk if self.constraint == "2q" else 1)
            at_least("clusters", self.clusters, 0)
            at_least("kmeans_iterations", self.kmeans_iterations, 1)

        def idle(self) -> dict[str, str]:
            """Settings of the other constraints."""
            found = {
                name: f"constraint={' or '.join(kinds)}" for name, kinds in _OF.items() if self.constraint not in kinds
            }
            if (self.constraint, self.first_visit, self.unwritten) == ("2q", "noise", "last"):
                found["few"] = "first_visit=unconstrained or unwritten=masked"  # else k' candidates are always there
            return found

        def rule(self, images: int, classes: int, dim: int) -> Constraint:
            """The constraint for a data set. Raises InputError where it needs labels and there are none."""
            if self.constraint == "2q":
                return EarlierView(images, dim, self.topk_prime, first_visit=self.first_visit, unwritten=self.unwritten)
            if self.constraint == "clusters":
                clusters = self.clusters or max(1, images // IMAGES_PER_CLUSTER)
                return SameCluster(images, dim, clusters, self.kmeans_iterations, unwritten=self.unwritten)
            if not classes:
                raise InputError("constraint=labels needs labels, and the images have none: allowed are 2q, clusters")
            return SameLabel()

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.student, self.predictor, self.teacher, self.queue, self.views = shift_parts(
            encoder, settings, facts, columns=("image",)
        )
        self.constraint = settings.rule(facts.images, facts.classes, self.queue.rows.shape[1])

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update; clusters after each epoch."""
        self.teacher.update(self.student, self.settings.momentum)
        self.constraint.begin(progress)

    def step(self, views: Views, batch: Batch) -> Terms:
        """The teacher's vectors enter memory and pool; then the pull to the neighbours found in the memory."""
        v_BD = self.predictor(self.student(views["student"].image))
        u_BD = unit(shuffled(self.teacher, views["teacher"].image))
        index_A, u_AD = gather(batch.ids), gather(u_BD)
        self.queue.push(u_AD, image=index_A, label=gather(batch.labels))
        self.constraint.remember(index_A, u_AD)
        plain = neighbours(u_BD, self.queue.rows, self.settings.topk)
        near = self.constraint.nearest(u_BD, batch, self.queue, plain)
        loss = self.loss(v_BD, batch, near, plain)
        return Terms(loss, watched(u_BD, batch.labels, self.queue, near, plain, self.settings.few), v_BD.detach())

    def loss(self, v_BD: Tensor, batch: Batch, near: Neighbours, plain: Neighbours) -> Tensor:
        """With labels there is no plain term, as in the paper."""
        rows_KD, few = self.queue.rows, self.settings.few
        if not isinstance(self.constraint, SameLabel):
            return constrained_shift(v_BD, rows_KD, near, plain, few)
        if self.settings.same_label == "nearest":
            return constrained_shift(v_BD, rows_KD, near, few=few)
        assert batch.labels is not None
        everyone_BD = average_of_all(v_BD, rows_KD, self.constraint.exclude(batch, self.queue))
        known_B1 = (batch.labels >= 0).unsqueeze(1)
        return pull(v_BD, torch.where(known_B1, everyone_BD, average(rows_KD, near, few)))

    def encoders(self) -> dict[str, nn.Module]:
        """Student, and teacher with the student's running statistics, as both are evaluated officially."""
        return evaluated(self.student, self.teacher)

    _published: ClassVar = Optimisation(learning_rate=0.05, weight_decay=1e-4, schedule="cosine_epoch", epochs=200)
    _official: ClassVar = Settings(
        queue_size=128_000, momentum=0.99, topk_prime=5, first_visit="noise", unwritten="last", few="any", embedding=0
    )

    presets: ClassVar = {
        "small": usual(Settings()),
        "2q": Preset(
            settings=_official,
            optimisation=_published,
            note="the published CMSF-2Q, ImageNet, ResNet-50",
            differs={"batch norm": WHOLE_BATCH},
        ),
        "km": Preset(
            settings=replace(_official, constraint="clusters", kmeans_iterations=20),
            optimisation=_published,
            note="the published CMSF-KM, ImageNet, ResNet-50",
            differs={"batch norm": WHOLE_BATCH},
        ),
        "supervised": Preset(
            settings=replace(_official, constraint="labels", topk=10),
            optimisation=_published,
            note="the published supervised top-10, ImageNet, ResNet-50; also for noisy labels",
            differs={"batch norm": WHOLE_BATCH},
        ),
        "supervised_all": Preset(
            settings=replace(_official, constraint="labels", topk=10, same_label="all"),
            optimisation=_published,
            note="the published supervised top-all, ImageNet, ResNet-50",
            differs={"batch norm": WHOLE_BATCH},
        ),
    }
