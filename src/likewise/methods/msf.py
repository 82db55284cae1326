"""MSF: an embedding is pulled to the mean of the teacher's nearest neighbours; there are no negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder
from likewise.encoders.passes.shuffling import shuffled
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
from likewise.methods.parts.shift import ShiftSettings, shift_parts
from likewise.similarity import neighbours, pull, purity, unit
from likewise.teachers import evaluated


class MeanShift(NamedTuple):
    """The mean-shift loss of a batch and where it came from."""

    loss: Tensor
    """Scalar, mean over the batch."""
    rows: Tensor
    """(B, k) rows of the memory that the student was pulled to, nearest to the teacher's vector first."""


def mean_shift(student_BD: Tensor, teacher_BD: Tensor, memory_KD: Tensor, k: int) -> MeanShift:
    """Mean squared distance of the student to the `k` rows nearest to the teacher (MSF, arXiv 2105.07269, eq. 1-2).

    L = (1/B) sum_i (1/k) sum_{j in N(i)} (2 - 2 v_i . M_j), which is 2 - 2 v_i . n_i with n_i the mean of the k rows,
    so that no distance of the student to the memory is ever computed. `memory_KD` must already hold the teacher's
    vectors of this batch: the first neighbour is then the teacher's own vector, and k = 1 is BYOL.
    """
    found = neighbours(unit(teacher_BD), memory_KD, k)
    return MeanShift(pull(student_BD, memory_KD[found.rows].mean(1)), found.rows)


class MSF(Method):
    """Mean Shift for self-supervised learning.

    BYOL whose target is the mean of the k nearest neighbours, in a memory, of the teacher's view instead of that view
    alone: L = mean_i (1/k) sum_{j in N(i)} |v_i - M_j|^2, with v the unit prediction of the student and N(i) the rows
    nearest to the unit teacher vector u_i.

    Order inside a step, which differs from ISD: teacher moves, both look, the teacher's vectors enter the memory
    FIRST, then neighbours and loss. Logits and enqueue the other way round would make k = 1 a random target.

    Koohpayegani, Tejankar, Pirsiavash: Mean Shift for Self-Supervised Learning, ICCV 2021, arXiv 2105.07269, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Mean Shift",
        paper="Koohpayegani, Tejankar, Pirsiavash. Mean Shift for Self-Supervised Learning. ICCV 2021, "
        "arXiv 2105.07269",
        summary="Best accuracy per unit of computation at batch 256 without negatives; loses least with weak "
        "augmentation only, so useful outside natural images.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(ShiftSettings):
        """Settings of MSF. The defaults are those of the small preset."""

        queue_size: int = 512
        """Rows of the memory, K. Smaller than the data set; it has room for a batch at least."""
        topk: int = 2
        """k: neighbours that an embedding is pulled to, the teacher's own vector among them; 5 in the paper. Those of a
        young network are of any kind, so in a few minutes fewer are better."""

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.student, self.predictor, self.teacher, self.queue, self.views = shift_parts(encoder, settings, facts)

    def before_step(self, progress: Progress) -> None:
        """Move the teacher towards the student as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """The teacher's vectors enter the memory; then the pull to the neighbours found in it."""
        v_BD = self.predictor(self.student(views["student"].image))
        u_BD = unit(shuffled(self.teacher, views["teacher"].image))
        labels = batch.labels
        self.queue.push(gather(u_BD), label=gather(labels))
        shift = mean_shift(v_BD, u_BD, self.queue.rows, self.settings.topk)
        parts = {}
        if labels is not None:
            parts["purity"] = purity(labels, self.queue.column("label")[shift.rows])
        return Terms(shift.loss, parts, v_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Student, and teacher with the student's running statistics, as both are evaluated officially."""
        return evaluated(self.student, self.teacher)

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(queue_size=128_000, topk=5, momentum=0.99, embedding=0),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=1e-4, schedule="cosine_epoch", epochs=200),
            note="the published recipe, ImageNet, ResNet-50; the 72.4 % headline uses queue_size 1,024,000",
            differs={"batch norm": WHOLE_BATCH},
        ),
    }
