"""NCC, later ProPos: clustering on BYOL; prototypes are pushed apart, images only pulled, from around their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.distributed import common, gather, gather_with_gradient, positions
from likewise.encoders import Encoder, heads, norms
from likewise.encoders.passes.shuffling import shuffled
from likewise.memory import LABEL, Clusters, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.schedules import momentum_at
from likewise.similarity import unit
from likewise.similarity.prototypes.scattering import alignment, prototypes, sampled, scatter
from likewise.teachers import Momentum
from likewise.views.policies.pair import strong_views, two_views


class NCC(Method):
    """Non-contrastive clustering with prototype scattering and positive sampling (NCC, later ProPos).

    BYOL, and k-means of the teacher's embeddings of all images every few epochs, whose clusters are labels until the
    next. With z the student's projection of one view, k the unit projection of the other by the teacher, and q_c, k_c
    the unit means of unit(z) and k over the members of cluster c in the batch,

        L = -2 mean cos(predictor(z + sigma noise), k) + lambda L_scatter(q, k),   mean over both orders of the views

    (`alignment`, `scatter`). No image is pushed away, only prototypes are. A first share of the budget is BYOL alone,
    without noise. An optional queue of earlier keys makes up for batches with few members a cluster.

    Order inside a step: both look, losses, keys enter the queue, teacher moves towards the weights that were just
    used; with `update="before"` it moves before the step.

    Huang, Chen, Zhang, Shan: Learning Representation for Clustering via Prototype Scattering and Positive Sampling,
    TPAMI 2022, arXiv 2111.11821; version 1: Exploring Non-Contrastive Representation Learning for Deep Clustering.
    """

    card: ClassVar[Card] = Card(
        title="Non-Contrastive Clustering (ProPos)",
        paper="Huang, Chen, Zhang, Shan. Learning Representation for Clustering via Prototype Scattering and Positive "
        "Sampling. TPAMI 2022, arXiv 2111.11821",
        summary="To cluster a data set whose number of classes is known or can be guessed; batches must hold several "
        "images of each cluster.",
        memory="prototypes",
        within_batch=True,
        deploy="teacher",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of NCC. The defaults are those of the small preset."""

        clusters: int = 0
        """Number of clusters; 0 stands for the number of classes where it is known, else a 500th of the images, from
        10."""
        noise_std: float = 0.001
        """sigma: deviation of the noise on the raw projection that the positive is sampled with."""
        scatter_weight: float = 0.1
        """lambda: weight of the scattering of prototypes."""
        temperature: float = 0.5
        """t: divides the similarities of prototypes."""
        plain_share: float = 0.1
        """First share of the budget that is BYOL alone; 50 of 1000 epochs in the official recipe."""
        refresh_every: int = 2
        """Epochs between two clusterings; the first comes before training."""
        queue_size: int = 0
        """Earlier teacher keys that prototypes are made of beside the batch; 0 for none."""
        momentum: float = 0.9
        """m: share of its old weights that the teacher keeps at each step; the first value where it rises."""
        momentum_schedule: Literal["constant", "cosine"] = "cosine"
        """cosine: rises to 1 over the budget; constant in the official CIFAR-10 recipe."""
        update: Literal["after", "before"] = "after"
        """When the teacher moves: after the losses, or before them as in the second version of the code."""
        together: bool = False
        """Both views through each network in one pass, so with common batch statistics, as in the second version."""
        balanced: bool = False
        """Draw images so that each cluster is seen as often as any other, as the second version does."""
        shuffle: bool = True
        """Permute the teacher's images for their pass, over all processes, so that none is normalised among the same
        images as for the student. Of effect where batch statistics are those of a part of the batch."""
        split_batch_norm: int = 1
        """Groups that batch statistics are computed in, as on so many devices; 1 takes those of the whole batch."""
        hidden: int = 1024
        """Width of the hidden layer of projector and predictor."""
        embedding: int = 128
        """Length D of the embedding."""
        predictor_rate: float = 10.0
        """Factor on the learning rate for the predictor."""
        views: Literal["same", "asymmetric"] = "same"
        """same: SimCLR's colours for both, with blur above 64 px; asymmetric: BYOL's pair, as for ImageNet."""
        crop_scale: tuple[float, float] = (0.08, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            for name in ("clusters", "noise_std", "scatter_weight", "queue_size"):
                at_least(name, getattr(self, name), 0)
            positive("temperature", self.temperature)
            between("plain_share", self.plain_share, 0.0, 1.0)
            between("momentum", self.momentum, 0.0, 1.0)
            for name in ("refresh_every", "hidden", "embedding", "split_batch_norm"):
                at_least(name, getattr(self, name), 1)
            positive("predictor_rate", self.predictor_rate)

    needs_refresh = True

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        hidden, dim, images = settings.hidden, settings.embedding, facts.images
        self.student = nn.Sequential(encoder, heads.mlp([encoder.features, hidden, dim]))
        self.predictor = heads.initialise(heads.mlp([dim, hidden, dim]), 0.01)
        self.teacher = Momentum(self.student)
        norms.convert(self, split=settings.split_batch_norm)
        usual = min(images, facts.classes or max(10, images // 500))
        self.clusters = Clusters(images, settings.clusters or usual, dim)
        self.queue = Queue(settings.queue_size, dim, columns={"index": LABEL}) if settings.queue_size else None
        side, scale = facts.image_size, settings.crop_scale
        if settings.views == "asymmetric":
            self.views = two_views(side, scale=scale, interpolation="bicubic")
        else:
            self.views = strong_views(("first", "second"), side, scale=scale)
        self.plain = False
        """Whether the run is still in its plain share; follows from the progress at each step."""

    def refresh_due(self, epoch: int) -> bool:
        """Every few epochs, from before the first."""
        return epoch % self.settings.refresh_every == 0

    def refresh_with(self) -> nn.Module:
        """Teacher and its projector."""
        return self.teacher.network

    def refresh(self, features_ND: Tensor, progress: Progress) -> None:
        """Spherical k-means of all images."""
        self.clusters.find(features_ND, metric="cosine", iterations=300)

    def sample_weights(self) -> Tensor | None:
        """Weights by which each cluster is drawn as often as any other, where this is wanted."""
        return self.clusters.even_weights() if self.settings.balanced else None

    def before_step(self, progress: Progress) -> None:
        """Know whether there are noise and scattering yet; second version: the teacher moves."""
        self.plain = progress.fraction < self.settings.plain_share
        if self.settings.update == "before":
            self._move(progress)

    def after_backward(self, progress: Progress) -> None:
        """First version: the teacher moves towards the weights of the pass, before the optimiser changes them."""
        if self.settings.update == "after":
            self._move(progress)

    def _move(self, progress: Progress) -> None:
        settings = self.settings
        self.teacher.update(self.student, momentum_at(settings.momentum, settings.momentum_schedule, progress.fraction))

    def step(self, views: Views, batch: Batch) -> Terms:
        """Alignment and scattering in both orders of the views; then the keys enter the queue."""
        images, settings = [views["first"].image, views["second"].image], self.settings
        z_2BD = self._through(self.student, images)
        k_2BD = [unit(k_BD) for k_BD in self._through(self._look, images)]
        labels_N = self.clusters.of(gather(batch.ids))
        sigma = 0.0 if self.plain else settings.noise_std
        around_2BD = [sampled(z_BD, self._noise(z_BD, len(labels_N)), sigma) for z_BD in z_2BD]
        p_2BD = self._through(self.predictor, around_2BD)
        aligned, scattered = [], []
        for z_BD, p_BD, k_BD in zip(z_2BD, p_2BD, reversed(k_2BD), strict=True):
            aligned.append(alignment(p_BD, k_BD))
            if not self.plain:
                scattered.append(self._scatter(z_BD, k_BD, labels_N))
        parts = {"align": torch.stack(aligned).mean()}
        loss = parts["align"]
        if scattered:
            parts["scatter"] = torch.stack(scattered).mean()
            loss = loss + settings.scatter_weight * parts["scatter"]
        if self.queue is not None:
            for k_BD in k_2BD:
                self.queue.push(gather(k_BD), index=gather(batch.ids))
        return Terms(loss, {name: part.detach() for name, part in parts.items()}, z_2BD[0].detach())

    def _through(self, network: Callable[[Tensor], Tensor], views: list[Tensor]) -> list[Tensor]:
        """What the network makes of each view: in passes of their own, or in one with common batch statistics."""
        if self.settings.together:
            return list(network(torch.cat(views)).chunk(2))
        return [network(view) for view in views]

    def _look(self, image: Tensor) -> Tensor:
        """The teacher's projections, its images permuted for the pass where wanted."""
        return shuffled(self.teacher, image) if self.settings.shuffle else self.teacher(image)

    def _noise(self, z_BD: Tensor, drawn: int) -> Tensor:
        """(B, D) this process's part of what is drawn for the global batch."""
        return common(torch.randn(drawn, z_BD.shape[1], device=z_BD.device))[positions(z_BD)]

    def _scatter(self, z_BD: Tensor, k_BD: Tensor, labels_N: Tensor) -> Tensor:
        """Scattering of the prototypes of the global batch and the queue; the same on every process."""
        q_ND, k_ND = gather_with_gradient(unit(z_BD)), gather(k_BD)
        if self.queue is not None:
            rows_KD = self.queue.rows.clone()
            q_ND, k_ND = torch.cat([q_ND, rows_KD]), torch.cat([k_ND, rows_KD])
            labels_N = torch.cat([labels_N, self.clusters.of(self.queue.column("index"))])
        count = len(self.clusters)
        return scatter(prototypes(q_ND, labels_N, count), prototypes(k_ND, labels_N, count), self.settings.temperature)

    def encoders(self) -> dict[str, nn.Module]:
        """Student and teacher, each with its own running statistics."""
        return {"student": self.student[0], "teacher": self.teacher.network.get_submodule("0")}

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """The predictor learns faster, throughout the schedule."""
        return [
            {"params": list(self.student.parameters())},
            {"params": list(self.predictor.parameters()), "rate": self.settings.predictor_rate},
        ]

    _official: ClassVar = Settings(plain_share=0.05, refresh_every=1, momentum=0.996, hidden=4096, embedding=256)

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.05, weight_decay=5e-4, warmup=0.05, epochs=30),
            note="narrow encoders, images up to 64 px",
        ),
        "cifar10": Preset(
            settings=replace(_official, momentum_schedule="constant", split_batch_norm=4),
            optimisation=Optimisation(
                learning_rate=0.1, weight_decay=5e-4, warmup=0.05, cosine_over="budget", batch_size=512, epochs=1000
            ),
            normalisation="cifar10",
            note="the official CIFAR-10 recipe, ResNet-18; its cosine, too, ends a little above 0",
        ),
        "cifar20": Preset(
            settings=replace(_official, update="before", together=True, balanced=True, split_batch_norm=4),
            optimisation=Optimisation(
                learning_rate=0.05, weight_decay=5e-4, warmup=0.05, cosine_over="budget", batch_size=256, epochs=1000
            ),
            normalisation="cifar100",
            note="the official recipe for CIFAR-20 and dogs, second version of the code",
        ),
        "imagenet": Preset(
            settings=replace(
                _official,
                clusters=1000,
                noise_std=1e-4,
                scatter_weight=1e-3,
                queue_size=10_240,
                refresh_every=10,
                momentum=0.99,
                predictor_rate=1.0,
                views="asymmetric",
            ),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=4.8,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=0.05,
                cosine_over="budget",
                batch_size=4096,
                epochs=200,
            ),
            note="the published numbers for ImageNet: rate .3 x batch/256; weight decay and warm-up are likely, not "
            "known for sure",
        ),
    }
