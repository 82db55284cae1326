"""MCL: several networks trained together by contrast, on their own embeddings and on each other's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from likewise.distributed import gather
from likewise.encoders import Encoder, build
from likewise.memory import Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, positive
from likewise.methods.parts.moco import MocoSettings, key, moco_parts
from likewise.similarity.mutual import mutual_contrast
from likewise.teachers import Momentum, with_statistics_of
from likewise.views import strong
from likewise.views.policies.pair import blurred


def encoders(first: Encoder, networks: int) -> list[Encoder]:
    """`first` and others of its kind with random starts of their own; published weights are the same in all."""
    seeds = torch.randint(2**31, (networks - 1,)).tolist()
    return [first, *(build(first.spec, seed=seed) for seed in seeds)]


class MCL(Method):
    """Mutual contrastive learning on MoCo.

    M networks of the same kind, each with its moving average and its queue, differ in their random start alone. All
    see the same two views. Each contrasts its queries with its own keys (VCL) and with those of the others (ICL), and
    imitates the others' distributions (soft VCL, soft ICL): see `similarity.mutual`.

    Order inside a step as in MoCo: key encoders move, all look, losses against the queues as they were, then the keys
    enter them.

    One network is kept, the first. The cost is M times MoCo's, and M^2 in the small part that is similarity. The soft
    terms carry T^2 = 9: values of 10 to 25 are usual while the networks are still strangers. The form
    with labels is `likewise.methods.mcl_supervised`.

    Yang, An, Cai, Xu: Mutual Contrastive Learning for Visual Representation Learning, AAAI 2022, arXiv 2104.12565.
    """

    card: ClassVar[Card] = Card(
        title="Mutual Contrastive Learning",
        paper="Yang, An, Cai, Xu. Mutual Contrastive Learning for Visual Representation Learning. AAAI 2022, "
        "arXiv 2104.12565",
        summary="Distillation between peers that learn together, where there is no trained teacher and time for "
        "several networks; only one is kept.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(MocoSettings):
        """Settings of MCL. The defaults are those of the small preset."""

        networks: int = 2
        """M: networks that learn together; 2 or 4 in the paper."""
        kl_temperature: float = 3.0
        """T: divides logits once more where distributions are imitated, whose divergence counts T^2 times."""
        soft_weight: float = 1.0
        """Weight of the imitations, soft VCL and soft ICL; 0 is the ablation without them."""
        icl_weight: float = 0.1
        """Weight of ICL and soft ICL; 0 leaves networks that only imitate. 1 in the paper, but in a few minutes
        networks that are still strangers only drag each other about."""
        hidden: bool = True
        """The head F - F - D of MoCo v2. The published numbers are with one linear layer F - D: the official option
        for the longer head registers it where it is never used."""
        hue: float = 0.1
        """Strength of the jitter of hue; 0.4 in MoCo v1."""
        jitter: float = 0.8
        """Share of images whose colours are jittered; all in MoCo v1."""
        blur: float = 0.5
        """Share of images above 64 px that are blurred; none in MoCo v1."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("networks", self.networks, 2)
            positive("kl_temperature", self.kl_temperature)
            at_least("soft_weight", self.soft_weight, 0.0)
            at_least("icl_weight", self.icl_weight, 0.0)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        cohort = encoders(encoder, settings.networks)
        parts = [moco_parts(each, settings, facts, hidden=settings.hidden) for each in cohort]
        self.students = nn.ModuleList(each.student for each in parts)
        self.teachers = nn.ModuleList(each.teacher for each in parts)
        self.queues = nn.ModuleList(each.queue for each in parts)
        policy = strong(
            facts.image_size,
            scale=settings.crop_scale,
            hue=settings.hue,
            jitter=settings.jitter,
            blur=blurred(facts.image_size, settings.blur),
        )
        self.views = {"query": policy, "key": policy}

    def before_step(self, progress: Progress) -> None:
        """Move each key encoder towards its query encoder as it was before this step's update."""
        for teacher, student in zip(self.teachers, self.students, strict=True):
            teacher.update(student, self.settings.momentum)  # type: ignore[operator]

    def step(self, views: Views, batch: Batch) -> Terms:
        """All four parts against the queues as they were; then the keys enter them."""
        query, second, settings = views["query"].image, views["key"].image, self.settings
        teachers = [net for net in self.teachers if isinstance(net, Momentum)]
        q_MBD = [student(query) for student in self.students]
        k_MBD = [key(net, second, shuffle=settings.shuffle) for net in teachers]
        queues = [queue for queue in self.queues if isinstance(queue, Queue)]
        result = mutual_contrast(
            q_MBD, k_MBD, [queue.rows for queue in queues], settings.temperature, settings.kl_temperature
        )
        interactive = result.icl + settings.soft_weight * result.soft_icl
        loss = result.vcl + settings.soft_weight * result.soft_vcl + settings.icl_weight * interactive
        for queue, k_BD in zip(queues, k_MBD, strict=True):
            queue.push(gather(k_BD))
        parts = {name: value.detach() for name, value in result._asdict().items()}
        return Terms(loss, parts, q_MBD[0].detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Query encoder of the first network as student, its key encoder as teacher."""
        student = self.students.get_submodule("0.0")
        return {"student": student, "teacher": with_statistics_of(self.teachers.get_submodule("0.network.0"), student)}

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(
                queue_size=65_536,
                temperature=0.07,
                momentum=0.999,
                icl_weight=1.0,
                hidden=False,
                hue=0.4,
                jitter=1.0,
                blur=0.0,
            ),
            optimisation=Optimisation(
                learning_rate=0.03,
                weight_decay=1e-4,
                schedule="step",
                milestones=(120 / 200, 160 / 200),
                step_factor=0.1,
                epochs=200,
            ),
            note="the published recipe, ImageNet, two ResNet-18, MoCo v1",
        ),
    }
