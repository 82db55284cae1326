"""CMSF with few labels: mean shift among neighbours of the same label, true or pseudo-label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.encoders.passes.shuffling import shuffled
from likewise.errors import InputError
from likewise.methods.cmsf import constrained_shift, watched
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
from likewise.methods.parts.checks import at_least, between
from likewise.methods.parts.cmsf.labeller import HeadKind, Labeller
from likewise.methods.parts.shift import ShiftSettings, shift_parts
from likewise.similarity import Few, neighbours, outside, unit
from likewise.teachers import evaluated


class CMSFSemi(Method):
    """Constrained Mean Shift, semi-supervised with pseudo-labels.

    A classifier on the teacher's unit vector guesses the label of each image that has none; a guess counts where its
    probability reaches the confidence threshold. With u the teacher's vector, v the student's unit prediction, and C
    the rows of the memory with the image's label, true or guessed,

        L = mean_i (1/k) sum_{j in N_k(u_i; C)} |v_i - M_j|^2.

    For an image without a label that counts C is the whole memory, which is plain mean shift; its row in the memory is
    a candidate of such images alone. The classifier is taught apart, once or twice an epoch, on a memory of labelled
    teacher vectors (`likewise.methods.parts.cmsf.labeller`).

    Order inside a step: teacher moves, both look, labels are guessed, the teacher's vectors enter both memories, then
    neighbours and loss.

    Navaneet et al.: Constrained Mean Shift Using Distant Yet Related Neighbors for Representation Learning, ECCV 2022,
    arXiv 2112.04607, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Constrained Mean Shift with few labels",
        paper="Navaneet, Koohpayegani, Tejankar, Pourahmadi, Subramanya, Pirsiavash. Constrained Mean Shift Using "
        "Distant Yet Related Neighbors for Representation Learning. ECCV 2022, arXiv 2112.04607",
        summary="When some of the images have labels: learns from all, at a small batch and on few processors.",
        needs=("some labels",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(ShiftSettings):
        """Settings of CMSF with few labels. The defaults are those of the small preset."""

        queue_size: int = 4096
        """Rows of the memory, K. Smaller than the data set; it has room for a batch at least."""
        momentum: float = 0.99
        """m: share of its old weights that the teacher keeps at each step."""
        label_share: float = 1.0
        """Share of the images whose labels may be used, drawn at random; the other labels are only watched. Where
        `--subset labels:...` has left few labels already, 1 uses these."""
        confidence: float = 0.85
        """Least probability of a guess that counts; 0 believes every guess."""
        head: HeadKind = "mlp"
        """The classifier: linear, D - 2D - classes (published), or D - 2D - 2D - classes."""
        head_epochs: int = 5
        """Passes over the labelled vectors each time that the classifier is taught; 10 in the paper."""
        head_times: int = 1
        """How often in an epoch it is taught; 2 in the paper for batches below 1024."""
        bank_size: int = 0
        """Labelled vectors that are kept for it; 0 stands for as many as there are images that may have labels."""
        empty_rows: Literal["ignored", "class 0"] = "ignored"
        """Rows of the bank that were never written: left out, or taught as class 0, as officially."""
        cache_confident: bool = False
        """Keep vectors with confident guesses for the classifier, too."""
        few: Few = "available"
        """Fewer than k candidates: the mean of those there are, or of k rows of any kind, as officially."""

        def __post_init__(self) -> None:
            super().__post_init__()
            between("label_share", self.label_share, 0.0, 1.0)
            between("confidence", self.confidence, 0.0, 1.0)
            at_least("head_epochs", self.head_epochs, 1)
            at_least("head_times", self.head_times, 1)
            at_least("bank_size", self.bank_size, 0)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if not facts.classes:
            raise InputError("cmsf_semi needs labels of some images, and there are none: without labels use cmsf")
        self.settings, self.steps_per_epoch = settings, facts.steps_per_epoch
        self.student, self.predictor, self.teacher, self.queue, self.views = shift_parts(
            encoder, settings, facts, columns=("image", "believed")
        )
        self.labeller = Labeller(
            facts.images,
            self.queue.rows.shape[1],
            facts.classes,
            head=settings.head,
            confidence=settings.confidence,
            bank_size=settings.bank_size or max(1, round(settings.label_share * facts.labelled)),
            share=settings.label_share,
        )

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update; teach the classifier when due."""
        self.teacher.update(self.student, self.settings.momentum)
        self.labeller.begin(
            progress.step,
            self.steps_per_epoch,
            self.settings.head_times,
            epochs=self.settings.head_epochs,
            empty_as_class=self.settings.empty_rows == "class 0",
        )

    def step(self, views: Views, batch: Batch) -> Terms:
        """Labels are guessed, the teacher's vectors enter the memories; then the pull to rows of the same label."""
        settings = self.settings
        v_BD = self.predictor(self.student(views["student"].image))
        u_BD = unit(shuffled(self.teacher, views["teacher"].image))
        labels_B = torch.full_like(batch.ids, -1) if batch.labels is None else batch.labels
        result = self.labeller(u_BD, labels_B, batch.ids)
        u_AD, believed_A, known_A = gather(u_BD), gather(result.labels), gather(result.known)
        self.queue.push(u_AD, image=gather(batch.ids), label=gather(labels_B), believed=believed_A)
        self.labeller.remember(u_AD, believed_A, believed_A >= 0 if settings.cache_confident else known_A)
        plain = neighbours(u_BD, self.queue.rows, settings.topk)
        same_label = outside(result.labels, self.queue.column("believed"))
        near = neighbours(u_BD, self.queue.rows, settings.topk, exclude=same_label)
        parts = watched(u_BD, labels_B, self.queue, near, plain, settings.few)
        guessed_B = ~result.known & (result.labels >= 0)
        parts["pseudo_labels"] = guessed_B.float().mean()
        right_B = guessed_B & (result.labels == labels_B)
        parts["pseudo_accuracy"] = right_B.sum() / (guessed_B & (labels_B >= 0)).sum().clamp_min(1)
        return Terms(constrained_shift(v_BD, self.queue.rows, near, few=settings.few), parts, v_BD.detach())

    def logits(self, image: Tensor) -> Tensor:
        """(B, classes) by the classifier on the teacher's unit vector, as labels are guessed."""
        return cast("Tensor", self.labeller.head(unit(self.teacher(image))))

    def encoders(self) -> dict[str, nn.Module]:
        """Student, and teacher with the student's running statistics, as both are evaluated officially."""
        return evaluated(self.student, self.teacher)

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(
                queue_size=128_000,
                topk=10,
                label_share=0.1,
                head_epochs=10,
                head_times=2,
                bank_size=128_000,
                empty_rows="class 0",
                few="any",
                embedding=0,
            ),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published CMSF-Pseudo, ImageNet with 10 % of the labels, ResNet-50",
            differs={"batch norm": WHOLE_BATCH},
        ),
    }
