"""FNC: contrast in the batch that first identifies false negatives, by several views and a threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from likewise.views import strong
from likewise.views.policies.pair import blurred
from likewise.views.policies.policy import Filter

Strategy = Literal["attraction", "elimination"]


@torch.no_grad()
def detect(views_VBD: Tensor, candidates_CD: Tensor, own_BC: Tensor, topk: int, threshold: float) -> Tensor:
    """(B, C) bool, which candidates are false negatives of each image (FNC, arXiv 2011.11765, section 3.3).

    A candidate's score is its largest cosine with any of the V views of the image. It is a false negative where it
    is both among the `topk` best and above the `threshold`. The image's `own_BC` candidates are no candidates.
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
) -> Tensor:
    """The contrast of each view with all other embeddings, by what is known of them (FNC, eq. 2-4).

    With z = v.e/T, P the other views of the image (`own_VBC` but for the anchor's own column) and F its false
    negatives: attraction is -mean_{P + F} z + log sum_{all others} e^z, elimination -mean_P z + log sum_{others, not F}
    e^z. Mean over the batch, sum over the V anchors times 2/V.
    """
    V, total = len(views_VBD), columns_CD.new_zeros(())
    for anchor, v_BD in enumerate(views_VBD):
        z_BC = similarities(unit(v_BD), columns_CD, temperature)
        absent_BC = own_VBC[anchor]
        positive_BC = own_VBC.any(0) & ~own_VBC[anchor]
        if strategy == "attraction":
            positive_BC = positive_BC | false_BC
        else:
            absent_BC = absent_BC | false_BC
        pulled_B = z_BC.masked_fill(~positive_BC, 0.0).sum(1) / positive_BC.sum(1)
        total = total + (z_BC.masked_fill(absent_BC, -torch.inf).logsumexp(1) - pulled_B).mean()
    return total * 2 / V


def own(views_VBD: Tensor, images: int) -> Tensor:
    """(V, B, C) bool, the one column that is each anchor itself: column = view * images + image."""
    own_BN = own_columns(views_VBD[0], images)
    same_view_VV = torch.eye(len(views_VBD), dtype=torch.bool, device=own_BN.device)
    return (same_view_VV[:, None, :, None] & own_BN[None, :, None, :]).flatten(2)


class FNC(Method):
    """False Negative Cancellation.

    SimCLR with V views of each image. Those embeddings of other images that are most similar to any of the views,
    and similar enough, are taken for false negatives: images of the same kind. Attraction makes positives of them,
    which stay in the denominator; elimination takes them out of it. See `objective` for the formula.

    Embeddings are compared with all views of the batch, or, as in the official code, with a memory alone, written by a
    slow copy of the network. Order inside a step with a memory: the copy looks at all V views, which enter the memory;
    the copy's views of an image score the rows of others; each anchor is compared with the rows, those of the image's
    other views being positives and that of the anchor itself left out; after the optimiser the copy moves. Rows that
    nothing was written to are 0 and stand in the denominator.

    Huynh, Kornblith, Walter, Maire, Khademi: Boosting Contrastive Self-Supervised Learning with False Negative
    Cancellation, WACV 2022, arXiv 2011.11765, section 3.
    """

    card: ClassVar[Card] = Card(
        title="False Negative Cancellation",
        paper="Huynh, Kornblith, Walter, Maire, Khademi. Boosting Contrastive Self-Supervised Learning with False "
        "Negative Cancellation. WACV 2022, arXiv 2011.11765",
        summary="SimCLR that pulls in, or at least does not push away, images of the same kind; for several views "
        "of an image and batches that hold many of a kind.",
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of FNC. The defaults are those of the small preset."""

        support: int = 2
        """Views beside the two of SimCLR: V = 2 + support."""
        topk: int = 5
        """Most false negatives that an image has."""
        threshold: float = 0.7
        """Least cosine of a false negative."""
        strategy: Strategy = "attraction"
        """What becomes of false negatives: positives, or elimination, which leaves them out."""
        temperature: float = 0.1
        """T: divides all similarities."""
        memory_batches: int = 0
        """Embeddings are compared with a memory of so many times the batch, V or more, at most all views of all images;
        0: with those of the batch."""
        momentum: float = 0.99
        """m: share of its old weights that the copy which fills the memory keeps at each step."""
        embedding: int = 128
        """Length D of the embedding; the head has three layers, F - F - F - D."""
        last_norm: bool = False
        """End the head with a layer without bias and a batch norm without shift, as the official code does."""
        jitter_strength: float = 0.5
        """s: colours change by .8 s, hue by .2 s; 1 in the paper."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""
        interpolation: Filter = "bilinear"
        """What crops are resized by; bicubic in the official code."""

        def __post_init__(self) -> None:
            at_least("support", self.support, 0)
            at_least("topk", self.topk, 1)
            between("threshold", self.threshold, -1.0, 1.0)
            positive("temperature", self.temperature)
            if self.memory_batches:
                at_least("memory_batches", self.memory_batches, 2 + self.support)
            between("jitter_strength", self.jitter_strength, 0.0, 2.5)
            between("momentum", self.momentum, 0.0, 1.0)
            at_least("embedding", self.embedding, 1)

        def idle(self) -> dict[str, str]:
            """Settings of the memory, where there is none."""
            return {} if self.memory_batches else {"momentum": "memory_batches above 0"}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        features, dim = encoder.features, settings.embedding
        head = heads.mlp(
            [features, features, features, dim],
            hidden_bias=not settings.last_norm,
            last_bias=not settings.last_norm,
            last_norm="batch_no_shift" if settings.last_norm else None,
        )
        self.student = nn.Sequential(encoder, head)
        self.teacher: Momentum | None = None
        self.queue: Queue | None = None
        if settings.memory_batches:
            self.teacher = Momentum(self.student)
            rows = min((2 + settings.support) * facts.images, settings.memory_batches * facts.batch_size)
            self.queue = Queue(rows, dim, columns={"index": LABEL, "label": LABEL})
            self.queue.rows.zero_()
        size, jitter = facts.image_size, 0.8 * settings.jitter_strength
        policy = strong(
            size,
            scale=settings.crop_scale,
            brightness=jitter,
            contrast=jitter,
            saturation=jitter,
            hue=0.2 * settings.jitter_strength,
            blur=blurred(size),
        )
        policy = replace(policy, interpolation=settings.interpolation)
        self.views = {f"view{number + 1}": policy for number in range(2 + settings.support)}

    def after_step(self, progress: Progress) -> None:
        """Move the copy that fills the memory."""
        if self.teacher is not None:
            self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Fill the memory where there is one, find the false negatives, and contrast with all."""
        settings, V = self.settings, len(views)
        images = torch.cat([view.image for view in views.values()])
        raw_VBD = self.student(images).unflatten(0, (V, -1))
        labels_N = gather(batch.labels)
        if self.teacher is None or self.queue is None:
            scored_VBD = raw_VBD
            columns_VND = torch.stack([gather_with_gradient(unit(v_BD)) for v_BD in raw_VBD])
            columns_CD, own_VBC = columns_VND.flatten(0, 1), own(raw_VBD, columns_VND.shape[1])
            none_BC, of_C = own_VBC.any(0), None if labels_N is None else labels_N.repeat(V)
        else:
            scored_VBD = self.teacher(images).unflatten(0, (V, -1))
            order_C = self.remember(scored_VBD, gather(batch.ids), labels_N)
            columns_CD, of_C = self.queue.rows[order_C], self.queue.column("label")[order_C]
            own_VBN = own(raw_VBD, len(gather(batch.ids)))
            own_VBC = pad(own_VBN, (0, self.queue.size - own_VBN.shape[2]))
            none_BC = own_VBC.any(0) | (self.queue.column("index")[order_C] < 0)  # which nothing was written to
        false_BC = detect(scored_VBD, columns_CD, none_BC, settings.topk, settings.threshold)
        loss = objective(raw_VBD, columns_CD, own_VBC, false_BC, settings.temperature, settings.strategy)
        parts = {"false_negatives": false_BC.sum() / len(false_BC)}
        if batch.labels is not None and of_C is not None:
            right_BC = false_BC & (batch.labels.unsqueeze(1) == of_C)
            parts["precision"] = right_BC.sum() / false_BC.sum().clamp(min=1)
        return Terms(loss, parts, raw_VBD[0].detach())

    def remember(self, keys_VBD: Tensor, index_N: Tensor, labels_N: Tensor | None) -> Tensor:
        """Write the copy's views of the global batch; returns the order of the rows that has these first, by view."""
        assert self.queue is not None
        rows_CD = torch.cat([gather(unit(k_BD)) for k_BD in keys_VBD])
        V = len(keys_VBD)
        self.queue.push(rows_CD, index=index_N.repeat(V), label=None if labels_N is None else labels_N.repeat(V))
        steps_C = torch.arange(self.queue.size, device=rows_CD.device)
        return (self.queue.position - len(rows_CD) + steps_C) % self.queue.size

    def encoders(self) -> dict[str, nn.Module]:
        """The student alone: the copy that fills the memory is not for use."""
        return {"student": self.student[0]}

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(
                support=8,
                topk=10,
                memory_batches=16,
                momentum=0.999,
                last_norm=True,
                jitter_strength=1.0,
                crop_scale=(0.08, 1.0),
                interpolation="bicubic",
            ),
            optimisation=Optimisation(
                optimiser="lars",
                lars_form="simclr",
                learning_rate=6.4,  # 0.1 times the root of the batch
                scaling="root",
                weight_decay=1e-4,
                decay_norms_and_biases=False,
                warmup=0.1,
                batch_size=4096,
                epochs=100,
            ),
            differs={
                "views": "normalised by ImageNet's statistics, without RandAugment; published: values of 0 to 1, two "
                "operations of RandAugment at magnitude 7 before grey"
            },
            note="the published recipe, ImageNet, ResNet-50, 100 epochs",
        ),
    }
