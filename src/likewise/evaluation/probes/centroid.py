"""The nearest class mean (Mensink et al., ECCV 2012): one vector per class, without hyperparameters.

Shapes: N rows of the bank, Q queries, F features, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity import unit
from likewise.similarity.nearest import check_features


@torch.no_grad()
def class_means(features_NF: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """Classes that have rows (C,), and for each the direction (C, F) of the mean of its normalised features.

    Rows labelled -1 are left out. Raises InputError for features that are not finite and where no label is known.
    """
    check_features("bank", features_NF)
    known_N = labels_N >= 0
    if not bool(known_N.any()):
        raise InputError("class means need labels, and the bank has none")
    classes_C, member_N = torch.unique(labels_N[known_N], return_inverse=True)
    x_NF = unit(features_NF[known_N])
    sums_CF = x_NF.new_zeros(len(classes_C), x_NF.shape[1]).index_add_(0, member_N, x_NF)
    return classes_C, unit(sums_CF)  # the length of a mean says how spread a class is, not where it lies


def centroid_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Each query gets the class of the nearest mean."""
    check_features("query", features.query_QF)
    classes_C, means_CF = class_means(features.bank_NF, features.bank_labels_N)
    nearest_Q = (unit(features.query_QF).to(means_CF) @ means_CF.T).argmax(1)
    words = "nearest class mean by cosine, means of L2-normalised features, normalised"
    return [features.score("centroid", None, classes_C[nearest_Q], words)]
