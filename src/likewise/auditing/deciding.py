"""Categories predicted from features: by a probe of undistorted train features, or by a classifier's own layer.

Shapes: N rows, F features, C classes, K categories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.auditing.categories import category_of, category_scores, ranked
from likewise.evaluation.probes import linear
from likewise.similarity import knn
from likewise.similarity.nearest import check_features, neighbours

Probe = Literal["linear", "knn", "own"]
NEIGHBOURS = 20
"""k of the majority vote."""

Answer = Callable[[Tensor], NDArray[np.int64]]
"""(N, F) features -> (N,) categories by number."""


class Decision(NamedTuple):
    """The decision rule of an observer."""

    answer: Answer
    """From features to categories."""
    words: str
    """Its protocol."""


def by_probability(logits: Callable[[Tensor], Tensor], mapping: Mapping[str, Sequence[int]]) -> Answer:
    """Softmax over classes, the MEAN probability of each category's classes, the largest (arXiv 1808.08750)."""

    def answer(features_NF: Tensor) -> NDArray[np.int64]:
        probability_NC = logits(features_NF).double().softmax(1).cpu().numpy()
        found: NDArray[np.int64] = ranked(category_scores(probability_NC, mapping))[:, 0]
        return found

    return answer


def by_linear(
    bank_NF: Tensor, labels_N: Tensor, mapping: Mapping[str, Sequence[int]], *, mapped: bool, seed: int
) -> Decision:
    """The linear probe of training features. Raises InputError as `likewise.evaluation.probes.linear.fit` does."""
    probe = linear.fit(bank_NF, labels_N, seed=seed)
    mean = ", mean probability of each category's classes" if mapped else ""
    words = f"linear probe of undistorted images, {linear.settings_text(probe, seed)}{mean}"
    return Decision(by_probability(probe.logits, mapping), words)


def by_neighbours(bank_NF: Tensor, labels_N: Tensor, mapping: Mapping[str, Sequence[int]]) -> Decision:
    """Majority among the nearest training features of the mapped classes, exact cosine."""
    check_features("bank", bank_NF)
    category_N = torch.from_numpy(category_of(labels_N.cpu().numpy(), mapping)).to(labels_N.device)
    known_N = category_N >= 0
    bank_NF, category_N = bank_NF[known_N], category_N[known_N]
    k = min(NEIGHBOURS, len(bank_NF))

    def answer(features_NF: Tensor) -> NDArray[np.int64]:
        found = neighbours(features_NF, bank_NF, k)
        voted: NDArray[np.int64] = knn.majority(found, category_N, k).cpu().numpy()
        return voted

    return Decision(answer, f"majority of the k={k} nearest undistorted images, exact cosine, ties to the nearest")


def by_layer(layer: nn.Linear, mapping: Mapping[str, Sequence[int]], *, mapped: bool) -> Decision:
    """The classifier's own linear layer on the encoder's features."""

    @torch.no_grad()
    def logits(features_NF: Tensor) -> Tensor:
        return torch.nn.functional.linear(features_NF.to(layer.weight), layer.weight, layer.bias)

    mean = ", mean probability of each category's classes" if mapped else ""
    return Decision(by_probability(logits, mapping), f"the classifier's own layer{mean}")
