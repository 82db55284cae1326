"""FNC: contrast in the batch that first looks for pictures of the same kind, by several views and a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity import own_columns, similarities, unit
from likewise.teachers import Momentum
from likewise.views.pair import strong_views

Strategy = Literal["attraction", "elimination"]


@torch.no_grad()
def detect(views_VBD: Tensor, candidates_CD: Tensor, own_BC: Tensor, topk: int, threshold: float) -> Tensor:
    """(B, C) bool, which candidates are false negatives of each picture (FNC, arXiv 2011.11765, section 3.3).

    A candidate's score is its largest cosine with any of the V views of the picture. It is a false negative where it
    is both among the `topk` best and above the `threshold`. The picture's `own_BC` candidates are no candidates.
    """
    scores_VBC = torch.stack([similarities(unit(v_BD), candidates_CD) for v_BD in views_VBD])
    score_BC = scores_VBC.amax(0).masked_fill(own_BC, -torch.inf)
    best = score_BC.topk(min(topk, score_BC.shape[1]), dim=1)
    return torch.zeros_like(own_BC).scatter_(1, best.indices, best.values > threshold)


def objective(
    views_VBD: Tensor,
    columns_CD: Tensor,
    own_VBC: Tensor,
    false_BC: Tensor,
    temperature: float,
    strategy: Strategy = "attraction",
    left_out_BC: Tensor | None = None,
) -> Tensor:
    """The contrast of each view with all other embeddings, by what is known of them (FNC, eq. 2-4).

    With z = v.e/T, P the other views of the picture (`own_VBC` but for the anchor's own column) and F its false
    negatives: attraction is -mean_{P + F} z + log sum_{all others} e^z, elimination -mean_P z + log sum_{others, not F}
    e^z. Mean over the batch, sum over the V anchors times 2/V. `left_out_BC` columns play no part.
    """
    V, total = len(views_VBD), columns_CD.new_zeros(())
    for anchor, v_BD in enumerate(views_VBD):
        z_BC = similarities(unit(v_BD), columns_CD, temperature)
        absent_BC = own_VBC[anchor] if left_out_BC is None else own_VBC[anchor] | left_out_BC
        positive_BC = own_VBC.any(0) & ~own_VBC[anchor]
        if strategy == "attraction":
            positive_BC = positive_BC | false_BC
        else:
            absent_BC = absent_BC | false_BC
        pulled_B = z_BC.masked_fill(~positive_BC, 0.0).sum(1) / positive_BC.sum(1)
        total = total + (z_BC.masked_fill(absent_BC, -torch.inf).logsumexp(1) - pulled_B).mean()
    return total * 2 / V


def own(views_VBD: Tensor, pictures: int) -> Tensor:
    """(V, B, C) bool, the one column that is each anchor itself: column = view * pictures + picture."""
    own_BN = own_columns(views_VBD[0], pictures)
    same_view_VV = torch.eye(len(views_VBD), dtype=torch.bool, device=own_BN.device)
    return (same_view_VV[:, None, :, None] & own_BN[None, :, None, :]).flatten(2)


class FNC(Method):
    """False Negative Cancellation.

    SimCLR with V views of each picture. Those embeddings of other pictures that are most similar to any of the views,
    and similar enough, are taken for false negatives: pictures of the same kind. Attraction makes positives of them,
    which stay in the denominator; elimination takes them out of it. See `objective` for the formula.

    Candidates are all views of the other pictures of the batch, or a memory of embeddings by a momentum copy of the
    network; the memory's rows then stand in the denominator beside the batch (not known for sure of the official
    code), except those of the picture itself. The memory is written after the loss.

    Huynh, Kornblith, Walter, Maire, Khademi: Boosting Contrastive Self-Supervised Learning with False Negative
    Cancellation, WACV 2022, arXiv 2011.11765, section 3.
    """

    card: ClassVar[Card] = Card(
        title="False Negative Cancellation",
        paper="Huynh, Kornblith, Walter, Maire, Khademi. Boosting Contrastive Self-Supervised Learning with False "
        "Negative Cancellation. WACV 2022, arXiv 2011.11765",
        summary="SimCLR that pulls in, or at least does not push away, pictures of the same kind; for several views a "
        "picture and batches that hold many of a kind.",
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of FNC. The defaults are those of the small preset."""

        support: int = 2
        """Views beside the two of SimCLR: V = 2 + support."""
        topk: int = 5
        """Most false negatives that a picture has."""
        threshold: float = 0.7
        """Least cosine of a false negative."""
        strategy: Strategy = "attraction"
        """What becomes of false negatives: positives, or elimination, which leaves them out."""
        temperature: float = 0.1
        """T: divides all similarities."""
        memory_batches: int = 0
        """Candidates come from a memory of so many batches, at most the data set; 0 takes those of the batch."""
        momentum: float = 0.99
        """m: share of its old weights that the copy which fills the memory keeps at each step."""
        embedding: int = 128
        """Length D of the embedding; the head has three layers, F - F - F - D."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the picture that a crop covers."""

        def __post_init__(self) -> None:
            at_least("support", self.support, 0)
            at_least("topk", self.topk, 1)
            between("threshold", self.threshold, -1.0, 1.0)
            positive("temperature", self.temperature)
            at_least("memory_batches", self.memory_batches, 0)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("embedding", self.embedding, 1)

        def idle(self) -> dict[str, str]:
            """Settings of the memory, where there is none."""
            return {} if self.memory_batches else {"momentum": "memory_batches above 0"}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        features, dim = encoder.features, settings.embedding
        self.student = nn.Sequential(encoder, heads.mlp([features, features, features, dim]))
        self.teacher: Momentum | None = None
        self.queue: Queue | None = None
        if settings.memory_batches:
            self.teacher = Momentum(self.student)
            rows = min(facts.images, settings.memory_batches * facts.batch_size)
            self.queue = Queue(rows, dim, columns={"index": LABEL, "label": LABEL})
        roles = [f"view{number + 1}" for number in range(2 + settings.support)]
        self.views = strong_views(roles, facts.image_size, mean=facts.mean, std=facts.std, scale=settings.crop_scale)

    def before_step(self, progress: Progress) -> None:
        """Move the copy that fills the memory."""
        if self.teacher is not None:
            self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Find the false negatives, contrast with all, and fill the memory."""
        settings, V = self.settings, len(views)
        raw_VBD = self.student(torch.cat([view.image for view in views.values()])).unflatten(0, (V, -1))
        columns_VND = torch.stack([gather_with_gradient(unit(v_BD)) for v_BD in raw_VBD])
        columns_CD, own_VBC = columns_VND.flatten(0, 1), own(raw_VBD, columns_VND.shape[1])
        labels_N = gather(batch.labels)
        left_out_BC = None
        if self.queue is None:
            false_BC = detect(raw_VBD, columns_CD, own_VBC.any(0), settings.topk, settings.threshold)
        else:
            rows_of = self.queue.column("index")
            absent_BM = (batch.index.unsqueeze(1) == rows_of) | (rows_of < 0)  # its own, and the noise at the start
            found_BM = detect(raw_VBD, self.queue.rows, absent_BM, settings.topk, settings.threshold)
            columns_CD = torch.cat([columns_CD, self.queue.rows])
            wider = (0, self.queue.size)
            own_VBC, in_batch = pad(own_VBC, wider), (own_VBC.shape[2], 0)
            false_BC, left_out_BC = pad(found_BM, in_batch), pad(absent_BM, in_batch)
        loss = objective(raw_VBD, columns_CD, own_VBC, false_BC, settings.temperature, settings.strategy, left_out_BC)
        parts = {"false_negatives": false_BC.sum() / len(false_BC)}
        if batch.labels is not None and labels_N is not None:
            of_C = labels_N.repeat(V)
            if self.queue is not None:
                of_C = torch.cat([of_C, self.queue.column("label")])
            right_BC = false_BC & (batch.labels.unsqueeze(1) == of_C)
            parts["precision"] = right_BC.sum() / false_BC.sum().clamp(min=1)
        if self.queue is not None and self.teacher is not None:
            keys_BD = unit(self.teacher(next(iter(views.values())).image))
            self.queue.push(gather(keys_BD), index=gather(batch.index), label=labels_N)
        return Terms(loss, parts, raw_VBD[0].detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The student alone: the copy that fills the memory is not for use."""
        return {"student": self.student[0]}

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(support=8, topk=10, memory_batches=16, momentum=0.999, crop_scale=(0.08, 1.0)),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=6.4,  # 0.1 times the root of the batch
                weight_decay=1e-4,
                decay_norms_and_biases=False,
                warmup=0.1,
                batch_size=4096,
                epochs=100,
            ),
            note="the published recipe, ImageNet, ResNet-50, 100 epochs; without its RandAugment",
        ),
    }
