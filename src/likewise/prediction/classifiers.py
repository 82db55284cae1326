"""Classifiers on features that give a logit for each class: a linear layer, votes of neighbours, a run's own.

Shapes: N labelled images, Q images to be predicted, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from likewise.evaluation.probes.linear import fit
from likewise.similarity import unit
from likewise.similarity.knn import weighted_scores

By = Literal["linear", "knn"]
Logits = Callable[[Tensor], Tensor]
"""(Q, F) features to (Q, C) logits."""
NEIGHBOURS, TEMPERATURE = 20, 0.1
_LEAST = 1e-4
"""Share of a class that no neighbour has."""


def linear(features_NF: Tensor, labels_N: Tensor, *, seed: int = 0) -> Logits:
    """The linear probe (`evaluation.linear`). Raises InputError as that does: for fewer than two classes, say."""
    probe = fit(features_NF, labels_N, seed=seed)

    def logits(features_QF: Tensor) -> Tensor:
        x_QF = (unit(features_QF) - probe.mean_F) / probe.scale_F
        return torch.addmm(probe.bias_C, x_QF, probe.weight_CF.T)

    return logits


def votes(features_NF: Tensor, labels_N: Tensor, classes: int) -> Logits:
    """The log of each class's share of the votes of the nearest, weighted by exp(similarity / 0.1).

    As many vote as a class has labels on average, at most 20.
    """
    k = min(NEIGHBOURS, max(1, len(features_NF) // classes))

    def logits(features_QF: Tensor) -> Tensor:
        scores_QC = weighted_scores(features_QF, features_NF, labels_N, k, TEMPERATURE, classes)
        return (scores_QC / scores_QC.sum(1, keepdim=True) + _LEAST).log()

    return logits


def of_layer(layer: nn.Linear) -> Logits:
    """The layer that a fine-tuned run has behind its encoder."""
    weight_CF, bias_C = layer.weight.detach(), layer.bias.detach()

    def logits(features_QF: Tensor) -> Tensor:
        return torch.addmm(bias_C, features_QF, weight_CF.T)

    return logits
