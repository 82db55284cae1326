"""MoCHi: MoCo v2 with harder negatives, mixed on the fly from the hardest ones of each query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from likewise.distributed import common, gather, positions, world
from likewise.encoders import Encoder
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views, usual
from likewise.methods.parts.checks import at_least, between
from likewise.methods.parts.moco import MocoSettings, key, moco_parts
from likewise.similarity import neighbours, read, unit
from likewise.teachers import evaluated


class Mix(NamedTuple):
    """Pairs to mix for each query: S negatives of two rows of the memory, P of a row and the query."""

    first: Tensor
    """(B, S) rows of the memory."""
    second: Tensor
    """(B, S) rows of the memory; may be the same as the first."""
    alpha: Tensor
    """(B, S) shares of the first, 0 to 1."""
    negative: Tensor
    """(B, P) rows of the memory that are mixed with the query."""
    beta: Tensor
    """(B, P) shares of the query, 0 to 0.5, so that the negative dominates."""


@torch.no_grad()
def draw(hard_BN: Tensor, pairs: int, with_query: int) -> Mix:
    """Uniform mixes of the hardest rows (B, N) of each query, each vector with its own partners and share.

    Drawn for the global batch, so that it does not matter how many processes share it.
    """
    rows = len(hard_BN) * world()
    shares = torch.rand(rows, 3 * pairs + 2 * with_query, device=hard_BN.device)
    first, second, alpha, negative, beta = torch.split(
        common(shares)[positions(hard_BN)], [pairs, pairs, pairs, with_query, with_query], dim=1
    )

    def hard(share_BS: Tensor) -> Tensor:
        return hard_BN.gather(1, (share_BS * hard_BN.shape[1]).long().clamp(max=hard_BN.shape[1] - 1))

    return Mix(hard(first), hard(second), alpha, hard(negative), beta / 2)


@torch.no_grad()
def synthetic(query_BD: Tensor, memory_KD: Tensor, mix: Mix) -> Tensor:
    """(B, S + P, D) unit negatives of each unit query; constants, the query inside them too."""
    alpha_BS1, beta_BP1 = mix.alpha.unsqueeze(2).to(query_BD.dtype), mix.beta.unsqueeze(2).to(query_BD.dtype)
    pairs_BSD = alpha_BS1 * memory_KD[mix.first] + (1 - alpha_BS1) * memory_KD[mix.second]
    with_query_BPD = beta_BP1 * query_BD.unsqueeze(1) + (1 - beta_BP1) * memory_KD[mix.negative]
    return normalize(torch.cat([pairs_BSD, with_query_BPD], 1), dim=2)


class Mixed(NamedTuple):
    """The loss with mixed negatives, and how hard it was."""

    loss: Tensor
    """Scalar, mean over the batch."""
    accuracy: Tensor
    """Share of the queries that are nearer to their key than to any negative, mixed ones included."""


def contrast_mixed(
    query_BD: Tensor, key_BD: Tensor, memory_KD: Tensor, temperature: float, mix: Mix | None = None
) -> Mixed:
    """InfoNCE whose negatives are the memory and, where `mix` is given, its mixes (MoCHi, arXiv 2010.01028, eq. 1-4).

    Gradient goes to the query as the left factor of each product alone. The mixes are (B, S + P, D) numbers.
    """
    q_BD, k_BD = unit(query_BD), unit(key_BD).detach()
    positive_B = (q_BD * k_BD).sum(1) / temperature
    seen = read(q_BD, memory_KD, temperature, top=1)
    assert seen.top_values is not None
    all_B = torch.logaddexp(positive_B, seen.log_sum_exp)
    hardest_B = seen.top_values[:, 0] / temperature
    if mix is not None:
        # a product and a sum, since autocast would make a matrix product of half precision
        mixed_BS = (synthetic(q_BD, memory_KD, mix) * q_BD.unsqueeze(1)).sum(2) / temperature
        all_B = torch.logaddexp(all_B, mixed_BS.logsumexp(1))
        hardest_B = torch.maximum(hardest_B, mixed_BS.detach().amax(1))
    return Mixed((all_B - positive_B).mean(), (positive_B > hardest_B).float().mean())


class MoCHi(Method):
    """Mixing of Contrastive Hard negatives.

    MoCo v2, and for each query q negatives that no image has: of its N most similar rows of the queue, s convex mixes
    of two, h ~ a n_i + (1 - a) n_j, and s' mixes of one with the query itself, h' ~ b q + (1 - b) n_j with b < 1/2, all
    of unit length. They stand in the denominator beside the queue:

        L = -log( exp(q.k/T) / (exp(q.k/T) + sum_n exp(q.n/T) + sum_h exp(q.h/T) + sum_h' exp(q.h'/T)) )

    They are made anew at each step and never enter the queue. Order inside a step: key encoder moves, both look,
    negatives are mixed, logits against the queue as it was, then the keys enter it.

    Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus: Hard Negative Mixing for Contrastive Learning, NeurIPS 2020,
    arXiv 2010.01028, sections 3 and 4.
    """

    card: ClassVar[Card] = Card(
        title="Mixing of Contrastive Hard negatives",
        paper="Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus. Hard Negative Mixing for Contrastive Learning. "
        "NeurIPS 2020, arXiv 2010.01028",
        summary="MoCo v2 with harder negatives at no further forward pass: for a small queue or a short schedule.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(MocoSettings):
        """Settings of MoCHi. The defaults are those of the small preset."""

        temperature: float = 0.2
        """T: divides all similarities."""
        hard: int = 128
        """N: the most similar keys of a query, of which its negatives are mixed; no more than the queue has."""
        pairs: int = 128
        """s: negatives mixed of two keys."""
        with_query: int = 32
        """s': negatives mixed of a key and the query. Many of a small N are too hard."""
        mixed_from: float = 0.05
        """Share of the budget after which negatives are mixed: before, the hardest are not yet worth it."""

        def __post_init__(self) -> None:
            super().__post_init__()
            at_least("hard", self.hard, 1)
            at_least("pairs", self.pairs, 0)
            at_least("with_query", self.with_query, 0)
            between("mixed_from", self.mixed_from, 0.0, 1.0)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.student, self.teacher, self.queue, self.views = moco_parts(encoder, settings, facts)
        self.mixes = settings.pairs + settings.with_query > 0

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the query encoder as it was; settle whether this step mixes."""
        self.teacher.update(self.student, self.settings.momentum)
        wanted = self.settings.pairs + self.settings.with_query > 0
        self.mixes = wanted and progress.fraction >= self.settings.mixed_from

    def step(self, views: Views, batch: Batch) -> Terms:
        """Contrast of each query with its key against queue and mixes; then the keys enter the queue."""
        settings = self.settings
        q_BD = self.student(views["first"].image)
        k_BD = key(self.teacher, views["second"].image, shuffle=settings.shuffle)
        mix = None
        if self.mixes:
            hard = neighbours(unit(q_BD), self.queue.rows, min(settings.hard, self.queue.size))
            mix = draw(hard.rows, settings.pairs, settings.with_query)
        result = contrast_mixed(q_BD, k_BD, self.queue.rows, settings.temperature, mix)
        self.queue.push(gather(k_BD), label=gather(batch.labels))
        return Terms(result.loss, {"accuracy": result.accuracy}, q_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """Query encoder as student, key encoder as teacher."""
        return evaluated(self.student, self.teacher)

    _imagenet: ClassVar = Optimisation(learning_rate=0.03, weight_decay=1e-4, schedule="cosine_epoch", epochs=200)

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(
                queue_size=65_536,
                hard=1024,
                pairs=512,
                with_query=256,
                mixed_from=15 / 200,
                momentum=0.999,
            ),
            optimisation=_imagenet,
            note="the published recipe, ImageNet, ResNet-50",
        ),
        "imagenet100": Preset(
            settings=Settings(
                queue_size=16_384,
                hard=1024,
                pairs=1024,
                with_query=128,
                momentum=0.999,
            ),
            optimisation=_imagenet,
            note="the published recipe, ImageNet-100, ResNet-50; its batch size is not certain, 256 is assumed",
        ),
    }
