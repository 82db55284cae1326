"""Losses that keep a new encoder's vectors comparable with those of an old one (BCT, NCCL).

Shapes: B images of a batch, K rows of a memory of old vectors, D dimensions, C classes, N images of the data set.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity.read import read, similarities, unit


def fitted(x_BD: Tensor, dim: int) -> Tensor:
    """(B, dim): the first `dim` coordinates, or the vectors with zeros appended (BCT, section 3.3)."""
    return x_BD[:, :dim] if x_BD.shape[1] >= dim else F.pad(x_BD, (0, dim - x_BD.shape[1]))


# BCT ---------------------------------------------------------------------------------------------------------------


def class_means(features_ND: Tensor, labels_N: Tensor, classes: Tensor) -> Tensor:
    """(len(classes), D) the mean feature of each of these classes, not normalised: BCT's synthesised classifier rows.

    Raises InputError for a class without a feature.
    """
    member_CN = labels_N == classes.unsqueeze(1)
    count_C1 = member_CN.sum(1, keepdim=True)
    if not bool((count_C1 > 0).all()):
        lone = int(classes[(count_C1 == 0).flatten()][0])
        raise InputError(f"class {lone} has no image to make a classifier row of: leave it out of the new classes")
    return (member_CN.to(features_ND.dtype) / count_C1) @ features_ND


def influence(features_BD: Tensor, weight_CD: Tensor, bias_C: Tensor | None, labels_B: Tensor) -> Tensor:
    """BCT's influence loss: cross-entropy of the OLD classifier on the new features, mean over the images it knows.

    An image whose label is -1 or not below the C old classes does not count; 0 where none counts (BCT, arXiv
    2003.11942, eq. 5, form "shared classes"; with rows of `class_means` appended, "synthesised classes"). No gradient
    goes to the classifier.
    """
    known_B = (labels_B >= 0) & (labels_B < len(weight_CD))
    logits_BC = _old_scores(features_BD, weight_CD, bias_C)
    each_B = F.cross_entropy(logits_BC, labels_B.where(known_B, 0), reduction="none")
    return each_B.where(known_B, 0.0).sum() / known_B.sum().clamp_min(1)


def influence_distilled(features_BD: Tensor, old_BD: Tensor, weight_CD: Tensor, bias_C: Tensor | None = None) -> Tensor:
    """BCT's influence loss without labels: the old classifier's opinion of the old features is the soft target."""
    with torch.no_grad():
        target_BC = F.linear(old_BD, weight_CD, bias_C).softmax(1)
    return F.cross_entropy(_old_scores(features_BD, weight_CD, bias_C), target_BC)


def _old_scores(features_BD: Tensor, weight_CD: Tensor, bias_C: Tensor | None) -> Tensor:
    bias_C = None if bias_C is None else bias_C.detach()
    return F.linear(fitted(features_BD, weight_CD.shape[1]), weight_CD.detach(), bias_C)


# NCCL --------------------------------------------------------------------------------------------------------------


def affinity(old_BD: Tensor, memory_KD: Tensor) -> Tensor:
    """(B, K) w = (1 + cosine) / 2 of old vectors: how far two images lie in one neighbourhood of the old space."""
    return (1.0 + similarities(unit(old_BD), unit(memory_KD))) / 2.0


def consensus(
    query_BD: Tensor, memory_KD: Tensor, weight_BK: Tensor, same_BK: Tensor, temperature: float | Tensor
) -> Tensor:
    """Neighbourhood consensus contrast with many weighted positives (NCCL, arXiv 2108.03372), mean over the batch.

        L = - mean_i 1/|P(i)| sum_{j in P(i)} w_ij log( exp(q_i.M_j/T) / sum_k exp(q_i.M_k/T) )
          =   mean_i ( W_i lse_i - q_i.a_i / T ),   W_i = mean_P w_ij,   a_i = mean_P w_ij M_j

    so that beside the positives' weighted mean a_i it is one read of the memory. `query_BD` is used as given; P(i) are
    the rows where `same_BK`. A query without a positive counts with loss 0. No gradient goes to memory or weights.
    """
    with torch.no_grad():
        count_B1 = same_BK.sum(1, keepdim=True).clamp_min(1)
        share_BK = (weight_BK * same_BK).to(memory_KD.dtype) / count_B1
        pulled_BD = share_BK @ memory_KD
    lse_B = read(query_BD, memory_KD, temperature).log_sum_exp
    return (share_BK.sum(1) * lse_B - (query_BD * pulled_BD).sum(1) / temperature).mean()


class Credible(NamedTuple):
    """Whether each old vector lies clearly in one class (NCCL, section "highly credible samples")."""

    mask: Tensor
    """(N,) bool: entropy at most (log C) / 2."""
    entropy: Tensor
    """(N,) nats of the soft assignment to the classes."""
    probability: Tensor
    """(N, C) the soft assignment, proportional to exp(-|v - c|^2 / sigma^2)."""
    centres: Tensor
    """(C, D) class means."""
    variance: Tensor
    """(C,) mean squared distance of a class's members to its mean."""


@torch.no_grad()
def credible(old_ND: Tensor, labels_N: Tensor, classes: int) -> Credible:
    """Soft assignment of each old vector to the classes, and whether its entropy is below the threshold.

    The kernel divides by sigma^2 itself, not by twice its value; the paper leaves that open, the re-implementation of
    the loss comes without a usable filter, so the formula of the written description is taken. A class of one image
    has no spread and gets the smallest one that the format knows, so it attracts its own image alone. Images labelled
    -1 belong to no class and are not credible.

    Raises InputError where a class below `classes` has no image.
    """
    known_N = labels_N >= 0
    centres_CD = class_means(old_ND[known_N], labels_N[known_N], torch.arange(classes, device=labels_N.device))
    squared_NC = torch.cdist(old_ND, centres_CD).square()
    member_NC = labels_N.unsqueeze(1) == torch.arange(classes, device=labels_N.device)
    variance_C = (squared_NC * member_NC).sum(0) / member_NC.sum(0)
    tiny = torch.finfo(old_ND.dtype).tiny
    probability_NC = (-squared_NC / variance_C.clamp_min(tiny)).softmax(1)
    entropy_N = -torch.special.xlogy(probability_NC, probability_NC).sum(1)
    return Credible((entropy_N <= math.log(classes) / 2) & known_N, entropy_N, probability_NC, centres_CD, variance_C)
