"""Barlow Twins: two views agree in each dimension of the embedding, and the dimensions are decorrelated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.distributed import gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views, usual
from likewise.methods.parts.checks import at_least, positive
from likewise.similarity import similarities
from likewise.views.policies.pair import two_views


class Redundancy(NamedTuple):
    """The deviation of two batches of embeddings from agreement without redundancy."""

    loss: Tensor
    """Scalar."""
    diagonal: Tensor
    """Scalar, detached: mean of C_ii; 1 when the views agree."""
    off_diagonal: Tensor
    """Scalar, detached: root mean square of C_ij; about 1/sqrt(N) when the dimensions are independent."""


def standardise(z_ND: Tensor) -> Tensor:
    """Zero mean and unit variance in each dimension over the batch: biased variance and eps as in batch norm."""
    exact = z_ND if z_ND.dtype == torch.float64 else z_ND.float()
    return functional.batch_norm(exact, None, None, training=True)


def cross_correlation(first_ND: Tensor, second_ND: Tensor) -> Tensor:
    """C (D, D): entry (i, j) correlates dimension i of the first view with dimension j of the second."""
    return similarities(standardise(first_ND).T, standardise(second_ND).T) / len(first_ND)


def reduce_redundancy(first_BD: Tensor, second_BD: Tensor, lambd: float) -> Redundancy:
    """L = sum_i (C_ii - 1)^2 + lambda sum_{i != j} C_ij^2, over the global batch of N images (eq. 1 and 2).

    With a and b the standardised embeddings, sum_ij C_ij^2 = sum_nm (a a^T * b b^T)_nm / N^2, the sum of an N x N
    matrix: where the batch is smaller than the embedding is long, the D x D matrix is never made.
    """
    a_ND, b_ND = (standardise(gather_with_gradient(z_BD)) for z_BD in (first_BD, second_BD))
    count, dim = a_ND.shape
    diagonal_D = (a_ND * b_ND).sum(0) / count
    if count < dim:
        squares = (similarities(a_ND, a_ND) * similarities(b_ND, b_ND)).sum() / count**2
    else:
        squares = (similarities(a_ND.T, b_ND.T) / count).square().sum()
    redundancy = squares - diagonal_D.square().sum()
    loss = (diagonal_D - 1).square().sum() + lambd * redundancy
    rms = (redundancy.detach() / max(1, dim * (dim - 1))).clamp_min(0).sqrt()
    return Redundancy(loss, diagonal_D.detach().mean(), rms)


class BarlowTwins(Method):
    """Barlow Twins: self-supervised learning by redundancy reduction.

    Both views go through the same network. The cross-correlation C of the two batches of embeddings, standardised
    over the batch, is driven to the identity:

        L = sum_i (C_ii - 1)^2 + lambda sum_{i != j} C_ij^2

    No negatives, no teacher, no predictor, no stop of the gradient. It likes a wide embedding: redundancy is measured
    between dimensions, so there should be many.

    Zbontar, Jing, Misra, LeCun, Deny: Barlow Twins, ICML 2021, arXiv 2103.03230, section 2.
    """

    card: ClassVar[Card] = Card(
        title="Barlow Twins",
        paper="Zbontar, Jing, Misra, LeCun, Deny. Barlow Twins: Self-Supervised Learning via Redundancy Reduction. "
        "ICML 2021, arXiv 2103.03230",
        summary="The simplest method that cannot collapse: one network, one loss, moderate batches. Give it a wide "
        "embedding.",
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of Barlow Twins. The defaults are those of the small preset."""

        embedding: int = 1024
        """Length D of the embedding, and width of both hidden layers of the projector."""
        lambd: float = 0.0051
        """lambda: weight of the off-diagonal terms, of which there are D times as many as others."""
        loss_scale: float = 0.003
        """Factor on the loss, which grows with D, so that 3 / D suits SGD; 1 in the paper, where LARS makes it
        meaningless. At 0.1, which is usual elsewhere, four epochs of 12,000 images end 8 points lower."""
        bias_rate: float = 1.0
        """Factor on the learning rate of biases and norms; officially .0048 / .2."""
        zero_init: bool = False
        """Start each residual block as the identity, its last norm with scale 0 (official code, ResNets only)."""
        crop_scale: tuple[float, float] = (0.08, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            at_least("embedding", self.embedding, 2)
            at_least("lambd", self.lambd, 0.0)
            positive("loss_scale", self.loss_scale)
            positive("bias_rate", self.bias_rate)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        if settings.zero_init and not encoder.spec.pretrained:
            start_as_identity(encoder)
        dim = settings.embedding
        projector = heads.mlp([encoder.features, dim, dim, dim], hidden_bias=False, last_bias=False)
        self.network = nn.Sequential(encoder, projector)
        self.views = two_views(facts.image_size, scale=settings.crop_scale, interpolation="bicubic")

    def step(self, views: Views, batch: Batch) -> Terms:
        """Redundancy between the embeddings of both views; gradient flows through both."""
        z_BD, other_BD = (self.network(views[role].image) for role in ("first", "second"))
        found = reduce_redundancy(z_BD, other_BD, self.settings.lambd)
        parts = {"diagonal": found.diagonal, "off_diagonal": found.off_diagonal}
        return Terms(self.settings.loss_scale * found.loss, parts, standardise(z_BD.detach()))

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Matrices, and vectors (biases, norms) with a rate of their own."""
        parameters = list(self.parameters())
        return [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "rate": self.settings.bias_rate},
        ]

    def encoders(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"student": self.network[0]}

    presets: ClassVar = {
        "small": usual(Settings()),
        "imagenet": Preset(
            settings=Settings(embedding=8192, loss_scale=1.0, bias_rate=0.0048 / 0.2, zero_init=True),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=1.6,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=0.01,
                final=1e-3,
                batch_size=2048,
                epochs=1000,
            ),
            note="the official code, ImageNet, ResNet-50: .2 x 2048/256 for weights; the paper decays by 1.5e-6",
        ),
    }


def start_as_identity(encoder: nn.Module) -> None:
    """Give the last norm of every residual block of timm's ResNets scale 0."""
    for module in encoder.modules():
        zero = getattr(module, "zero_init_last", None)
        if zero is not None:
            zero()
