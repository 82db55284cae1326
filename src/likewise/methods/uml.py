"""UML: few-shot tasks made of the views of unlabelled images, every image a class of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from likewise.distributed import common, gather_with_gradient
from likewise.encoders import Encoder
from likewise.encoders.task_head import TaskProjection
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity.labelled.episodes import (
    Similarity,
    Tasks,
    draw_tasks,
    hard_negatives,
    mixed_logits,
    projected_logits,
    prototype_logits,
    prototype_loss,
    with_hard,
)
from likewise.views import Shift, ViewPolicy, strong


class UML(Method):
    """Unsupervised Meta-Learning via the Characteristics of Few-Shot Tasks.

    Each image of a batch is a class of its own, and its `shot` + `query` views are what the class has. Of the
    embeddings e of one pass, `tasks` tasks are made (sufficient episodic sampling, SES): `way` images each, of every
    one `shot` views as supports and the others as queries. With p_n the mean of the supports of image n,

        L = mean over queries q of all tasks of -log softmax_n( <q, p_n / |p_n|> / T ) at q's own image

    The prototype is normalised and the query is not (semi-normalised similarity, SNS): the length of a query is its own
    temperature. Three parts can be switched on or off beside it, each alone: `tasks` 1 leaves out SES; `similarity`
    takes another one than SNS; `hard_supports` k > 0 adds to each query the logits of k supports between it and its
    most similar rows of other images, (1 - c) e_j + c e_q with c uniform below `hard_share` (HMS: not divided by T);
    `projection_heads` > 0 lets supports and queries of a task adapt to each other by self-attention before prototypes
    are made (TSP: in training alone). No labels are looked at.

    Order inside a step: all views through the encoder, tasks drawn for the whole batch, hard supports, loss.

    Ye, Han, Zhan: Revisiting Unsupervised Meta-Learning via the Characteristics of Few-Shot Tasks, TPAMI 2022, arXiv
    2011.14663, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Unsupervised Meta-Learning via the Characteristics of Few-Shot Tasks",
        paper="Ye, Han, Zhan. Revisiting Unsupervised Meta-Learning via the Characteristics of Few-Shot Tasks. TPAMI "
        "2022, arXiv 2011.14663",
        summary="When classes will be told apart by one to fifty examples each, and no labels are there to train with.",
        smallest_batch=5,
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of UML. The defaults are those of the small preset."""

        tasks: int = 64
        """Tasks that are made of a batch; 1 is without sufficient episodic sampling."""
        way: int = 5
        """Images in a task; at most as many as a batch has."""
        shot: int = 1
        """Views of an image that are supports."""
        query: int = 5
        """Views of an image that are queries."""
        similarity: Similarity = "sns"
        """Of query and prototype; `sns` normalises the prototype alone."""
        temperature: float = 1.0
        """T: divides the similarities to prototypes."""
        hard_supports: int = 0
        """k: mixed supports of each query; 0 is without them. The paper's number is 10."""
        hard_share: float = 0.5
        """Largest share of the query in a mixed support."""
        projection_heads: int = 0
        """Heads of the task projection; 0 is without it."""
        projection_dim: int = 128
        """Dimensions of each of its heads; 0 stands for those of the embedding."""
        projection_dropout: float = 0.2
        """Share of its output that is dropped in training."""
        projection_rate: float = 1.0
        """Its learning rate as a multiple of the encoder's."""

        def __post_init__(self) -> None:
            at_least("tasks", self.tasks, 1)
            at_least("way", self.way, 2)
            at_least("shot", self.shot, 1)
            at_least("query", self.query, 1)
            positive("temperature", self.temperature)
            at_least("hard_supports", self.hard_supports, 0)
            between("hard_share", self.hard_share, 0.0, 1.0)
            at_least("projection_heads", self.projection_heads, 0)
            at_least("projection_dim", self.projection_dim, 0)
            between("projection_dropout", self.projection_dropout, 0.0, 1.0)
            positive("projection_rate", self.projection_rate)

        def idle(self) -> dict[str, str]:
            """Settings of the parts that are left out."""
            hard = {} if self.hard_supports else {"hard_share": "hard_supports above 0"}
            names = ("projection_dim", "projection_dropout", "projection_rate")
            return hard if self.projection_heads else {**hard, **dict.fromkeys(names, "projection_heads above 0")}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if facts.batch_size < settings.way:
            raise InputError(
                f"way={settings.way} images in a task, and a batch has {facts.batch_size}: allowed are 2 to that many"
            )
        self.settings, self.encoder = settings, encoder
        self.projection = (
            TaskProjection(
                encoder.features,
                heads=settings.projection_heads,
                head_dim=settings.projection_dim or None,
                dropout=settings.projection_dropout,
            )
            if settings.projection_heads
            else None
        )
        self.views = dict.fromkeys((f"view_{number}" for number in range(settings.shot + settings.query)), view(facts))

    def step(self, views: Views, batch: Batch) -> Terms:
        """One pass for all tasks, which are drawn over the whole batch."""
        settings, count = self.settings, len(self.views)
        e_ND = self.encoder(torch.cat([views[role].image for role in self.views]))
        e_ND = e_ND.to(torch.promote_types(e_ND.dtype, torch.float32))
        watched_BD = e_ND[: len(batch.ids)].detach()
        e_ND = torch.cat([gather_with_gradient(view_BD) for view_BD in e_ND.chunk(count)])
        images = len(e_ND) // count
        drawn = draw_tasks(images, tasks=settings.tasks, way=settings.way, shot=settings.shot, query=settings.query)
        tasks = Tasks(*(common(rows.to(e_ND.device)) for rows in drawn))
        logits = self.compared(e_ND, tasks)
        if settings.hard_supports:
            logits = with_hard(logits, self.hard(e_ND, images), tasks)
        right = (logits.detach().argmax(1) == tasks.labels).to(e_ND.dtype).mean()
        return Terms(prototype_loss(logits, tasks), {"task_accuracy": right}, watched_BD)

    def compared(self, e_ND: Tensor, tasks: Tasks) -> Tensor:
        """Logits of all queries over the images of their task."""
        how = self.settings.similarity, self.settings.temperature
        if self.projection is None:
            return prototype_logits(e_ND, tasks, *how)
        return projected_logits(e_ND, tasks, self.projection, *how)

    def hard(self, e_ND: Tensor, images: int) -> Tensor:
        """(N, k) logits of the mixed supports of every row, the same draw in all processes."""
        count = min(self.settings.hard_supports, len(e_ND) - len(e_ND) // images)
        negative_Nk = hard_negatives(e_ND, images, count, self.settings.similarity)
        drawn_Nk = common(torch.rand(len(e_ND), count).to(e_ND.device))
        return mixed_logits(e_ND, negative_Nk, self.settings.hard_share * drawn_Nk, self.settings.similarity)

    def encoders(self) -> dict[str, nn.Module]:
        """The one network there is; the task projection is left behind."""
        return {"student": self.encoder}

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """The projection learns at a rate of its own."""
        groups: list[dict[str, Any]] = [{"params": list(self.encoder.parameters())}]
        if self.projection is not None:
            groups.append({"params": list(self.projection.parameters()), "rate": self.settings.projection_rate})
        return groups

    _resnet12: ClassVar = Optimisation(
        learning_rate=0.03, weight_decay=5e-4, nesterov=True, schedule="cosine_epoch", batch_size=32, epochs=200
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=5e-4, nesterov=True, batch_size=32, epochs=20),
            note="narrow encoders, images up to 64 px",
        ),
        "resnet12": Preset(
            settings=Settings(tasks=256),
            optimisation=_resnet12,
            note="the published recipe for miniImageNet, resnet12 at 84 px, SES and SNS alone",
        ),
        "resnet12_hms": Preset(
            settings=Settings(tasks=256, hard_supports=10),
            optimisation=_resnet12,
            note="the same with hard mixed supports, for one to five shots",
        ),
        "resnet12_tsp": Preset(
            settings=Settings(tasks=256, projection_heads=8, projection_dim=0, projection_rate=10.0),
            optimisation=_resnet12,
            note="the same with the task projection, for twenty shots and more",
        ),
        "convnet": Preset(
            settings=Settings(tasks=256),
            optimisation=Optimisation(
                optimiser="adamw",
                learning_rate=0.002,
                weight_decay=0.0,
                schedule="cosine_epoch",
                batch_size=64,
                epochs=100,
            ),
            note="the published recipe for miniImageNet, convnet4 at 84 px, SES and SNS alone",
        ),
    }


def view(facts: Facts) -> ViewPolicy:
    """The views of AMDIM as UML has them: all views of an image are mirrored, or none (section 4).

    Crop of .08 to 1, moved by up to 4 px of 84 in 8 of 10 images, colours, grey.
    """
    made = strong(
        facts.image_size,
        scale=(0.08, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.2,
        grey=0.25,
        blur=0.0,
    )
    return replace(made, shared_flip=True, shift=Shift(reach=4 / 84, probability=0.8))
