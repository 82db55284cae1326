"""ISD's linear probe as published: 40 epochs of SGD (Tejankar et al., ICCV 2021, arXiv 2012.09259).

The input is normalised as in `likewise.evaluation.probes.linear`. The published run crops the training images anew in
each epoch; here the features of the centre crop are used, so that no image is embedded twice, and the protocol says
so.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from likewise.errors import InputError
from likewise.evaluation.probes.linear import VARIANCE_FLOOR
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity import unit
from likewise.similarity.knn import accuracy
from likewise.similarity.nearest import check_features

RATE, MOMENTUM, DECAY, BATCH, EPOCHS = 0.01, 0.9, 1e-4, 256, 40
MILESTONES, FACTOR = (15, 30), 0.1
"""After these epochs the learning rate is multiplied by the factor."""


class Trained(NamedTuple):
    """Predictions for the queries by the classifier of each epoch."""

    predicted_EQ: Tensor
    """(epochs, Q) class of each query."""


def train(
    bank_NF: Tensor, labels_N: Tensor, query_QF: Tensor, *, seed: int = 0, epochs: int = EPOCHS, rate: float = RATE
) -> Trained:
    """Train one linear layer from normal(0, 0.01) weights, and classify the queries after each epoch.

    The order of the rows follows from `seed`; the last short batch is used. Raises InputError for features that are
    not finite, and where fewer than two classes are known.
    """
    check_features("training", bank_NF)
    check_features("query", query_QF)
    known_N = labels_N >= 0
    bank_NF, labels_N = bank_NF[known_N], labels_N[known_N].long()
    if len(torch.unique(labels_N)) < 2:
        raise InputError("a linear probe needs at least two classes, and the training images have fewer")
    x_NF = unit(bank_NF)
    mean_F, scale_F = x_NF.mean(0), (x_NF.var(0) + VARIANCE_FLOOR).sqrt()
    x_NF, query_QF = (x_NF - mean_F) / scale_F, (unit(query_QF) - mean_F) / scale_F
    draw = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(x_NF.shape[1], int(labels_N.max()) + 1)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw) * 0.01)
        layer.bias.zero_()
    layer.to(x_NF)
    optimiser = torch.optim.SGD(layer.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=DECAY)
    said = []
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = rate * FACTOR ** sum(epoch >= milestone for milestone in MILESTONES)
        for rows in torch.split(torch.randperm(len(x_NF), generator=draw).to(x_NF.device), BATCH):
            optimiser.zero_grad()
            torch.autograd.backward(cross_entropy(layer(x_NF[rows]), labels_N[rows]))
            optimiser.step()
        with torch.no_grad():
            said.append(layer(query_QF).argmax(1))
    return Trained(torch.stack(said))


def sgd_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """The last epoch, and the best one, which is what the paper reports and what peeks at the queries."""
    found = train(features.bank_NF, features.bank_labels_N, features.query_QF, seed=features.seed)
    values = [accuracy(predicted_Q, features.query_labels_Q) for predicted_Q in found.predicted_EQ]
    best = max(range(len(values)), key=values.__getitem__)
    words = (
        "linear probe, features of the centre crop L2-normalised, standardised by mean and sqrt(var + 1e-5) of the "
        f"bank, SGD rate {RATE}, momentum {MOMENTUM}, weight decay {DECAY}, batch {BATCH}, {EPOCHS} epochs, rate x"
        f"{FACTOR} after 15 and 30, seed {features.seed}"
    )
    last = features.score("linear-sgd", None, found.predicted_EQ[-1], f"{words}; last epoch")
    peeked = f"{words}; epoch {best + 1}, the best on the queries, as published"
    return [last, features.score("linear-sgd", None, found.predicted_EQ[best], peeked, variant="best epoch")]
