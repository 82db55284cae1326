"""Shared parts of MoCo v2 and the methods built on it: settings, networks, queue and views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from likewise.encoders import Encoder, heads, norms
from likewise.encoders.passes.shuffling import shuffled
from likewise.memory import LABEL, Queue
from likewise.methods.method import Facts, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity import unit
from likewise.teachers import Momentum
from likewise.views import ViewPolicy
from likewise.views.policies.pair import strong_views


@dataclass(frozen=True, kw_only=True)
class MocoSettings:
    """Settings of MoCo v2 that its relatives have as well, with the defaults of its small preset."""

    queue_size: int = 4096
    """Negative keys, K."""
    temperature: float = 0.1
    """T: divides all similarities."""
    momentum: float = 0.99
    """m: share of its old weights that the key encoder keeps at each step."""
    embedding: int = 128
    """Length D of queries and keys."""
    split_batch_norm: int = 8
    """Groups that batch statistics are computed in, so that they cannot tell a query its key; 1 turns it off."""
    shuffle: bool = True
    """Permute the images of the keys for their pass, over all processes, so that no key is normalised among the same
    images as its query. Of effect where batch statistics are those of a part of the batch."""
    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the image that a crop covers."""

    def __post_init__(self) -> None:
        at_least("queue_size", self.queue_size, 1)
        positive("temperature", self.temperature)
        between("momentum", self.momentum, 0.0, 1.0)
        at_least("embedding", self.embedding, 1)
        at_least("split_batch_norm", self.split_batch_norm, 1)


class Parts(NamedTuple):
    """The parts of one method."""

    student: nn.Sequential
    """Query encoder and head, (B, 3, H, W) -> (B, D)."""
    teacher: Momentum
    """The key encoder and its head."""
    queue: Queue
    """The keys of earlier steps."""
    views: dict[str, ViewPolicy]
    """The strong policy for the roles `first` and `second`."""


def moco_parts(
    encoder: Encoder,
    settings: MocoSettings,
    facts: Facts,
    *,
    hidden: bool = True,
    necks: int = 1,
    columns: tuple[str, ...] = (),
) -> Parts:
    """Query encoder with the head F - F - D (without `hidden` F - D), and all that follows from it.

    With several `necks` networks give as many embeddings of an image side by side. The queue holds one, and remembers
    the label of each key, and what else `columns` name.
    """
    norms.convert(encoder, split=settings.split_batch_norm)
    features, dim = encoder.features, settings.embedding
    widths = [features, features, dim] if hidden else [features, dim]
    made = [heads.mlp(widths, hidden_norm=None) for _ in range(necks)]
    student = nn.Sequential(encoder, made[0] if necks == 1 else heads.Beside(*made))
    views = strong_views(("first", "second"), facts.image_size, scale=settings.crop_scale)
    queue = Queue(settings.queue_size, dim, columns=dict.fromkeys(("label", *columns), LABEL))
    return Parts(student, Momentum(student), queue, views)


def shuffled_pass(teacher: Momentum, image: Tensor, *, shuffle: bool) -> Tensor:
    """The teacher's output for a view, row by row, its images permuted for the pass where wanted."""
    return shuffled(teacher, image) if shuffle else teacher(image)


def key(teacher: Momentum, image: Tensor, *, shuffle: bool) -> Tensor:
    """(B, D) unit keys of a view, their images permuted across processes for the pass where wanted."""
    return unit(shuffled_pass(teacher, image, shuffle=shuffle))


def pairs(
    student: nn.Module, teacher: Momentum, views: Views, *, symmetric: bool, shuffle: bool
) -> list[tuple[Tensor, Tensor]]:
    """(B, D) queries of the first view with unit keys of the second; where symmetric the other way round as well."""
    first, second = views["first"].image, views["second"].image
    directions = [(first, second), (second, first)] if symmetric else [(first, second)]
    return [(student(seen), key(teacher, other, shuffle=shuffle)) for seen, other in directions]
