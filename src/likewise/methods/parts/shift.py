"""Shared parts of the mean-shift methods: settings, networks, memory and views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from likewise.encoders import Encoder, heads, norms
from likewise.memory import LABEL, Queue
from likewise.methods.method import Facts
from likewise.methods.parts.checks import at_least, between
from likewise.teachers import Momentum
from likewise.views import ViewPolicy
from likewise.views.policies.pair import PairPolicy, teacher_student


@dataclass(frozen=True, kw_only=True)
class ShiftSettings:
    """Settings of MSF that its relatives have as well, with the defaults of most small presets."""

    queue_size: int = 1024
    """Rows of the memory, K. Smaller than the data set; it has room for a batch at least."""
    topk: int = 5
    """k: neighbours that an embedding is pulled to, the teacher's own vector among them."""
    momentum: float = 0.9
    """m: share of its old weights that the teacher keeps at each step."""
    embedding: int = 64
    """Length D of the embedding; 0 stands for a quarter of the encoder's features F."""
    split_batch_norm: int = 1
    """Groups that batch statistics are computed in, as on so many devices. More than 1 is the published form, where
    the teacher's images are permuted for their pass besides; 1 takes those of the whole batch."""
    views: PairPolicy = "weak/strong"
    """Teacher/student views."""
    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the image that a crop covers."""

    def __post_init__(self) -> None:
        at_least("queue_size", self.queue_size, 1)
        between("topk", self.topk, 1, self.queue_size)
        between("momentum", self.momentum, 0.0, 1.0)
        at_least("embedding", self.embedding, 0)
        at_least("split_batch_norm", self.split_batch_norm, 1)


class Parts(NamedTuple):
    """The parts of one method."""

    student: nn.Sequential
    """Encoder and projector F - 2F - D, (B, 3, H, W) -> (B, D)."""
    predictor: nn.Module
    """The student's last head D - 2F - D."""
    teacher: Momentum
    """The average of encoder and projector."""
    queue: Queue
    """The teacher's vectors of earlier steps."""
    views: dict[str, ViewPolicy]
    """For the roles `student` and `teacher`."""


def shift_parts(encoder: Encoder, settings: ShiftSettings, facts: Facts, *, columns: tuple[str, ...] = ()) -> Parts:
    """BYOL's networks and a memory, which remembers the label of each vector, and what else `columns` name."""
    features = encoder.features
    dim = settings.embedding or features // 4
    student = nn.Sequential(encoder, heads.mlp([features, 2 * features, dim]))
    predictor = heads.mlp([dim, 2 * features, dim])
    for network in (student, predictor):
        norms.convert(network, split=settings.split_batch_norm)
    queue = Queue(facts.room(settings.queue_size), dim, columns=dict.fromkeys(("label", *columns), LABEL))
    views = teacher_student(settings.views, facts.image_size, scale=settings.crop_scale)
    return Parts(student, predictor, Momentum(student), queue, views)
