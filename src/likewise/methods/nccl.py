"""NCCL: contrast of a new vector with many old ones of its class, weighted towards the old encoder's neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder
from likewise.encoders.neck import with_neck
from likewise.errors import InputError
from likewise.memory import LABEL, Clusters, Column, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.classifiers import CosineClassifier
from likewise.methods.parts.old import Old, check_old
from likewise.similarity import unit
from likewise.similarity.compatible import affinity, consensus, credible, fitted
from likewise.similarity.mutual import classification
from likewise.views import weak


class NCCL(Method):
    """Neighbourhood consensus contrastive learning for backward-compatible representation.

    With v = unit(f(x)) the new vector, o the unit old vector of the same image, s and r the scores that the new
    classifier gives v and o, and a memory of earlier o_j, r_j with labels,

        L = CE(s, y) + alpha consensus(v, o_j) + beta consensus(s, r_j),   w_ij = (1 + o_i.o_j) / 2

    (`likewise.similarity.compatible.consensus`): all old vectors of the image's class attract the new one, those in the
    neighbourhood of its own old vector most. Old vectors are computed once, of the centre of each image. With
    `filter_old` images whose old vector lies clearly in no class (`credible`) train the classifier only, as published;
    by default none is left out, since of the vectors of a weak encoder none passes.

    Order inside a step: scores of old vectors without gradient; they enter the memory with the old vectors; then the
    losses, so that an image's own old vector is among its positives.

    With `classes=clusters` the classes are k-means clusters of the old vectors and no label is used. That form is ours,
    not the paper's.

        likewise train photos/ --labels folders --method nccl --old runs/old --out runs/new

    Wu, Chen, Lou, Bai, Bai, Deng, Duan: Neighborhood Consensus Contrastive Learning for Backward-Compatible
    Representation, AAAI 2022, arXiv 2108.03372.
    """

    card: ClassVar[Card] = Card(
        title="Neighbourhood consensus contrastive learning (NCCL)",
        paper="Wu, Chen, Lou, Bai, Bai, Deng, Duan. Neighborhood Consensus Contrastive Learning for "
        "Backward-Compatible Representation. AAAI 2022, arXiv 2108.03372",
        summary="To change an encoder while the vectors of the old one stay in use, where the old classifier is not at "
        "hand, knew other classes, or was weak; with `classes=clusters` without labels.",
        needs=("some labels", "old encoder"),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of NCCL. The defaults are those of the small preset."""

        old: str = ""
        """The old encoder: a run directory, a .safetensors file, an index (photos.index) whose vectors it made, a timm
        model with published weights, or a table of its vectors by image (.npz, .parquet)."""
        classes: Literal["labels", "clusters"] = "labels"
        """labels: those of the data, as published. clusters: of the old vectors, without labels; ours."""
        clusters: int = 0
        """Number of clusters; 0 stands for the number of classes where it is known, else a 500th of the images, from
        10."""
        filter_old: bool = False
        """Leave out old vectors that are not credible. A weak old encoder has none of these."""
        queue_size: int = 2048
        """Old vectors in the memory."""
        temperature: float = 0.1
        """tau: divides similarities of vectors."""
        temperature_scores: float = 1.0
        """The same for products of scores; one tau in the paper."""
        weight_vectors: float = 1.0
        """alpha: weight of the consensus of vectors."""
        weight_scores: float = 0.01
        """beta: weight of the consensus of scores."""
        scores: Literal["raw", "unit"] = "raw"
        """Scores as they are, or as vectors of unit length; then beta=1 is of the right size."""
        scale: float = 16.0
        """s: factor on the classifier's cosines."""
        margin: float = 0.0
        """Radians that the angle to an image's own class is made harder by in the classification (ArcFace)."""
        cut: bool = False
        """Vectors are the first pooled features; else a layer makes as many of them as old vectors have dimensions."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            check_old(self.old)
            at_least("queue_size", self.queue_size, 1)
            for name in ("clusters", "weight_vectors", "weight_scores"):
                at_least(name, getattr(self, name), 0)
            for name in ("temperature", "temperature_scores", "scale"):
                positive(name, getattr(self, name))
            between("margin", self.margin, 0.0, 1.5)

        def idle(self) -> dict[str, str]:
            """What belongs to clusters where labels are used, and to a consensus that has no weight."""
            result = {} if self.classes == "clusters" else {"clusters": "classes=clusters"}
            if not self.weight_vectors:
                result["temperature"] = "weight_vectors above 0"
            if not self.weight_scores:
                result |= dict.fromkeys(("temperature_scores", "scores"), "weight_scores above 0")
            if not self.weight_vectors and not self.weight_scores:
                result |= {"filter_old": "weight_vectors above 0"}
            return result

    needs_refresh = True
    credible: Tensor

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if not settings.old:
            raise InputError(
                "nccl needs an old encoder: name a run directory, a .safetensors file or a table of its vectors with "
                "--old (bct without one trains a first encoder)"
            )
        if settings.classes == "labels" and facts.classes < 2:
            raise InputError(
                "nccl needs labels of two classes or more: name their column with --labels, or take clusters of the "
                "old vectors for classes with --classes clusters"
            )
        self.settings = settings
        self.old = Old(settings.old, facts)
        self.student = encoder if settings.cut else with_neck(encoder, self.old.dim)
        count = facts.classes
        if settings.classes == "clusters":
            usual = min(facts.images, facts.classes or max(10, facts.images // 500))
            self.clusters = Clusters(facts.images, settings.clusters or usual, self.old.dim)
            count = len(self.clusters)
        self.classifier = CosineClassifier(self.old.dim, count, settings.scale)
        columns = {"label": LABEL, "scores": Column(fill=0.0, width=count, dtype=torch.float32)}
        self.queue = Queue(facts.room(settings.queue_size), self.old.dim, columns=columns)
        self.register_buffer("credible", torch.zeros(0, dtype=torch.bool), persistent=False)
        self.labels: Tensor | None = None
        self.views = {"view": weak(facts.image_size, scale=settings.crop_scale)}

    # The old encoder -------------------------------------------------------------------------------------------------

    def refresh_due(self, epoch: int) -> bool:
        """Old vectors are computed once."""
        return self.refresh_lost()

    def refresh_lost(self) -> bool:
        """Old vectors are not in checkpoints: they can be made again."""
        return not self.old.full()

    def know(self, names: Sequence[str], labels_N: Tensor | None) -> None:
        """Names and labels, for the old vectors of `refresh`."""
        self.names, self.labels = names, labels_N

    def refresh_with(self) -> nn.Module | None:
        """The old encoder, unless its vectors were given."""
        return self.old.look_with()

    def refresh(self, features_ND: Tensor, progress: Progress) -> None:
        """Keep the old vectors, find which of them are credible and, where asked for, cluster them."""
        self.old.fill(features_ND, self.names)
        vectors_ND = unit(self.old.vectors)
        there_N = self.old.has(torch.arange(len(vectors_ND), device=vectors_ND.device))
        if self.settings.classes == "clusters":
            self.clusters.find(vectors_ND)
            labels_N = self.clusters.labels
        else:
            assert self.labels is not None
            labels_N = self.labels
        labels_N = labels_N.where(there_N, -1)
        known_N = labels_N >= 0
        self.credible = known_N.clone()
        if self.settings.filter_old:
            # classes without an image have no centre
            present, numbered = torch.unique(labels_N[known_N], return_inverse=True)
            self.credible[known_N] = credible(vectors_ND[known_N], numbered, len(present)).mask
        if not bool(self.credible.any()):
            raise InputError(
                f"old={self.settings.old!r}: none of its vectors lies clearly in one class, so nothing would be left "
                "to learn from; leave filter_old out"
            )

    def _label(self, batch: Batch) -> Tensor:
        """(B,) class of each image, -1 where unknown."""
        if self.settings.classes == "clusters":
            return self.clusters.of(batch.ids)
        return torch.full_like(batch.ids, -1) if batch.labels is None else batch.labels

    # Training --------------------------------------------------------------------------------------------------------

    def step(self, views: Views, batch: Batch) -> Terms:
        """Scores; the credible old vectors enter the memory; then classification and both forms of consensus."""
        settings, device = self.settings, batch.ids.device
        x_BD = self.student(views["view"].image)
        x_ND = gather_with_gradient(x_BD)
        labels_N, index_N = gather(self._label(batch)), gather(batch.ids)
        v_ND = self._unit(x_ND)
        scores_NC = self.classifier(v_ND)
        old_ND = unit(self.old(index_N)).to(v_ND.dtype)
        with torch.no_grad():
            old_scores_NC = self.classifier(old_ND)
        harder_NC = self.classifier.with_margin(scores_NC, labels_N, settings.margin)
        new = classification(harder_NC, labels_N)
        right = (scores_NC.argmax(1) == labels_N).float().mean()
        parts = {"classification": new.detach(), "accuracy": right}
        good_N = self.credible.to(device)[index_N] & (labels_N >= 0)
        self.queue.push(old_ND[good_N], label=labels_N[good_N], scores=old_scores_NC[good_N])
        if not bool(good_N.any()):
            return Terms(new, parts, x_BD.detach())
        filled = len(self.queue)  # empty slots would count in the denominator
        memory_KD, memory_KC = self.queue.rows[:filled], self.queue.column("scores")[:filled]
        same_NK = labels_N[good_N].unsqueeze(1) == self.queue.column("label")[:filled]
        weight_NK = affinity(old_ND[good_N], memory_KD.to(old_ND.dtype))
        if settings.scores == "unit":
            scores_NC, memory_KC = unit(scores_NC), unit(memory_KC)
        first = consensus(v_ND[good_N], memory_KD, weight_NK, same_NK, settings.temperature)
        second = consensus(scores_NC[good_N], memory_KC, weight_NK, same_NK, settings.temperature_scores)
        parts |= {"consensus_vectors": first.detach(), "consensus_scores": second.detach()}
        loss = new + settings.weight_vectors * first + settings.weight_scores * second
        return Terms(loss, parts, x_BD.detach())

    def _unit(self, x_ND: Tensor) -> Tensor:
        """Unit vectors of the old length."""
        return unit(fitted(x_ND, self.old.dim))

    def encoders(self) -> dict[str, nn.Module]:
        """The encoder whose vectors have the length of old ones."""
        return {"student": with_neck(self.student, self.old.dim, "cut")}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.1, weight_decay=5e-4, epochs=20),
            note="narrow encoders, images up to 64 px",
        ),
        "clusters": Preset(
            settings=Settings(classes="clusters"),
            optimisation=Optimisation(learning_rate=0.1, weight_decay=5e-4, epochs=20),
            note="ours: the same without labels, with clusters of the old vectors for classes",
        ),
        "faces": Preset(
            settings=Settings(queue_size=8192, temperature=1.0, scale=64.0, margin=0.5, filter_old=True),
            optimisation=Optimisation(
                learning_rate=0.1, schedule="linear", weight_decay=5e-4, clip_norm=5.0, batch_size=1024, epochs=35
            ),
            note="a re-implementation's numbers for faces, ResNet-50; the paper's own are not known",
            differs={"views": "crops of a fifth of the image to all of it, and flips; published: not stated"},
        ),
    }
